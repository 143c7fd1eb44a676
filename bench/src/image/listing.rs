//! What the payload's `digest` has to say of an image (`bench/payload/tree.rs`), written down a second time, from what
//! the image was made of and not from any box.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Entry, Image, Kind, sha256};

/// All lines of content, in the payload's order.
pub(super) fn lines(image: &Image, left_out: &[&str]) -> Vec<String> {
    let mut lines = vec![format!("argv {}", escaped("/payload"))];
    lines.extend(image.words.iter().map(|word| format!("argv {}", escaped(word))));
    let named = |variable: &str| left_out.contains(&variable.split('=').next().unwrap_or_default());
    let mut env: Vec<&String> = image.env.iter().filter(|variable| !named(variable)).collect();
    env.sort();
    lines.extend(env.into_iter().map(|variable| format!("env {}", escaped(variable))));
    lines.push(format!("cwd {}", escaped(&image.cwd)));
    let entries = image.merged();
    let by_path: BTreeMap<&str, &Entry> = entries.iter().map(|it| (it.path.as_str(), it)).collect();
    // Names are in the order of their bytes within each directory, and what is below a name comes right after it.
    let mut order: Vec<&Entry> = entries.iter().collect();
    order.sort_by(|a, b| a.path.split('/').cmp(b.path.split('/')));
    // What stands for a file of several names: the first of them that comes.
    let mut first_names: BTreeMap<&str, &str> = BTreeMap::new();
    for entry in order.into_iter().filter(|it| !is_left_out(&it.path, left_out)) {
        let file = match &entry.kind {
            Kind::Same(other) => by_path[other.as_str()],
            _ => entry,
        };
        let names = match count(&entries, &file.path) {
            1 => "1".to_owned(),
            several => {
                let first = *first_names.entry(&file.path).or_insert(&entry.path);
                format!("{several}#{}", &sha256(first.as_bytes())[..8])
            }
        };
        lines.push(entry_line(&entry.path, file, &names));
        lines.extend(file.attributes.iter().map(|(name, value)| {
            format!("xattr {} {} {}", escaped(name), sha256(value), escaped(&entry.path))
        }));
    }
    lines
}

fn is_left_out(path: &str, left_out: &[&str]) -> bool {
    left_out
        .iter()
        .any(|it| path.strip_prefix(it).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// How many names a file has.
fn count(entries: &[Entry], path: &str) -> usize {
    1 + entries.iter().filter(|it| it.kind == Kind::Same(path.into())).count()
}

fn entry_line(path: &str, file: &Entry, names: &str) -> String {
    let Entry { mode, owner: [user, group], .. } = file;
    let path = escaped(path);
    match &file.kind {
        Kind::Directory => format!("entry d{mode:04o} {user} {group} - - {path}"),
        Kind::File(bytes) => format!("entry f{mode:04o} {user} {group} {names} {} {path}", sha256(bytes)),
        Kind::Link(target) => format!("entry l0777 {user} {group} {names} {} {path}", escaped(target)),
        // Only ever looked up by the name that is not one of these.
        Kind::Same(other) => format!("entry f{mode:04o} {user} {group} {names} - {}", escaped(other)),
    }
}

/// As the payload does: what is not visible ASCII, and the backslash, as `\ooo`.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        // Writing to a string cannot fail.
        let _ = match byte {
            b'\\' => write!(escaped, "\\134"),
            byte if byte.is_ascii_graphic() => write!(escaped, "{}", char::from(byte)),
            byte => write!(escaped, "\\{byte:03o}"),
        };
    }
    escaped
}

/// The other way round.
pub(super) fn unescaped(escaped: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = escaped.as_bytes();
    while let [first, after @ ..] = rest {
        match after {
            [a, b, c, further @ ..] if *first == b'\\' => {
                let digit = |it: &u8| u32::from(it.wrapping_sub(b'0') & 7);
                bytes.push((digit(a) * 64 + digit(b) * 8 + digit(c)) as u8);
                rest = further;
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

/// The same for people: what is no text, or would be obeyed by a terminal, stays escaped.
pub(super) fn plain(escaped: &str) -> String {
    match String::from_utf8(unescaped(escaped)) {
        Ok(text) if !text.contains(char::is_control) => text,
        _ => escaped.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{escaped, plain, unescaped};

    #[test]
    fn names_survive_and_have_no_blanks() {
        for text in ["/a b", "/größe-大小", "\\134 \n\t\u{7f}", ""] {
            let line = escaped(text);
            assert!(line.bytes().all(|byte| byte.is_ascii_graphic()), "{line}");
            assert_eq!(unescaped(&line), text.as_bytes());
        }
    }

    #[test]
    fn people_are_shown_text_and_no_bytes_that_a_terminal_obeys() {
        for (line, shown) in [
            ("/a\\040b", "/a b"),
            ("gr\\303\\266\\303\\237e", "größe"),
            ("\\033[2J", "\\033[2J"),
            ("\\377", "\\377"),
        ] {
            assert_eq!(plain(line), shown);
        }
    }
}
