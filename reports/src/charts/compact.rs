//! Makes an SVG of many dots small. The backend writes some hundred bytes for a dot; a page with every one
//! of 100,000 samples visible has room for ten.

use std::collections::HashSet;
use std::fmt::Write;

/// Above this many dots of one look they become one path: nine bytes each instead of thirty, at the price
/// that overlapping translucent dots no longer add up.
const ONE_PATH_ABOVE: usize = 2_000;

/// A dot of the backend's output.
struct Dot<'a> {
    x: &'a str,
    y: &'a str,
    radius: &'a str,
    /// Everything else: opacity, fill, stroke.
    look: &'a str,
}

/// The body of the backend's SVG: its own `<svg>` tag dropped, runs of equal dots gathered in one group,
/// dots on the very same pixel drawn once.
pub(super) fn compact(svg: &str) -> String {
    let body = svg.split_once('>').map_or("", |(_, body)| body).trim_end().trim_end_matches("</svg>");
    let mut out = String::with_capacity(body.len() / 3);
    let mut run: Vec<Dot> = Vec::new();
    for line in body.lines() {
        let dot = dot(line);
        let same = |dot: &Dot, run: &[Dot]| {
            run.last().is_none_or(|it| it.look == dot.look && it.radius == dot.radius)
        };
        match dot {
            Some(dot) if same(&dot, &run) => run.push(dot),
            Some(dot) => {
                flush(&mut run, &mut out);
                run.push(dot);
            }
            None => {
                flush(&mut run, &mut out);
                out.push_str(line);
            }
        }
    }
    flush(&mut run, &mut out);
    out.replace(" opacity=\"1\"", "")
}

/// Parses `<circle cx=".." cy=".." r=".." opacity=".." fill=".." stroke=".." stroke-width=".."/>`.
fn dot(line: &str) -> Option<Dot<'_>> {
    let rest = line.strip_prefix("<circle cx=\"")?;
    let (x, rest) = rest.split_once("\" cy=\"")?;
    let (y, rest) = rest.split_once("\" r=\"")?;
    let (radius, rest) = rest.split_once("\" ")?;
    let look = rest.strip_suffix("/>")?.trim_end();
    Some(Dot { x, y, radius, look })
}

/// Writes a run of dots in its shortest form.
fn flush(run: &mut Vec<Dot>, out: &mut String) {
    let Some(first) = run.first() else { return };
    let look = first.look.replace("opacity=", "fill-opacity=");
    let filled = !look.contains("fill=\"none\"");
    let mut seen = HashSet::new();
    let distinct = run.iter().filter(|it| seen.insert((it.x, it.y)));
    // Writing to a string cannot fail.
    if filled && run.len() > ONE_PATH_ABOVE {
        let color = first.look.split("fill=\"").nth(1).and_then(|it| it.split('"').next()).unwrap_or("none");
        let opacity =
            first.look.split("opacity=\"").nth(1).and_then(|it| it.split('"').next()).unwrap_or("1");
        let width = first.radius.parse::<u32>().unwrap_or(1) * 2;
        let _ = write!(
            out,
            "<path fill=\"none\" stroke=\"{color}\" stroke-opacity=\"{opacity}\" stroke-width=\"{width}\" \
             stroke-linecap=\"round\" d=\""
        );
        for dot in distinct {
            let _ = write!(out, "M{} {}h0", dot.x, dot.y);
        }
        out.push_str("\"/>");
    } else {
        let look = if filled { look } else { first.look.to_owned() };
        let _ = write!(out, "<g {look}>");
        for dot in distinct {
            let _ = write!(out, "<circle cx=\"{}\" cy=\"{}\" r=\"{}\"/>", dot.x, dot.y, dot.radius);
        }
        out.push_str("</g>");
    }
    run.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circle(x: usize, fill: &str) -> String {
        format!(
            "<circle cx=\"{x}\" cy=\"5\" r=\"2\" opacity=\"0.5\" fill=\"{fill}\" stroke=\"none\" stroke-width=\"1\"/>\n"
        )
    }

    #[test]
    fn runs_are_grouped_and_nothing_else_is_touched() {
        let line = "<line opacity=\"1\" x1=\"0\"/>\n";
        let svg =
            format!("<svg a=\"b\">\n{}{}{line}{}</svg>\n", circle(1, "A"), circle(2, "A"), circle(3, "B"));
        let small = compact(&svg);
        assert_eq!(small.matches("<g ").count(), 2, "{small}");
        assert_eq!(small.matches("<circle").count(), 3, "{small}");
        assert!(small.contains("<line x1=\"0\"/>"), "{small}");
        assert!(!small.contains("svg"), "{small}");
    }

    #[test]
    fn many_dots_become_one_path_with_every_place_in_it() {
        let dots: String = (0..3_000).map(|x| circle(x, "A")).collect();
        let small = compact(&format!("<svg>\n{dots}{}</svg>", circle(7, "A")));
        assert_eq!(small.matches("<path").count(), 1);
        assert_eq!(small.matches("h0").count(), 3_000, "the same pixel is drawn once");
        assert!(small.contains("M2999 5h0"));
        assert!(small.len() < 3_000 * 12, "{}", small.len());
    }
}
