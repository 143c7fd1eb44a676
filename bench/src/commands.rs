//! The subcommands of `tare`, one per file. Each returns the exit status.

pub mod clean;
pub mod doctor;
pub mod list;
pub mod report;
pub mod run;

use std::io::Write;

use anyhow::Result;

/// Prints bytes on standard output.
///
/// # Errors
/// When they cannot be written; a reader that has gone is none.
pub fn print_bytes(bytes: &[u8]) -> Result<i32> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(0),
    }
}

/// Prints a value as JSON.
fn print_json(value: &impl serde::Serialize) -> Result<i32> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    print_bytes(&bytes)
}
