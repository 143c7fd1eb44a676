//! Between `create` and `start`: a box that is finished and waits.
//!
//! OCI splits a start in two, so that an engine can connect networks and volumes in between. The process
//! of the box exists already and must wait for somebody who does not exist yet. The two meet at a pipe
//! with a name, in the state directory: the box reads, `start` writes one byte. A second such pipe takes
//! the box's last report, for `create`, who had an ear for it, is gone.
//! Without them `create` would have to stay until somebody starts the box.
//!
//! Step: `wait-for-start`.
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

/// What is said through the gate.
const GO: &[u8; 1] = b"1";
const NO: &[u8; 1] = b"0";

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
    /// ECANCELED if it is not to start, what read(2) reports.
    pub(crate) fn wait(&self) -> std::result::Result<(), Errno> {
        let mut word = [0];
        loop {
            match read(&self.gate, &mut word) {
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
                Ok(_) if word == *GO => return Ok(()),
                Ok(_) => return Err(Errno::ECANCELED),
            }
        }
    }

    /// Where the box's last words go.
    pub(crate) fn report(&self) -> BorrowedFd<'_> {
        self.report.as_fd()
    }
}

/// Whether a box still waits: it alone reads there, until its exec. That the pipe exists says less, for a
/// `start` that was killed may have left it.
pub(crate) fn is_waiting(directory: &Directory) -> bool {
    key(&directory.gate()).is_ok()
}

/// Opens the gate for writing, which fails where nobody reads.
fn key(gate: &Path) -> io::Result<fs::File> {
    OpenOptions::new().write(true).custom_flags(nix::libc::O_NONBLOCK).open(gate)
}

/// Ends a box of which nobody but its gate knows, for the `create` that made it was killed, and waits until
/// it has ended.
///
/// # Errors
/// [`Error::Step`].
pub(crate) fn dismiss(directory: &Directory) -> Result<()> {
    let (gate, ear) = (directory.gate(), directory.report());
    let fault = |errno| Error::at("kill", gate.display().to_string(), errno);
    let (Ok(reader), Ok(key)) = (listen(&ear), key(&gate)) else { return Ok(()) };
    write(&key, NO).map_err(fault)?;
    report::receive(&reader).map(drop).map_err(fault)
}

/// Opens the ear: without waiting for the other side, while reading waits.
fn listen(ear: &Path) -> io::Result<fs::File> {
    let reader = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(ear)?;
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::empty()))?;
    Ok(reader)
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
    let (gate, ear) = (directory.gate(), directory.report());
    let reader = listen(&ear).map_err(fault(&ear))?;
    let key = key(&gate).map_err(fault(&gate))?;
    write(&key, GO).map_err(|errno| Error::at("start", gate.display().to_string(), errno))?;
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

    #[test]
    fn a_dismissed_box_does_not_go_on() {
        let dir = tempfile::tempdir().expect("tempdir");
        let directory = Directory::new(dir.path(), &crate::Id::new("x").expect("id"));
        fs::create_dir(directory.path()).expect("mkdir");
        let gate = Gate::make(&directory).expect("gate");
        let waiting = std::thread::spawn(move || gate.wait().expect_err("dismissed"));
        dismiss(&directory).expect("dismiss");
        assert_eq!(waiting.join().expect("join"), Errno::ECANCELED);
        assert!(directory.gate().exists() && !is_waiting(&directory), "a pipe alone says nothing");
        // Nobody there: nothing to do.
        dismiss(&directory).expect("dismiss");
    }
}
