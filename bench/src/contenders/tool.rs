//! The tools of others: where they are, and what a row says when they are not there.

use std::path::{Path, PathBuf};

use super::Missing;
use crate::program::{answer, is_program, on_path};

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

/// The first line that a program prints when asked for its version.
pub(super) fn version_of(program: &Path, argument: &str) -> Result<String, Missing> {
    let said =
        answer(program, &[argument], &[]).map_err(|e| Missing { reason: format!("{e:#}"), fix: None })?;
    Ok(said.lines().next().unwrap_or("unknown").trim().to_owned())
}
