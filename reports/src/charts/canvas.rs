//! Drawing by plotters' SVG backend, in pixels, with colours that the page decides.
//!
//! A chart must follow the reader's light or dark scheme, which an SVG with fixed colours cannot. So every
//! [`Ink`] is drawn in a colour that stands for it and replaced by a CSS variable at the end.

use plotters::backend::SVGBackend;
use plotters::prelude::{Color, DrawingBackend, IntoFont, RGBAColor, RGBColor, ShapeStyle};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontStyle, TextStyle};

use super::compact::compact;
use super::{Chart, Format, Topic};
use crate::{Error, Lang};

/// Number of hues; further contenders start again, told apart by their labels.
pub(super) const HUES: usize = 12;

/// Number of fills for the parts of one bar: no more than people of any eyesight tell apart. Further parts have the
/// same fills with a pattern.
pub(super) const FILLS: usize = 5;

/// A colour by what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ink {
    /// Text and marks that must be seen.
    Strong,
    /// Text beside.
    Muted,
    /// Lines of a grid.
    Grid,
    /// Failures.
    Danger,
    /// The surface behind the chart.
    Surface,
    /// The contender of this index.
    Hue(usize),
    /// The part of this index of a bar; the same in both schemes.
    Fill(usize),
    /// Text and patterns on a fill.
    OnFill,
}

impl Ink {
    /// All inks, to replace the colours that stand for them.
    fn all() -> impl Iterator<Item = Ink> {
        let fixed = [Self::Strong, Self::Muted, Self::Grid, Self::Danger, Self::Surface, Self::OnFill];
        fixed.into_iter().chain((0..HUES).map(Self::Hue)).chain((0..FILLS).map(Self::Fill))
    }

    /// The colour that stands for it until the end; none of them is drawn otherwise.
    fn stand_in(self) -> RGBColor {
        RGBColor(
            1,
            240,
            match self {
                Self::Strong => 0,
                Self::Muted => 1,
                Self::Grid => 2,
                Self::Danger => 3,
                Self::Surface => 4,
                Self::OnFill => 5,
                Self::Hue(index) => 16 + (index % HUES) as u8,
                Self::Fill(index) => 64 + (index % FILLS) as u8,
            },
        )
    }

    /// The CSS variable that the page defines for it.
    fn variable(self) -> String {
        match self {
            Self::Strong => "var(--ink)".to_owned(),
            Self::Muted => "var(--muted)".to_owned(),
            Self::Grid => "var(--grid)".to_owned(),
            Self::Danger => "var(--danger)".to_owned(),
            Self::Surface => "var(--surface)".to_owned(),
            Self::OnFill => "var(--on-fill)".to_owned(),
            Self::Hue(index) => format!("var(--hue-{})", index % HUES),
            Self::Fill(index) => format!("var(--fill-{})", index % FILLS),
        }
    }

    /// With an opacity from 0 to 1.
    pub(super) fn at(self, opacity: f64) -> RGBAColor {
        self.stand_in().mix(opacity)
    }
}

/// Where a text stands relative to its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    /// The text starts there.
    Start,
    /// The text is centred there.
    Middle,
    /// The text ends there.
    End,
}

/// How a text looks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Type {
    /// Size, px.
    pub(super) size: f64,
    /// Colour.
    pub(super) ink: Ink,
    /// Weight.
    pub(super) bold: bool,
}

/// The names of contenders.
pub(super) const NAME: Type = Type { size: 15.0, ink: Ink::Strong, bold: true };
/// Figures beside the plot.
pub(super) const FIGURE: Type = Type { size: 15.0, ink: Ink::Strong, bold: false };
/// Axes and second lines.
pub(super) const SMALL: Type = Type { size: 13.0, ink: Ink::Muted, bold: false };

/// What the SVG backend may say. It writes into a string and has nothing to fail at, but its interface
/// allows it.
#[derive(Debug)]
pub(super) struct Failed(String);

impl<E: std::error::Error> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// What every step of a drawing hands back.
pub(super) type Drawn = Result<(), Failed>;

/// A surface to draw on, origin at the top left.
pub(super) struct Canvas<'a> {
    backend: SVGBackend<'a>,
}

impl Canvas<'_> {
    /// A straight line.
    pub(super) fn line(&mut self, from: (i32, i32), to: (i32, i32), color: RGBAColor, width: u32) -> Drawn {
        Ok(self.backend.draw_line(from, to, &color.stroke_width(width))?)
    }

    /// A line through points.
    pub(super) fn path(&mut self, points: &[(i32, i32)], color: RGBAColor, width: u32) -> Drawn {
        Ok(self.backend.draw_path(points.iter().copied(), &color.stroke_width(width))?)
    }

    /// A filled rectangle between two corners.
    pub(super) fn rectangle(&mut self, from: (i32, i32), to: (i32, i32), color: RGBAColor) -> Drawn {
        Ok(self.backend.draw_rect(from, to, &color.filled(), true)?)
    }

    /// A dot.
    pub(super) fn dot(&mut self, centre: (i32, i32), radius: u32, color: RGBAColor) -> Drawn {
        Ok(self.backend.draw_circle(centre, radius, &color.filled(), true)?)
    }

    /// A ring.
    pub(super) fn ring(&mut self, centre: (i32, i32), radius: u32, color: RGBAColor) -> Drawn {
        let style = ShapeStyle { color, filled: false, stroke_width: 1 };
        Ok(self.backend.draw_circle(centre, radius, &style, false)?)
    }

    /// A filled diamond, cut out where hollow.
    pub(super) fn diamond(&mut self, (x, y): (i32, i32), size: i32, color: RGBAColor, hollow: bool) -> Drawn {
        let points = [(x - size, y), (x, y - size), (x + size, y), (x, y + size)];
        let fill = if hollow { Ink::Surface.at(1.0) } else { color };
        self.backend.fill_polygon(points, &fill.filled())?;
        self.path(&[points[0], points[1], points[2], points[3], points[0]], color, 2)
    }

    /// A cross: a failure.
    pub(super) fn cross(&mut self, (x, y): (i32, i32), color: RGBAColor) -> Drawn {
        self.line((x - 3, y - 3), (x + 3, y + 3), color, 2)?;
        self.line((x - 3, y + 3), (x + 3, y - 3), color, 2)
    }

    /// A text, its middle height at the point.
    pub(super) fn text(&mut self, text: &str, at: (i32, i32), kind: Type, align: Align) -> Drawn {
        let horizontal = match align {
            Align::Start => HPos::Left,
            Align::Middle => HPos::Center,
            Align::End => HPos::Right,
        };
        let style = if kind.bold { FontStyle::Bold } else { FontStyle::Normal };
        // The backend divides sizes by this factor.
        let font = ("sans-serif", kind.size * 1.24).into_font().style(style);
        let color = kind.ink.at(1.0);
        let style = TextStyle::from(font).color(&color).pos(Pos::new(horizontal, VPos::Center));
        Ok(self.backend.draw_text(text, &style, at)?)
    }
}

/// Paints a chart and hands back its `<svg>` element, labelled for screen readers.
///
/// # Errors
/// [`Error::Draw`] with the chart's name.
pub(super) fn paint(
    label: &Label,
    (width, height): (i32, i32),
    draw: impl FnOnce(&mut Canvas) -> Drawn,
) -> Result<String, Error> {
    let failed = |error: Failed| Error::Draw { chart: label.id.clone(), reason: error.0 };
    let mut svg = String::new();
    {
        let backend = SVGBackend::with_string(&mut svg, (width as u32, height as u32));
        let mut canvas = Canvas { backend };
        draw(&mut canvas).map_err(failed)?;
        canvas.backend.present().map_err(|error| failed(error.into()))?;
    }
    let mut body = compact(&svg);
    for ink in Ink::all() {
        let RGBColor(red, green, blue) = ink.stand_in();
        body =
            body.replace(&format!("\"#{red:02X}{green:02X}{blue:02X}\""), &format!("\"{}\"", ink.variable()));
    }
    let (id, title, text) = (&label.id, escape(&label.title), escape(&label.text));
    Ok(format!(
        "<svg class=\"chart\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\" viewBox=\"0 0 {width} {height}\" \
         xmlns=\"http://www.w3.org/2000/svg\"><title id=\"{id}-t\">{title}</title><desc id=\"{id}-d\">{text}</desc>\
         {body}</svg>"
    ))
}

/// What a screen reader says in place of the drawing.
pub(super) struct Label {
    /// Unique on the page.
    pub(super) id: String,
    /// The chart's title.
    pub(super) title: String,
    /// How to read it.
    pub(super) text: String,
}

impl Label {
    /// The label of a chart's drawing.
    pub(super) fn of(chart: &dyn Chart, topic: &Topic, lang: Lang, format: Format) -> Self {
        Self {
            id: format!("{}-{}{}", topic.id(), chart.name(), format.suffix()),
            title: chart.title(topic, lang),
            text: chart.caption(topic, lang),
        }
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Shortens a text to a width in px, by an ellipsis in its middle, because long names tend to
/// differ at their ends; the full text stands in the table.
pub(super) fn fit(text: &str, kind: Type, width: i32) -> String {
    let letters: Vec<char> = text.chars().collect();
    let shortened = (1..letters.len()).map(|lost| {
        let head = (letters.len() - lost).div_ceil(2);
        letters[..head].iter().chain(&['…']).chain(&letters[head + lost..]).collect::<String>()
    });
    let fits = |it: &String| measure(it, kind) <= f64::from(width);
    std::iter::once(text.to_owned()).chain(shortened).find(fits).unwrap_or_default()
}

/// A text's width, px, estimated with the letters of `DejaVu Sans`, the widest that a page is likely to be read in.
pub(super) fn measure(text: &str, kind: Type) -> f64 {
    let letter = |it: char| match it {
        'i' | 'j' | 'l' | ' ' | '.' | ',' | ':' | ';' | '·' | '|' | '\'' => 0.33,
        'f' | 'r' | 't' | '-' | '(' | ')' | '[' | ']' | '/' => 0.41,
        'm' | 'w' | 'M' | 'W' | '%' | '…' | '\u{2e80}'.. => 1.0,
        'A'..='Z' | '=' | '≥' | '<' | '>' => 0.8,
        _ => 0.64,
    };
    let bold = if kind.bold { 1.1 } else { 1.0 };
    text.chars().map(letter).sum::<f64>() * kind.size * bold
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label() -> Label {
        Label { id: "x".into(), title: "a < b".into(), text: "t".into() }
    }

    #[test]
    fn no_fixed_colour_is_left() {
        let svg = paint(&label(), (960, 100), |canvas| {
            canvas.dot((1, 2), 3, Ink::Hue(13).at(0.5))?;
            canvas.text("n<1", (5, 5), NAME, Align::End)?;
            canvas.diamond((9, 9), 4, Ink::Danger.at(1.0), true)?;
            canvas.line((0, 0), (5, 5), Ink::Grid.at(1.0), 1)
        })
        .unwrap();
        assert!(!svg.contains('#'), "{svg}");
        for variable in ["--hue-1", "--ink", "--danger", "--surface", "--grid"] {
            assert!(svg.contains(&format!("var({variable})")), "{variable} {svg}");
        }
        assert!(svg.contains("a &lt; b</title>") && svg.contains("n&lt;1"), "{svg}");
    }

    #[test]
    fn long_names_are_shortened_and_short_ones_are_not() {
        assert_eq!(fit("tare", NAME, 180), "tare");
        let long = fit("a-contender-with-a-very-long-name-indeed", NAME, 180);
        assert!(long.starts_with("a-contend") && long.ends_with("e-indeed"), "{long}");
        assert!(long.chars().count() > 15 && long.chars().count() <= 21, "{long}");
        // Wide letters, and bold ones, take more room.
        assert_eq!(fit("qemu-microvm", FIGURE, 125), "qemu-microvm");
        assert!(fit("qemu-microvm", NAME, 125).contains('…'));
    }
}
