//! What differs between what an image holds and what a box of it saw, each named.

use std::collections::BTreeMap;

use super::listing::{plain, unescaped};

/// The differences, in words and in the order of the lines; empty only where the lines are the same.
pub fn differences(image: &[String], seen: &[String]) -> Vec<String> {
    let (of_image, of_seen) = (by_key(image), by_key(seen));
    let mut keys: Vec<&Key> = of_image.keys().chain(of_seen.keys()).collect();
    keys.sort();
    keys.dedup();
    let named = keys.into_iter().filter_map(|key| difference(key, of_image.get(key), of_seen.get(key)));
    let mut named: Vec<String> = named.collect();
    // Another digest with nothing that differs would be taken for sameness.
    if named.is_empty() && image != seen {
        named.push("the same lines, in another order".into());
    }
    named
}

/// What a line is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    kind: Kind,
    /// The names on the way, as bytes: so paths are in the order in which they were walked.
    order: Vec<Vec<u8>>,
    /// A path or a name, escaped: two that look the same to people are two.
    name: String,
    /// An attribute's name, escaped.
    attribute: String,
    /// The how many-th line about this, from 0: a variable may be there twice.
    number: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Word,
    Variable,
    Directory,
    Entry,
    Unknown,
}

/// A line's fields without its key, by what it is about. A word of the command is known by its place.
fn by_key(lines: &[String]) -> BTreeMap<Key, Vec<&str>> {
    let mut word = 0;
    let mut found = BTreeMap::new();
    for line in lines {
        let fields: Vec<&str> = line.split(' ').collect();
        let path = |it: &str| it.split('/').map(unescaped).collect::<Vec<_>>();
        let (kind, order, name, attribute, rest) = match *fields.as_slice() {
            ["argv", text] => {
                word += 1;
                (Kind::Word, Vec::new(), format!("{word:03}"), "", vec![text])
            }
            ["env", text] => {
                let (name, value) = text.split_once('=').unwrap_or((text, ""));
                (Kind::Variable, vec![unescaped(name)], name.to_owned(), "", vec![value])
            }
            ["cwd", text] => (Kind::Directory, Vec::new(), String::new(), "", vec![text]),
            ["entry", ref rest @ .., at] => (Kind::Entry, path(at), at.to_owned(), "", rest.to_vec()),
            ["xattr", name, sum, at] => (Kind::Entry, path(at), at.to_owned(), name, vec![sum]),
            _ => (Kind::Unknown, Vec::new(), line.clone(), "", Vec::new()),
        };
        let mut key = Key { kind, order, name, attribute: attribute.to_owned(), number: 0 };
        while found.contains_key(&key) {
            key.number += 1;
        }
        found.insert(key, rest);
    }
    found
}

fn difference(key: &Key, image: Option<&Vec<&str>>, seen: Option<&Vec<&str>>) -> Option<String> {
    let name = plain(&key.name);
    let mut what = match key.kind {
        Kind::Word => format!("word {} of the command", name.trim_start_matches('0')),
        Kind::Variable => format!("variable {name}"),
        Kind::Directory => "working directory".to_owned(),
        Kind::Entry if key.attribute.is_empty() => name,
        Kind::Entry => format!("{name}: attribute {}", plain(&key.attribute)),
        Kind::Unknown => format!("not understood: {name}"),
    };
    if key.number > 0 {
        what = format!("{what}, once more");
    }
    let value = |fields: &[&str]| fields.first().map(|it| plain(it)).unwrap_or_default();
    match (image, seen) {
        (Some(image), Some(seen)) if image == seen => None,
        (Some(image), Some(seen)) if key.kind == Kind::Entry && key.attribute.is_empty() => {
            Some(format!("{what}: {}", fields(image, seen)))
        }
        (Some(_), Some(_)) if key.kind == Kind::Entry => Some(format!("{what}: another value here")),
        (Some(image), Some(seen)) => {
            Some(format!("{what}: {:?} in the image, {:?} here", value(image), value(seen)))
        }
        (Some(_), None) => Some(format!("{what}: missing here")),
        (None, Some(_)) => Some(format!("{what}: not in the image")),
        (None, None) => None,
    }
}

/// Which fields of an entry differ: kind with mode, user, group, names, and what is in it. Of another kind of thing the
/// last two say nothing.
fn fields(image: &[&str], seen: &[&str]) -> String {
    let ([mode, owner @ .., names, holds], [own_mode, own_owner @ .., own_names, own_holds]) = (image, seen)
    else {
        return "not understood".to_owned();
    };
    let (kind, own_kind) = (mode.get(..1), own_mode.get(..1));
    let mut differ = Vec::new();
    if kind != own_kind {
        differ.push(format!("{} in the image, {} here", kind_name(kind), kind_name(own_kind)));
    }
    if mode.get(1..) != own_mode.get(1..) {
        let bits = |mode: &str| mode.get(1..).unwrap_or_default().to_owned();
        differ.push(format!("mode {} in the image, {} here", bits(mode), bits(own_mode)));
    }
    if owner != own_owner {
        differ.push(format!("owner {} in the image, {} here", owner.join(":"), own_owner.join(":")));
    }
    let count = |names: &str| names.split('#').next().unwrap_or_default().to_owned();
    match (kind == own_kind, names == own_names, count(names) == count(own_names)) {
        (false, ..) | (_, true, _) => {}
        (_, _, true) => differ.push("one file with another name here than in the image".into()),
        _ => differ.push(format!("{} names in the image, {} here", count(names), count(own_names))),
    }
    if kind == own_kind && holds != own_holds {
        differ.push(match kind {
            Some("l") => format!("leads to {:?} in the image, to {:?} here", plain(holds), plain(own_holds)),
            _ => "other bytes here".to_owned(),
        });
    }
    differ.join(", ")
}

fn kind_name(kind: Option<&str>) -> &'static str {
    match kind {
        Some("f") => "file",
        Some("d") => "directory",
        Some("l") => "link",
        Some("c" | "b") => "device",
        _ => "something else",
    }
}

#[cfg(test)]
mod tests {
    use super::differences;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    const IMAGE: &str = "argv /payload\nargv word=a\\040b\nenv PATH=/bin\ncwd /srv\nentry d0755 0 0 - - /\n\
                         entry f0644 0 0 1 aa /etc\nxattr user.x 11 /etc\nentry l0777 0 0 1 ../etc /motd";

    #[test]
    fn equal_lines_differ_in_nothing() {
        assert_eq!(differences(&lines(IMAGE), &lines(IMAGE)), Vec::<String>::new());
    }

    #[test]
    fn each_field_is_named() {
        for (old, new, said) in [
            ("entry f0644 0 0 1 aa", "entry f0600 0 0 1 aa", "/etc: mode 0644 in the image, 0600 here"),
            ("entry f0644 0 0 1 aa", "entry f0644 0 7 1 aa", "/etc: owner 0:0 in the image, 0:7 here"),
            ("entry f0644 0 0 1 aa", "entry f0644 0 0 1 ab", "/etc: other bytes here"),
            ("entry f0644 0 0 1 aa", "entry f0644 0 0 2#1f aa", "/etc: 1 names in the image, 2 here"),
            ("entry f0644 0 0 1 aa", "entry d0644 0 0 - -", "/etc: file in the image, directory here"),
            ("1 ../etc", "1 /e\\040x", "/motd: leads to \"../etc\" in the image, to \"/e x\" here"),
            ("user.x 11", "user.x 12", "/etc: attribute user.x: another value here"),
            ("user.x 11", "user.y 11", "/etc: attribute user.x: missing here"),
            ("user.y 11", "user.x 11", "/etc: attribute user.y: not in the image"),
            ("a\\040b", "a", "word 2 of the command: \"word=a b\" in the image, \"word=a\" here"),
            ("PATH=/bin", "PATH=/", "variable PATH: \"/bin\" in the image, \"/\" here"),
            ("cwd /srv", "cwd /", "working directory: \"/srv\" in the image, \"/\" here"),
        ] {
            let (image, seen) = match IMAGE.contains(old) {
                true => (IMAGE.to_owned(), IMAGE.replacen(old, new, 1)),
                false => (IMAGE.replacen(new, old, 1), IMAGE.to_owned()),
            };
            let (image, seen) =
                if said.ends_with("user.y: not in the image") { (seen, image) } else { (image, seen) };
            let found = differences(&lines(&image), &lines(&seen));
            let more =
                usize::from(said.starts_with("/etc: attribute user.") && !said.ends_with("value here"));
            assert!(found.len() == 1 + more && found.contains(&said.to_owned()), "{said}: {found:?}");
        }
    }

    #[test]
    fn lines_that_are_not_the_same_always_differ_in_something() {
        let of = |old: &str, new: &str| {
            differences(&lines(&IMAGE.replace(" /etc", old)), &lines(&IMAGE.replace(" /etc", new)))
        };
        // Neither is text: people would see the same. Missing and new, each with its attribute.
        assert_eq!(of(" /\\377", " /\\376").len(), 4);
        let twice = |it: &str| lines(&IMAGE.replace("env PATH=/bin", it));
        let both = twice("env PATH=/bin\nenv PATH=/bin");
        assert_eq!(differences(&lines(IMAGE), &both), ["variable PATH, once more: not in the image"]);
        let other = twice("env PATH=/\nenv PATH=/bin");
        assert_eq!(
            differences(&lines(IMAGE), &other),
            [
                "variable PATH: \"/bin\" in the image, \"/\" here",
                "variable PATH, once more: not in the image"
            ]
        );
        let mut turned = lines(IMAGE);
        turned.swap(2, 3);
        assert_eq!(differences(&lines(IMAGE), &turned), ["the same lines, in another order"]);
        let linked = |it: &str| lines(&IMAGE.replace("0 0 1 aa", it));
        assert_eq!(
            differences(&linked("0 0 2#1234 aa"), &linked("0 0 2#abcd aa")),
            ["/etc: one file with another name here than in the image"]
        );
    }

    #[test]
    fn what_is_there_once_is_named() {
        let without = IMAGE.replace("entry l0777 0 0 1 ../etc /motd", "entry p0600 0 0 1 - /pipe");
        let found = differences(&lines(IMAGE), &lines(without.trim_end()));
        assert_eq!(found, ["/motd: missing here", "/pipe: not in the image"]);
    }
}
