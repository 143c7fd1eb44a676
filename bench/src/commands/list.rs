//! `tare list`.

use std::fmt::Write;

use anyhow::Result;
use serde_json::json;

use super::{print_bytes, print_json};
use crate::measures;
use crate::run::{Selection, look};

/// Lists contenders and measures.
///
/// # Errors
/// When the script of scripted contenders is broken.
pub fn list(json: bool) -> Result<i32> {
    let (_, rows) = look(&Selection::default())?;
    let measures = measures::all()?;
    if json {
        let measures: Vec<_> = measures
            .iter()
            .map(|m| {
                let quantities: Vec<_> =
                    m.quantities().iter().map(|(q, u)| json!({"name": q, "unit": u})).collect();
                json!({"name": m.name(), "about": m.about(), "quantities": quantities})
            })
            .collect();
        let contenders: Vec<_> = rows
            .iter()
            .map(|row| {
                let (runnable, class) = (row.reason.is_none(), row.class);
                json!({
                    "name": row.name, "class": class, "about": row.about, "runnable": runnable,
                    "version": row.version, "accel": row.accel, "reason": row.reason, "fix": row.fix,
                })
            })
            .collect();
        return print_json(&json!({"contenders": contenders, "measures": measures}));
    }
    let mut out = String::from("contenders\n");
    for row in &rows {
        match &row.reason {
            None => writeln!(out, "  {:<14} {} ({})", row.name, row.about, row.version)?,
            Some(reason) => writeln!(out, "  {:<14} skipped: {reason}", row.name)?,
        }
        if let Some(fix) = &row.fix {
            writeln!(out, "  {:<14} fix: {fix}", "")?;
        }
    }
    out.push_str("measures\n");
    for measure in &measures {
        writeln!(out, "  {:<14} {}", measure.name(), measure.about())?;
    }
    print_bytes(out.as_bytes())
}
