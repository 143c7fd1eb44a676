//! `pull` and `push`: what is to be moved between the store and a registry, and who does it.
//!
//! To talk to a registry takes names, certificates, TLS and HTTP: several megabytes of other people's code. A start of
//! a box must not pay for it, and a box must not stand beside it. So it is a program of its own, `tare-runtime-registry`,
//! which lies beside this one; this one becomes it, as `git` becomes its parts. Where it was not built, everything else
//! still works.
//!
//! Man page: execve(2). Look at it: `ls -l $(dirname $(which tare-runtime))/tare-runtime*`

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::log::Log;

/// The program that is executed.
pub(crate) const PROGRAM: &str = "tare-runtime-registry";

/// What that program is told, as JSON in its only argument.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Transfer {
    pub(crate) store: PathBuf,
    pub(crate) what: What,
    /// Without TLS, to any address.
    pub(crate) plain_http: bool,
    /// So many seconds without a byte, and it is given up.
    pub(crate) timeout: u64,
    pub(crate) log: Option<Log>,
}

/// In which direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum What {
    /// From a registry into the store.
    Pull {
        /// What it is called there and here.
        name: String,
        /// Its bytes when it is unpacked.
        most: u64,
    },
    /// From the store to a registry.
    Push {
        /// What it is called here.
        local: String,
        /// What it is to be called there.
        remote: String,
    },
}
