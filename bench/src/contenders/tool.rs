//! The tools of others: where they are, and what a row says when they are not there.

use std::path::PathBuf;

use super::{Missing, is_program, on_path};

/// Finds a tool: where its environment variable points, else on PATH. `fix` is the command that installs it.
pub(super) fn tool(variable: &str, name: &str, fix: &str) -> Result<PathBuf, Missing> {
    let Some(path) = std::env::var_os(variable).map(PathBuf::from) else {
        let absent = || Missing::new(format!("{name} is not on PATH and {variable} is not set"), fix);
        return on_path(name).ok_or_else(absent);
    };
    if is_program(&path) {
        return Ok(path);
    }
    Err(Missing::new(
        format!("{variable} names {}, which is no program", path.display()),
        format!("unset {variable}, or have it name an executable {name}"),
    ))
}
