//! What a box says of itself (`self`), as the rows of a table.

use std::collections::BTreeMap;
use std::fs;

use tare_reports::sameness::ROWS;

/// The lines of `self` by the rows that they belong to.
pub(super) fn read(lines: &[String]) -> BTreeMap<String, String> {
    let value = |key: &str| {
        let own = |line: &String| {
            line.strip_prefix("self ")?.strip_prefix(key)?.strip_prefix(' ').map(str::to_owned)
        };
        lines.iter().find_map(own)
    };
    let mut found = BTreeMap::new();
    for (row, ..) in ROWS {
        let text = match row {
            "user" => value("uid").zip(value("gid")).map(|(user, group)| format!("{user}:{group}")),
            "namespaces" => namespaces(&value),
            row if row.starts_with("limit/") => value(row).map(|it| it.replacen(' ', " / ", 1)),
            row => value(row),
        };
        // A box without /proc cannot tell; that is a line of its own.
        found.extend(text.map(|text| (row.to_owned(), text)));
    }
    found
}

/// Those that are not the host's. A machine has a kernel of its own, whose numbers say nothing.
fn namespaces(value: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    const KINDS: [&str; 8] = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];
    value("ns/mnt")?;
    let boot = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    if value("kernel").as_deref() != Some(boot.trim()) {
        return Some("its own kernel".into());
    }
    // Only what it said: of a kind that it could not tell nothing is known.
    let own = |kind: &&str| {
        let host = fs::read_link(format!("/proc/self/ns/{kind}")).map(|it| it.to_string_lossy().into_owned());
        value(&format!("ns/{kind}")).is_some_and(|own| host.is_ok_and(|host| own != host))
    };
    let kinds: Vec<&str> = KINDS.into_iter().filter(own).collect();
    Some(if kinds.is_empty() { "none".into() } else { kinds.join(" ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_the_boxes_own_only_where_it_said_another() {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        let own = |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string();
        let mut lines = vec![
            format!("self kernel {}", kernel.trim()),
            format!("self ns/mnt {}", own("mnt")),
            "self ns/pid pid:[1]".to_owned(),
            "self uid 0".to_owned(),
        ];
        let row = |lines: &[String], key: &str| read(lines).get(key).cloned();
        assert_eq!(row(&lines, "namespaces").as_deref(), Some("pid"), "it said nothing of the others");
        assert_eq!(row(&lines, "user"), None, "half an answer is none");
        lines[0] = "self kernel 1.0".into();
        assert_eq!(row(&lines, "namespaces").as_deref(), Some("its own kernel"));
        lines.remove(1);
        assert_eq!(row(&lines, "namespaces"), None);
    }
}
