//! Reading and writing: what is written is read back, and every bad file gets its own clear error.

#[path = "../examples/demo/document.rs"]
#[allow(dead_code)]
mod made_up;

use std::path::{Path, PathBuf};

use tare_reports::{read, write};

/// A directory of this test, empty at its start.
fn directory(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// The error of reading that text.
fn refused(name: &str, text: &str) -> String {
    let path = directory(name).join("result.json");
    std::fs::write(&path, text).unwrap();
    let error = read(&path).unwrap_err().to_string();
    assert!(error.starts_with(&path.display().to_string()), "the error names its file: {error}");
    error
}

fn good() -> String {
    serde_json::to_string_pretty(&made_up::good(2)).unwrap()
}

#[test]
fn what_is_written_is_read_back_and_nothing_else_is_left() {
    let directory = directory("round-trip");
    let path = directory.join("result.json");
    let document = made_up::good(3);
    write(&document, &path).unwrap();
    write(&document, &path).unwrap();
    assert_eq!(read(&path).unwrap(), document);
    let names: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(names, ["result.json"]);
}

#[test]
fn a_refused_write_leaves_the_old_document() {
    let directory = directory("refused");
    let path = directory.join("result.json");
    let mut document = made_up::good(2);
    write(&document, &path).unwrap();
    let old = std::fs::read(&path).unwrap();
    document.series[0].samples[0].value = None;
    let error = write(&document, &path).unwrap_err().to_string();
    assert!(error.contains("neither a value nor a failure"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), old);

    // A directory in the way of the new name: the rename fails, the temporary file goes.
    let blocked = directory.join("blocked");
    std::fs::create_dir_all(blocked.join("child")).unwrap();
    let error = write(&made_up::good(2), &blocked).unwrap_err().to_string();
    assert!(error.starts_with("cannot rename"), "{error}");
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 2);
}

#[test]
fn a_missing_file_says_what_to_do() {
    let error = read(Path::new("/nonexistent/result.json")).unwrap_err().to_string();
    assert_eq!(
        error,
        "no result document at /nonexistent/result.json: run `tare run` first, or give the path of a result.json"
    );
}

#[test]
fn broken_json_names_the_line() {
    assert!(refused("broken", "{\n \"schema\": 1,\n oops }").contains(": line 3, column 2: "));
    assert!(refused("empty", "").contains("EOF"));
}

#[test]
fn a_wrong_shape_names_the_line_and_the_field() {
    let error = refused("shape", &good().replacen("\"position\":", "\"place\":", 1));
    assert!(error.contains("missing field `position`") && error.contains(": line "), "{error}");
}

#[test]
fn another_version_is_named_before_its_shape_is_looked_at() {
    let error = refused("newer", "{ \"schema\": 2 }");
    assert!(error.contains("has schema 2, this program reads schema 1"), "{error}");
    assert!(refused("none", "{}").contains("has schema none"));
}

#[test]
fn contradictions_are_refused() {
    let value = |edit: fn(&mut serde_json::Value)| {
        let mut value = serde_json::to_value(made_up::good(2)).unwrap();
        edit(&mut value);
        value.to_string()
    };
    let both = value(|it| it["series"][0]["samples"][1]["failure"] = "timeout".into());
    assert!(refused("both", &both).contains("sample 1 (round 1) has both a value and a failure"));
    let neither = value(|it| drop(it["series"][0]["samples"][1].as_object_mut().unwrap().remove("value")));
    assert!(refused("neither", &neither).contains("neither a value nor a failure"));
    let stranger = value(|it| it["series"][0]["contender"] = "stranger".into());
    assert!(refused("stranger", &stranger).contains("`stranger`: no such contender"));
    let twice = value(|it| it["contenders"][1]["name"] = it["contenders"][0]["name"].clone());
    assert!(refused("twice", &twice).contains("is listed twice"));
    let skipped = value(|it| it["contenders"][0]["status"] = "skipped".into());
    assert!(refused("skipped", &skipped).contains("yet it has samples"));
}
