//! What differs between what an image holds and what a box of it saw, each named.

use std::collections::BTreeMap;

use super::listing::plain;

/// The differences, in words and in the order of the lines; empty where there are none.
pub fn differences(image: &[String], seen: &[String]) -> Vec<String> {
    let (image, seen) = (by_key(image), by_key(seen));
    let mut keys: Vec<&Key> = image.keys().chain(seen.keys()).collect();
    keys.sort();
    keys.dedup();
    keys.into_iter().filter_map(|key| difference(key, image.get(key), seen.get(key))).collect()
}

/// What a line is about: paths in the order in which they were walked, then the attribute.
type Key = (usize, Vec<String>, String);

/// A line's fields without its key, by what it is about. A word of the command is known by its place.
fn by_key(lines: &[String]) -> BTreeMap<Key, Vec<&str>> {
    let mut word = 0;
    let mut found = BTreeMap::new();
    for line in lines {
        let fields: Vec<&str> = line.split(' ').collect();
        let path = |it: &str| it.split('/').map(plain).collect::<Vec<_>>();
        let (key, rest) = match *fields.as_slice() {
            ["argv", text] => {
                word += 1;
                ((0, vec![format!("{word:03}")], String::new()), vec![text])
            }
            ["env", text] => {
                let (name, value) = text.split_once('=').unwrap_or((text, ""));
                ((1, vec![plain(name)], String::new()), vec![value])
            }
            ["cwd", text] => ((2, Vec::new(), String::new()), vec![text]),
            ["entry", ref rest @ .., at] => ((3, path(at), String::new()), rest.to_vec()),
            ["xattr", name, sum, at] => ((3, path(at), plain(name)), vec![sum]),
            _ => ((4, vec![line.clone()], String::new()), Vec::new()),
        };
        found.insert(key, rest);
    }
    found
}

fn difference(key: &Key, image: Option<&Vec<&str>>, seen: Option<&Vec<&str>>) -> Option<String> {
    let (kind, names, attribute) = key;
    let what = match (kind, attribute.as_str()) {
        (0, _) => format!("word {} of the command", names.concat().trim_start_matches('0')),
        (1, _) => format!("variable {}", names.concat()),
        (2, _) => "working directory".to_owned(),
        (3, "") => shown(names),
        (3, name) => format!("{}: attribute {name}", shown(names)),
        _ => return Some(format!("not understood: {}", names.concat())),
    };
    let value = |fields: &[&str]| fields.first().map(|it| plain(it)).unwrap_or_default();
    match (image, seen) {
        (Some(image), Some(seen)) if image == seen => None,
        (Some(image), Some(seen)) if *kind == 3 && attribute.is_empty() => {
            Some(format!("{what}: {}", fields(image, seen)))
        }
        (Some(_), Some(_)) if *kind == 3 => Some(format!("{what}: another value here")),
        (Some(image), Some(seen)) => {
            Some(format!("{what}: {:?} in the image, {:?} here", value(image), value(seen)))
        }
        (Some(_), None) => Some(format!("{what}: missing here")),
        (None, Some(_)) => Some(format!("{what}: not in the image")),
        (None, None) => None,
    }
}

fn shown(names: &[String]) -> String {
    let path = names.join("/");
    if path.is_empty() { "/".to_owned() } else { path }
}

/// Which fields of an entry differ: kind with mode, user, group, links, and what is in it.
fn fields(image: &[&str], seen: &[&str]) -> String {
    let ([mode, owner @ .., links, holds], [own_mode, own_owner @ .., own_links, own_holds]) = (image, seen)
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
    if links != own_links {
        differ.push(format!("{links} names in the image, {own_links} here"));
    }
    if holds != own_holds {
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
            ("entry f0644 0 0 1 aa", "entry f0644 0 0 2 aa", "/etc: 1 names in the image, 2 here"),
            ("entry f0644 0 0 1 aa", "entry f0644 0 0 1 ab", "/etc: other bytes here"),
            ("entry f0644 0 0 1 aa", "entry d0644 0 0 1 aa", "/etc: file in the image, directory here"),
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
            assert!(differences(&lines(&image), &lines(&seen)).contains(&said.to_owned()), "{said}");
        }
    }

    #[test]
    fn what_is_there_once_is_named() {
        let without = IMAGE.replace("entry l0777 0 0 1 ../etc /motd", "entry p0600 0 0 1 - /pipe");
        let found = differences(&lines(IMAGE), &lines(without.trim_end()));
        assert_eq!(found, ["/motd: missing here", "/pipe: not in the image"]);
    }
}
