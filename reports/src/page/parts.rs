//! Small pieces that every part of the page uses.

use maud::{Markup, html};

use crate::Lang;
use crate::charts::Table;

/// A table that scrolls sideways by itself, reachable by keyboard.
pub(super) fn table(caption: &str, table: &Table, lang: Lang) -> Markup {
    // Figures to the right, words to the left. A column is figures where most of its cells are.
    let figure = |cell: &String| {
        let digit = |it: char| it.is_ascii_digit() || ['-', '–', '≥'].contains(&it);
        (cell.starts_with(digit) && !is_long(cell)) || cell == "n/a"
    };
    let cells = |column: usize| table.rows.iter().filter_map(move |row| row.get(column));
    let words: Vec<bool> =
        (0..table.header.len()).map(|column| cells(column).any(|it| is_long(it))).collect();
    let figures: Vec<bool> = (0..table.header.len())
        .map(|column| {
            let count = cells(column).filter(|it| figure(it)).count();
            // Dashes beside a sentence are no figures: at the right they would stand where nobody looks.
            column > 0 && count * 2 > table.rows.len() && !words[column]
        })
        .collect();
    let class = |column: usize| figures.get(column).is_some_and(|it| *it).then_some("figure");
    // Half a sentence beside a whole one takes no line of its own either.
    let is_words = |column: usize, cell: &str| words[column] && cell.chars().count() >= 24;
    let class_of =
        |column: usize, cell: &str| if is_words(column, cell) { Some("long") } else { class(column) };
    scroll(
        caption,
        lang,
        &html! {
            table {
                caption { (caption) }
                thead { tr {
                    @for (column, header) in table.header.iter().enumerate() {
                        th scope="col" class=[class(column)] { (header) }
                    }
                } }
                tbody {
                    @for row in &table.rows { tr {
                        @for (column, cell) in row.iter().enumerate() {
                            @if column == 0 { th scope="row" class=[folds(cell).then_some("folds")] { (cell) } }
                            @else { td class=[class_of(column, cell)] { (lines(cell)) } }
                        }
                    } }
                }
            }
        },
    )
}

/// A sentence, and no figure, though it may begin with one. It is not to make its table as wide as itself.
fn is_long(cell: &str) -> bool {
    cell.lines().next().is_some_and(|it| it.chars().count() >= 36)
}

/// A name of several words that may take two lines, so that the figures beside it need no scrolling.
fn folds(name: &str) -> bool {
    name.chars().count() > 20 && name.contains(' ')
}

/// A cell; what stands on further lines is printed small, and may take two where there is no room for one.
fn lines(cell: &str) -> Markup {
    let (first, rest) = cell.split_once('\n').unwrap_or((cell, ""));
    html! { (prose(first)) @if !rest.is_empty() { br; small { (whole(rest)) } } }
}

/// The same with figures and their units on one line.
fn whole(text: &str) -> String {
    let mut before = ' ';
    let letters = text.chars().map(|it| {
        let joins = it == ' ' && before.is_ascii_digit();
        before = it;
        if joins { '\u{a0}' } else { it }
    });
    letters.collect()
}

/// A container that scrolls sideways where its content is wider than the screen.
pub(super) fn scroll(name: &str, lang: Lang, content: &Markup) -> Markup {
    let label = format!("{name} ({})", lang.pick("scrolls sideways", "可横向滚动"));
    html! { div.scroll tabindex="0" role="region" aria-label=(label) { (content) } }
}

/// A text in which what stands between backquotes is code.
pub(super) fn prose(text: &str) -> Markup {
    html! {
        @for (index, part) in text.split('`').enumerate() {
            @if index % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// A command line that can be pasted into a shell.
pub(super) fn shell(words: &[String]) -> String {
    let plain = |it: char| it.is_ascii_alphanumeric() || "_-./:=,+@%".contains(it);
    let quoted = words.iter().map(|word| {
        if !word.is_empty() && word.chars().all(plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_survive_a_shell() {
        let words = ["qemu", "-append", "a b", "", "it's"].map(str::to_owned);
        assert_eq!(shell(&words), r"qemu -append 'a b' '' 'it'\''s'");
    }

    #[test]
    fn an_interval_breaks_between_its_ends() {
        assert_eq!(whole("[7.76 KiB, 8.06 KiB]"), "[7.76\u{a0}KiB, 8.06\u{a0}KiB]");
        assert_eq!(whole("[21, 24] memory"), "[21, 24] memory");
    }

    #[test]
    fn prose_marks_code_and_escapes() {
        assert_eq!(prose("a `b<c` d").into_string(), "a <code>b&lt;c</code> d");
    }
}
