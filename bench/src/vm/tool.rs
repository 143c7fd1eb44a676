//! Finding QEMU: `TARE_QEMU`, then PATH.

use std::env;
use std::path::PathBuf;

use super::Unavailable;
use crate::program::{answer, on_path};

const NAME: &str = "qemu-system-x86_64";
const FIX: &str =
    "install it with ./scripts/setup (Debian: apt-get install qemu-system-x86), or name it in TARE_QEMU";

/// A QEMU that answered when asked for its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// The program, absolute when it was found on PATH.
    pub path: PathBuf,
    /// The version as it says itself, with the packager's: `7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)`.
    pub version: String,
}

/// Finds QEMU and asks for its version.
///
/// # Errors
/// It is not there, cannot be run, or is something else.
pub fn find() -> Result<Tool, Unavailable> {
    let unavailable = |reason: String| Unavailable { reason, fix: FIX.to_owned() };
    let path = match env::var_os("TARE_QEMU").filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => on_path(NAME).ok_or_else(|| unavailable(format!("{NAME} is not on PATH")))?,
    };
    let said = answer(&path, &["--version"], &[]).map_err(|error| unavailable(format!("{error:#}")))?;
    let version = parse_version(&said).ok_or_else(|| {
        let first = said.lines().next().unwrap_or("nothing");
        unavailable(format!("{} --version says {first:?}, which is not QEMU's answer", path.display()))
    })?;
    Ok(Tool { path, version })
}

/// The version in the answer to `qemu-system-x86_64 --version`.
#[must_use]
pub fn parse_version(answer: &str) -> Option<String> {
    let version = answer.lines().next()?.strip_prefix("QEMU emulator version ")?.trim();
    version.starts_with(|c: char| c.is_ascii_digit()).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::parse_version;

    #[test]
    fn reads_the_version_of_debian_12() {
        let answer = include_str!("../../tests/fixtures/qemu-version-7.2.txt");
        assert_eq!(parse_version(answer).as_deref(), Some("7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)"));
    }

    #[test]
    fn other_answers_are_no_version() {
        assert_eq!(parse_version(""), None);
        assert_eq!(parse_version("qemu-img version 7.2.22"), None);
        assert_eq!(parse_version("QEMU emulator version \n"), None);
    }
}
