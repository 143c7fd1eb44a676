//! The JSON schema of the document, generated from its types.

use crate::document::Document;

/// The JSON schema (draft 2020-12) of the result document. `reports/schema.json` is its committed copy.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Document).to_value()
}
