//! Between `create` and `start`: a box that is finished and waits.
//!
//! OCI splits a start in two, so that an engine can connect networks and volumes in between. The process
//! of the box exists already and must wait for somebody who does not exist yet. The two meet at a pipe
//! with a name, in the state directory: the box reads, `start` writes one byte. A second such pipe takes
//! the box's last report, for `create`, who had an ear for it, is gone.
//!
//! Man page: fifo(7). Look at it: `tare-runtime create --bundle DIR box; ls -l /run/tare/box`

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::Mode;
use nix::unistd::{mkfifo, read, write};

use crate::error::{Error, Result};
use crate::report::{self, Outcome};
use crate::state::Directory;

/// The box's side, opened before the fork.
#[derive(Debug)]
pub(crate) struct Gate {
    gate: OwnedFd,
    report: OwnedFd,
}

impl Gate {
    /// Makes the two pipes. Opened for both directions: so opening does not wait for the other side, and
    /// reading does.
    ///
    /// # Errors
    /// [`Error::Step`].
    pub(crate) fn make(directory: &Directory) -> Result<Self> {
        let open = |path: &Path| {
            let fault = |errno| Error::at("prepare", path.display().to_string(), errno);
            mkfifo(path, Mode::from_bits_truncate(0o600)).map_err(fault)?;
            let both = OFlag::O_RDWR | OFlag::O_CLOEXEC;
            nix::fcntl::open(path, both, Mode::empty()).map_err(fault)
        };
        Ok(Self { gate: open(&directory.gate())?, report: open(&directory.report())? })
    }

    /// In the child: waits for `start`, or for a signal that ends it.
    ///
    /// # Errors
    /// What read(2) reports.
    pub(crate) fn wait(&self) -> std::result::Result<(), Errno> {
        loop {
            match read(&self.gate, &mut [0]) {
                Err(Errno::EINTR) => {}
                other => return other.map(drop),
            }
        }
    }

    /// Where the box's last words go.
    pub(crate) fn report(&self) -> BorrowedFd<'_> {
        self.report.as_fd()
    }
}

/// Whether a box still waits.
pub(crate) fn is_waiting(directory: &Directory) -> bool {
    fs::symlink_metadata(directory.gate()).is_ok()
}

/// Lets the box go on, and waits until it executes its command or says why not.
///
/// # Errors
/// [`Error::Step`].
pub(crate) fn open_gate(directory: &Directory) -> Result<Outcome> {
    let fault = |path: &Path| {
        let path = path.display().to_string();
        move |error: io::Error| Error::io("start", path.clone(), &error)
    };
    let open = |path: &Path, options: &mut OpenOptions| {
        options.custom_flags(nix::libc::O_NONBLOCK).open(path).map_err(fault(path))
    };
    let (gate, ear) = (directory.gate(), directory.report());
    let reader = open(&ear, OpenOptions::new().read(true))?;
    let key = open(&gate, OpenOptions::new().write(true))?;
    // Opening was not to wait; reading is.
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::empty()))
        .map_err(|errno| Error::at("start", ear.display().to_string(), errno))?;
    write(&key, b"1").map_err(|errno| Error::at("start", gate.display().to_string(), errno))?;
    let outcome = report::receive(&reader).map_err(|errno| Error::at("start", "report pipe", errno))?;
    for path in [gate, ear] {
        fs::remove_file(&path).map_err(fault(&path))?;
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Message, send};

    #[test]
    fn the_box_waits_until_the_gate_is_opened_and_its_report_arrives() {
        let dir = tempfile::tempdir().expect("tempdir");
        let directory = Directory::new(dir.path(), &crate::Id::new("x").expect("id"));
        fs::create_dir(directory.path()).expect("mkdir");
        let gate = Gate::make(&directory).expect("gate");
        assert!(is_waiting(&directory));
        let waiting = std::thread::spawn(move || {
            gate.wait().expect("wait");
            send(gate.report(), Message::AboutToExec).expect("send");
            // Dropping it closes it, as an exec would.
        });
        assert_eq!(open_gate(&directory).expect("start"), Outcome::Executed);
        waiting.join().expect("join");
        assert!(!is_waiting(&directory));
    }
}
