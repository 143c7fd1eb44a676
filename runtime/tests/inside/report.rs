//! The checker's lines: `ok NAME`, `BAD NAME expected X got Y`, `none NAME why`. Names have no spaces.

use std::collections::BTreeMap;

/// Written inside the box.
#[derive(Default)]
pub(crate) struct Report {
    bad: usize,
}

impl Report {
    pub(crate) fn compare(&mut self, name: &str, expected: &str, got: &str) {
        self.judge(name, expected, got, expected == got);
    }

    pub(crate) fn judge(&mut self, name: &str, expected: &str, got: &str, good: bool) {
        if good {
            println!("ok {name} {got}");
        } else {
            self.bad += 1;
            println!("BAD {name} expected {expected} got {got}");
        }
    }

    pub(crate) fn absent(&self, name: &str, why: &str) {
        println!("none {name} {why}");
    }

    /// The checker's exit status.
    pub(crate) fn status(&self) -> i32 {
        i32::from(self.bad > 0)
    }
}

/// Read outside: what was found for each name.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) ok: BTreeMap<String, String>,
    /// Expected and got.
    pub(crate) bad: BTreeMap<String, (String, String)>,
    pub(crate) none: BTreeMap<String, String>,
}

impl Findings {
    /// # Panics
    /// If a name comes twice: a check that replaces another would hide it.
    pub(crate) fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            let mut words = line.splitn(3, ' ');
            let (Some(word), Some(name)) = (words.next(), words.next()) else { continue };
            let (name, rest) = (name.to_owned(), words.next().unwrap_or_default().to_owned());
            let twice = match word {
                "ok" => found.ok.insert(name, rest).is_some(),
                "none" => found.none.insert(name, rest).is_some(),
                "BAD" => {
                    let (expected, got) = rest.split_once(" got ").unwrap_or_default();
                    let expected = expected.strip_prefix("expected ").unwrap_or(expected);
                    found.bad.insert(name, (expected.into(), got.into())).is_some()
                }
                _ => false,
            };
            assert!(!twice, "checked twice: {line}");
        }
        found
    }

    /// What was answered, good or bad.
    pub(crate) fn got(&self, name: &str) -> Option<&str> {
        self.ok.get(name).or(self.bad.get(name).map(|(_, got)| got)).map(String::as_str)
    }
}
