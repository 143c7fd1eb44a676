//! What boxes make of an image, for a terminal.

use super::aligned;
use crate::document::Document;
use crate::sameness::{is_same, sides, unseen};

/// Whose content is the image's, and what differs in the others.
pub(super) fn sameness(document: &Document) -> Vec<String> {
    let Some((seen, same, other)) = sides(document) else { return Vec::new() };
    let mut out =
        vec![String::new(), format!("sameness: the image is {} over {} entries", seen.image, seen.entries)];
    let rows = same.iter().chain(&other).map(|it| {
        let found = match it.differ {
            _ if is_same(seen, it) => "the same".to_owned(),
            0 => "another digest".to_owned(),
            count => format!("{count} differ"),
        };
        vec![it.contender.clone(), found, it.digest.get(..16).unwrap_or_default().to_owned()]
    });
    out.extend(aligned(&rows.collect::<Vec<_>>(), 2));
    for it in other {
        out.extend(it.differences.iter().map(|line| format!("  {}: {line}", it.contender)));
    }
    out.extend(unseen(document).iter().map(|name| format!("  {name}: not looked at")));
    out
}
