//! The committed schema is the types' schema, it accepts a real document and refuses broken ones.

#[path = "../examples/demo/document.rs"]
#[allow(dead_code)]
mod made_up;

use serde_json::{Value, json};

/// Set it to write the file anew: `TARE_WRITE_SCHEMA=1 cargo test -p tare-reports --test schema`.
const WRITE: &str = "TARE_WRITE_SCHEMA";

#[test]
fn the_committed_schema_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema.json");
    let current = serde_json::to_string_pretty(&tare_reports::schema()).unwrap() + "\n";
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(path, &current).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == current, "schema.json is stale: run with {WRITE}=1 and commit it");
}

fn document() -> Value {
    let mut document = made_up::good(8);
    made_up::find(&mut document, "tare", "ready", false).samples[2] = tare_reports::document::Sample::failure(
        2,
        0,
        tare_reports::document::Failure::GuestPanic,
        "Kernel panic",
    );
    serde_json::to_value(document).unwrap()
}

#[test]
fn a_document_validates() {
    let validator = jsonschema::validator_for(&tare_reports::schema()).unwrap();
    let errors: Vec<String> = validator.iter_errors(&document()).map(|it| it.to_string()).collect();
    assert_eq!(errors, Vec::<String>::new());
}

#[test]
fn broken_documents_are_refused() {
    let validator = jsonschema::validator_for(&tare_reports::schema()).unwrap();
    type Break = fn(&mut Value);
    let breaks: [(&str, Break); 9] = [
        ("another version", |it| it["schema"] = json!(2)),
        ("no host", |it| drop(it.as_object_mut().unwrap().remove("host"))),
        ("a fractional value", |it| it["series"][0]["samples"][0]["value"] = json!(1.5)),
        ("a negative value", |it| it["series"][0]["samples"][0]["value"] = json!(-1)),
        ("value and failure", |it| it["series"][0]["samples"][0]["failure"] = json!("timeout")),
        ("neither of them", |it| {
            drop(it["series"][0]["samples"][0].as_object_mut().unwrap().remove("value"))
        }),
        ("an unknown failure", |it| {
            it["series"][0]["samples"][0] = json!({ "round": 0, "position": 0, "failure": "tired" });
        }),
        ("an unknown accel", |it| it["contenders"][0]["accel"] = json!("magic")),
        ("an unknown verdict", |it| it["audit"][0]["verdict"] = json!("fine")),
    ];
    for (name, damage) in breaks {
        let mut broken = document();
        damage(&mut broken);
        assert!(!validator.is_valid(&broken), "accepted: {name}");
    }
}
