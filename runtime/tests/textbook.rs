//! The crate as a book: every file is in the reading order and says what it is, every step is explained
//! somewhere, every question names the files that answer it, and what the README says to try works.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Lab, skip, stderr, stdout};
use tare_runtime::container::RECIPE;

/// Files without a mechanism: the crate's own page, and tests beside the code.
const NO_MECHANISM: [&str; 4] = ["lib.rs", "cgroup/tests.rs", "cgroup/bpf/tests.rs", "seccomp/tests.rs"];

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn readme() -> String {
    fs::read_to_string(here("README.md")).expect("README.md")
}

/// The section of the README under this heading.
fn section(title: &str) -> String {
    let text = readme();
    let (_, rest) = text.split_once(&format!("\n## {title}\n")).unwrap_or_else(|| panic!("no {title:?}"));
    rest.split("\n## ").next().unwrap_or_default().to_owned()
}

/// What a text links to below src.
fn linked(text: &str) -> Vec<String> {
    let links = text.split("](src/").skip(1);
    links.filter_map(|link| link.split_once(')').map(|(path, _)| path.to_owned())).collect()
}

/// All files of src, relative to it.
fn sources() -> BTreeSet<String> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).expect("read_dir") {
            let path = entry.expect("entry").path();
            if path.is_dir() { walk(&path, found) } else { found.push(path) }
        }
    }
    let (root, mut found) = (here("src"), Vec::new());
    walk(&root, &mut found);
    found.iter().map(|path| path.strip_prefix(&root).expect("below").display().to_string()).collect()
}

/// The lines with which a file opens.
fn head(path: &str) -> String {
    let text = fs::read_to_string(here("src").join(path)).expect("source");
    text.lines().take_while(|line| line.starts_with("//!")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_reading_order_names_every_file_once() {
    let listed = linked(&section("Reading order"));
    let mut seen = BTreeSet::new();
    for path in &listed {
        assert!(seen.insert(path.clone()), "{path} is in the reading order twice");
    }
    assert_eq!(seen, sources());
    for word in NO_MECHANISM {
        assert!(seen.contains(word), "{word} is no file");
    }
}

#[test]
fn every_file_opens_with_its_mechanism_its_man_page_and_a_look() {
    for path in sources() {
        if NO_MECHANISM.contains(&path.as_str()) {
            continue;
        }
        let head = head(&path);
        assert!(!head.is_empty(), "{path} does not open with //!");
        // A sentence may be wrapped anywhere.
        let words = head.replace("\n//! ", " ");
        for part in ["Man page", "Look at it"] {
            assert!(words.contains(part), "{path}: no {part:?} in its head");
        }
        let (_, look) = words.split_once("Look at it").unwrap_or_default();
        assert!(look.contains('`'), "{path}: nothing to type behind \"Look at it\"");
    }
}

#[test]
fn every_step_of_the_recipe_is_claimed_by_one_file() {
    let mut claims: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in sources() {
        for paragraph in head(&path).split("//!\n").map(|paragraph| paragraph.replace("\n//! ", " ")) {
            let Some(steps) =
                ["//! Steps: ", "//! Step: "].iter().find_map(|begin| paragraph.strip_prefix(begin))
            else {
                continue;
            };
            for name in steps.split('`').skip(1).step_by(2) {
                claims.entry(name.to_owned()).or_default().push(path.clone());
            }
        }
    }
    for step in RECIPE {
        let claimed = claims.remove(step.name).unwrap_or_default();
        assert_eq!(claimed.len(), 1, "step {:?} must be claimed by one file: {claimed:?}", step.name);
        assert!(!step.why.is_empty(), "step {:?} has no reason", step.name);
    }
    assert!(claims.is_empty(), "these are no steps: {claims:?}");
}

#[test]
fn ten_questions_name_the_files_that_answer_them() {
    let text = section("Ten questions");
    let all = sources();
    for number in 1..=10 {
        let begin = format!("\n{number}. ");
        let (_, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("no question {number}"));
        let question = rest.split(&format!("\n{}. ", number + 1)).next().unwrap_or_default();
        assert!(question.contains('?'), "{number} asks nothing");
        let files = linked(question);
        assert!(!files.is_empty(), "{number} names no file");
        for file in files {
            assert!(all.contains(&file), "{number}: {file} is no file");
        }
    }
    assert!(!text.contains("\n11. "), "more than ten");
    assert!(readme().ends_with(text.as_str()), "the README ends with its questions");
}

#[test]
fn what_the_readme_says_to_try_works() {
    let Some(lab) = Lab::new() else { return };
    let probe = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "unshare", "--user", "true"])
        .output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        return skip("userns", "user namespaces are not allowed here, which the last example needs");
    }
    // The program by its name, with state directories of this test, where also an ordinary user can use it.
    let program = lab.path().join("program");
    fs::copy(env!("CARGO_BIN_EXE_tare-runtime"), &program).expect("copy");
    let wrapper =
        format!("#!/bin/sh\nexec {0}/program --root {0}/state-$(id -u) \"$@\"\n", lab.path().display());
    fs::create_dir(lab.path().join("path")).expect("mkdir");
    let name = lab.path().join("path/tare-runtime");
    fs::write(&name, wrapper).expect("write");
    for (path, mode) in [(&name, 0o755), (&lab.path().to_owned(), 0o1777)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    }
    let work = lab.path().join("work");
    fs::create_dir(&work).expect("mkdir");
    let text = section("Try it");
    let blocks: Vec<&str> =
        text.split("```sh\n").skip(1).filter_map(|block| block.split("```").next()).collect();
    assert!(blocks.len() > 4, "{blocks:?}");
    // Its name is also a cgroup, and other tests may run this at the same time.
    let id = format!("mybox-{}", std::process::id());
    // A command that fails must not leave its box: whoever waits in it would also hold our pipes.
    let clean = "trap 'tare-runtime delete --force mybox 2>/dev/null || true' EXIT\n";
    let script = format!("{clean}{}", blocks.concat()).replace("mybox", &id);
    let path = format!("{}:{}", lab.path().join("path").display(), std::env::var("PATH").unwrap_or_default());
    let output = Command::new("timeout")
        .args(["120", "sh", "-eu", "-c", &script])
        .current_dir(&work)
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .expect("sh");
    let state = |user: &str| tare_runtime::Runtime::new(lab.path().join(format!("state-{user}")));
    let left: Vec<_> =
        ["0", "65534"].iter().flat_map(|user| state(user).list().expect("list")).map(|s| s.id).collect();
    for id in &left {
        let _ = state("0").delete(id, true);
    }
    let (seen, errors) = (stdout(&output), stderr(&output));
    assert!(output.status.success(), "{errors}\n{seen}");
    assert!(left.is_empty(), "left behind: {left:?}");
    // What the text around the commands promises.
    let own = "CapEff:\t00000000a00425fb";
    for promise in [
        &id,
        own,
        "process 1 is still here",
        "image/bin/head",
        "\"status\": \"created\"",
        "uid=0",
        "hello, neighbour",
    ] {
        assert!(seen.contains(promise), "{promise:?} is not in\n{seen}\n{errors}");
    }
    let ids = seen.lines().rev().find(|line| line.contains("65534")).unwrap_or_default();
    assert_eq!(ids.split_whitespace().collect::<Vec<_>>(), ["0", "65534", "1"], "{seen}");
    let rungs: Vec<&str> = seen.split("== ").skip(1).collect();
    assert_eq!(rungs.len(), 7, "{seen}");
    assert!(!rungs[0].contains("process 1\n") && rungs[1].contains("process 1\n"), "{seen}");
    assert!(rungs[2].contains(" /usr") && !rungs[3].contains(" /usr"), "{seen}");
    assert!(!rungs[5].contains(own) && rungs[6].contains(own), "{seen}");
}
