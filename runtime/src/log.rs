//! `--log`: errors in a file, in the form that engines read.
//!
//! An engine starts us with nobody at our standard error. Without the file it could not say why a box failed.
//!
//! Man page: runc(8), `--log`. Look at it:
//! `tare-runtime --log /tmp/log run --rootfs /nowhere box -- /bin/true; cat /tmp/log`

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use crate::options::LogFormat;

/// Appends one error.
///
/// # Errors
/// What the file system reports.
pub(crate) fn append(path: &Path, format: LogFormat, message: &str) -> io::Result<()> {
    let time = jiff::Timestamp::now();
    let line = match format {
        LogFormat::Text => format!("time=\"{time}\" level=error msg={message:?}\n"),
        LogFormat::Json => {
            format!("{}\n", serde_json::json!({"level": "error", "msg": message, "time": time.to_string()}))
        }
    };
    OpenOptions::new().append(true).create(true).open(path)?.write_all(line.as_bytes())
}
