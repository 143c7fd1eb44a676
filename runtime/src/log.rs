//! `--log`: errors in a file, in the form that engines read.
//!
//! An engine starts us with nobody at our standard error. Without the file it could not say why a box failed.
//!
//! Man page: runc(8), `--log`. Look at it:
//! `tare-runtime --log /tmp/log run --rootfs /nowhere box -- /bin/true; cat /tmp/log`

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where errors are written, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Log {
    pub(crate) path: PathBuf,
    pub(crate) format: LogFormat,
}

/// How the log file is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum LogFormat {
    /// Lines of words.
    #[default]
    Text,
    /// A JSON object a line, with level, msg and time, as engines read it.
    Json,
}

impl Log {
    /// Appends one error; says on standard error where it cannot.
    pub(crate) fn tell(&self, message: &str) {
        if let Err(error) = self.append(message) {
            let _ = writeln!(io::stderr(), "tare-runtime: log {}: {error}", self.path.display());
        }
    }

    fn append(&self, message: &str) -> io::Result<()> {
        let time = jiff::Timestamp::now();
        let line = match self.format {
            LogFormat::Text => format!("time=\"{time}\" level=error msg={message:?}\n"),
            LogFormat::Json => {
                format!(
                    "{}\n",
                    serde_json::json!({"level": "error", "msg": message, "time": time.to_string()})
                )
            }
        };
        OpenOptions::new().append(true).create(true).open(&self.path)?.write_all(line.as_bytes())
    }
}
