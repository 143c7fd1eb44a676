//! How the new process tells its parent what went wrong: a pipe that exec closes.
//!
//! After the fork the child can neither return an error nor format one. It writes eight bytes into a
//! pipe whose ends are close-on-exec. The parent reads: a fault; or, after the child's "about to
//! exec", the end of the pipe, which means that the exec closed it and the command runs; or the end
//! alone, which means that the child was killed. Without it the parent would see "exit status 1".
//!
//! Man page: pipe(2), fcntl(2) (`FD_CLOEXEC`). Look at it:
//! `strace -f -e trace=pipe2,read,write tare-runtime run -d --rootfs DIR box -- /nosuch`

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{pipe2, read, write};

/// What a step inside the box reports: which of its objects, and the kernel's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// An index that the step's own file turns back into words.
    pub(crate) object: u16,
    /// The kernel's answer.
    pub(crate) errno: Errno,
}

impl Fault {
    /// A fault of the step's object number `object`; made for `map_err`.
    pub(crate) fn of(object: usize) -> impl Fn(Errno) -> Fault {
        move |errno| Fault { object: object as u16, errno }
    }
}

/// One message, as the parent reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// All steps but the exec are done.
    AboutToExec,
    /// All that `create` does is done.
    Waiting,
    /// Step number `step` of the recipe failed.
    Failed {
        /// Position in the recipe.
        step: u16,
        /// What failed in it.
        fault: Fault,
    },
}

const SIZE: usize = 8;
const NO_STEP: u16 = u16::MAX;
const WAITING: u16 = u16::MAX - 1;

impl Message {
    fn encode(self) -> [u8; SIZE] {
        let (step, object, errno) = match self {
            Self::AboutToExec => (NO_STEP, 0, 0),
            Self::Waiting => (WAITING, 0, 0),
            Self::Failed { step, fault } => (step, fault.object, fault.errno as i32),
        };
        let mut bytes = [0; SIZE];
        bytes[..2].copy_from_slice(&step.to_ne_bytes());
        bytes[2..4].copy_from_slice(&object.to_ne_bytes());
        bytes[4..].copy_from_slice(&errno.to_ne_bytes());
        bytes
    }

    fn outcome(self) -> Outcome {
        match self {
            Self::AboutToExec => Outcome::Executed,
            Self::Waiting => Outcome::Waiting,
            Self::Failed { step, fault } => Outcome::Failed { step, fault },
        }
    }

    fn decode(bytes: [u8; SIZE]) -> Self {
        let [a, b, c, d, e, f, g, h] = bytes;
        match u16::from_ne_bytes([a, b]) {
            NO_STEP => Self::AboutToExec,
            WAITING => Self::Waiting,
            step => {
                let errno = Errno::from_raw(i32::from_ne_bytes([e, f, g, h]));
                Self::Failed { step, fault: Fault { object: u16::from_ne_bytes([c, d]), errno } }
            }
        }
    }
}

/// The two ends, both in the parent until the fork.
#[derive(Debug)]
pub(crate) struct Pipe {
    /// Read by the parent.
    pub(crate) reader: OwnedFd,
    /// Written by the child.
    pub(crate) writer: OwnedFd,
}

/// How the child's set-up ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The command runs.
    Executed,
    /// Created, and waiting for the start.
    Waiting,
    /// A step failed.
    Failed {
        /// Position in the recipe.
        step: u16,
        /// What failed in it.
        fault: Fault,
    },
    /// The child ended without a word.
    Silent,
}

/// Makes the pipe.
///
/// # Errors
/// EMFILE, ENFILE.
pub(crate) fn pipe() -> Result<Pipe, Errno> {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
    Ok(Pipe { reader, writer })
}

/// In the child. Fails with EPIPE (or the signal) if the parent is gone: then nobody knows of this
/// box, and it must not start.
///
/// # Errors
/// EPIPE.
pub(crate) fn send(writer: impl AsFd, message: Message) -> Result<(), Errno> {
    write(writer, &message.encode()).map(drop)
}

/// In the parent, which has closed its own copy of the writing end: waits for the end of the set-up.
///
/// # Errors
/// What read(2) reports.
pub(crate) fn receive(reader: impl AsFd) -> Result<Outcome, Errno> {
    let mut outcome = Outcome::Silent;
    loop {
        let mut bytes = [0; SIZE];
        // Eight bytes are far below PIPE_BUF, so messages arrive whole.
        match read(&reader, &mut bytes) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
            Ok(SIZE) => outcome = Message::decode(bytes).outcome(),
            Ok(_) => return Ok(outcome),
        }
    }
}

/// The same, but only for the first message: the sender stays.
///
/// # Errors
/// What read(2) reports.
pub(crate) fn receive_one(reader: impl AsFd) -> Result<Outcome, Errno> {
    let mut bytes = [0; SIZE];
    loop {
        return match read(&reader, &mut bytes) {
            Err(Errno::EINTR) => continue,
            Err(errno) => Err(errno),
            Ok(SIZE) => Ok(Message::decode(bytes).outcome()),
            Ok(_) => Ok(Outcome::Silent),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome_of(messages: &[Message]) -> Outcome {
        let Pipe { reader, writer } = pipe().expect("pipe");
        for message in messages {
            send(&writer, *message).expect("send");
        }
        drop(writer);
        receive(reader).expect("receive")
    }

    #[test]
    fn the_end_alone_is_a_death_and_after_the_mark_a_success() {
        assert_eq!(outcome_of(&[]), Outcome::Silent);
        assert_eq!(outcome_of(&[Message::AboutToExec]), Outcome::Executed);
    }

    #[test]
    fn a_fault_arrives_as_it_was_sent_even_after_the_mark() {
        let fault = Fault { object: 300, errno: Errno::ENOENT };
        let failed = Message::Failed { step: 21, fault };
        assert_eq!(outcome_of(&[Message::AboutToExec, failed]), Outcome::Failed { step: 21, fault });
    }
}
