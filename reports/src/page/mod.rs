//! The page: one self-contained offline HTML file. No script, no external address; the content security
//! policy in its head forbids both, so that a mistake shows at once.

mod back;
mod chapter;
mod front;
mod parts;
mod raw;

use maud::{DOCTYPE, PreEscaped, html};

use crate::charts::{COLOURS, Topic};
use crate::document::Document;
use crate::summary::summarise;
use crate::{Error, Lang};

const STYLE: &str = include_str!("style.css");

/// Renders a document as one HTML file.
///
/// # Errors
/// [`Error::Draw`] where a chart cannot be drawn.
pub fn render(document: &Document, lang: Lang) -> Result<String, Error> {
    let summaries = summarise(document);
    let topics = Topic::all(document, &summaries);
    let mut measures: Vec<&str> = topics.iter().map(|it| it.measure).collect();
    measures.dedup();
    let chapters = measures
        .iter()
        .map(|measure| chapter::chapter(document, measure, &topics, lang))
        .collect::<Result<Vec<_>, _>>()?;
    let title = format!("Tare: {}", lang.pick("the weight of a box", "盒子的重量"));
    let page = html! {
        (DOCTYPE)
        html lang=(lang.tag()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy"
                    content="default-src 'none'; style-src 'unsafe-inline'; img-src data:";
                link rel="icon" href="data:,";
                title { (title) " · " (document.run.id) }
                style { (PreEscaped(COLOURS)) (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#main" { (lang.pick("Skip to the verdicts", "跳到结论")) }
                (front::header(document, &measures, lang))
                main id="main" {
                    (front::verdicts(document, &summaries, lang))
                    @for chapter in &chapters { (chapter) }
                    @if chapters.is_empty() {
                        p { (lang.pick("This run measured nothing.", "本次运行没有测得任何数据。")) }
                    }
                    (back::machine(document, lang))
                    (back::audit(document, lang))
                    (back::idle(document, lang))
                    (raw::raw(&topics, lang))
                    (back::elsewhere(lang))
                }
                (back::footer(document, lang))
            }
        }
    };
    Ok(page.into_string())
}
