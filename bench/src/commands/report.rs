//! `tare report`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::print_bytes;
use crate::cli::Lang;
use crate::run::write_page;

/// Draws the page of a saved result and prints its path.
///
/// # Errors
/// When the result cannot be read, or the page not be written.
pub fn report(results: &Path, out: Option<PathBuf>, lang: Lang) -> Result<i32> {
    let file = if results.is_dir() { results.join("result.json") } else { results.to_owned() };
    let document = tare_reports::read(&file)?;
    let dir = match out {
        Some(dir) => {
            std::fs::create_dir_all(&dir).with_context(|| format!("make the directory {}", dir.display()))?;
            dir
        }
        None => file.parent().map_or_else(|| PathBuf::from("."), Path::to_owned),
    };
    let page = std::path::absolute(write_page(&document, &dir, lang.into())?)?;
    print_bytes(format!("{}\n", page.display()).as_bytes())
}
