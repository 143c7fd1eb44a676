//! A helper: a process of this executable under a hidden first argument, which does for the lab what the lab itself
//! should not. The [spawner](crate::spawner) starts boxes, a [keeper](crate::keeper) holds their channels.
//!
//! Lab and helper talk over one `SOCK_SEQPACKET` socket (unix(7)): one message per datagram, JSON, with descriptors
//! attached where one is handed over. The socket is the helper's standard input, and its end is how a helper learns that
//! the lab is gone, however that died.

use std::ffi::OsStr;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg,
    socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest message, bytes. A seqpacket message is sent whole or not at all.
const MESSAGE: usize = 128 * 1024;

/// The lab's side of a helper. It ends when this value is dropped.
#[derive(Debug)]
pub(crate) struct Helper {
    /// What it is, in words.
    name: &'static str,
    child: Child,
    socket: Option<OwnedFd>,
    buffer: Vec<u8>,
}

impl Helper {
    /// Starts one from this executable, which must call [`crate::spawner::become_if_asked`] first. What it says first is
    /// for the caller to [receive](Self::receive).
    ///
    /// # Errors
    /// When it cannot be executed.
    pub(crate) fn start<A: AsRef<OsStr>>(
        executable: &Path,
        name: &'static str,
        arguments: impl IntoIterator<Item = A>,
    ) -> io::Result<Self> {
        let kind = (AddressFamily::Unix, SockType::SeqPacket);
        let (ours, theirs) = socketpair(kind.0, kind.1, None, SockFlag::SOCK_CLOEXEC)?;
        let child = Command::new(executable)
            .args(arguments)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .map_err(|e| {
                io::Error::new(e.kind(), format!("start the {name} {}: {e}", executable.display()))
            })?;
        Ok(Self { name, child, socket: Some(ours), buffer: Vec::new() })
    }

    /// The error of a helper that said something else than hello.
    pub(crate) fn no_hello(&self, executable: &Path, said: &dyn std::fmt::Debug) -> io::Error {
        io::Error::other(format!(
            "{} did not start as a {}: it said {said:?}",
            executable.display(),
            self.name
        ))
    }

    /// Sends a message.
    ///
    /// # Errors
    /// When the helper is gone.
    pub(crate) fn send(&self, message: &impl Serialize, fds: &[RawFd]) -> io::Result<()> {
        send(self.socket(), message, fds)
    }

    /// The next message; blocks until there is one.
    ///
    /// # Errors
    /// When the helper is gone.
    pub(crate) fn receive<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        let Self { name, socket, buffer, .. } = self;
        let socket = socket.as_ref().expect("open until dropped").as_fd();
        match receive(socket, buffer)? {
            Some((message, _)) => Ok(message),
            None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("the {name} has ended"))),
        }
    }

    /// Its socket, for poll(2).
    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_ref().expect("open until dropped").as_fd()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // Closing the socket ends its loop.
        self.socket = None;
        let _ = self.child.wait();
    }
}

/// Sends one message with descriptors attached.
pub(crate) fn send<T: Serialize>(socket: BorrowedFd, message: &T, fds: &[RawFd]) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    let rights = [ControlMessage::ScmRights(fds)];
    let control: &[ControlMessage] = if fds.is_empty() { &[] } else { &rights };
    loop {
        match sendmsg::<()>(
            socket.as_raw_fd(),
            &[IoSlice::new(&bytes)],
            control,
            MsgFlags::MSG_NOSIGNAL,
            None,
        ) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Receives one message with its descriptors; `None` when the other side is gone.
pub(crate) fn receive<T: DeserializeOwned>(
    socket: BorrowedFd,
    buffer: &mut Vec<u8>,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    buffer.resize(MESSAGE, 0);
    let mut space = nix::cmsg_space!([RawFd; 3]);
    let (length, fds) = loop {
        let mut slices = [IoSliceMut::new(buffer)];
        match recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC) {
            Ok(message) => {
                let mut fds = Vec::new();
                for control in message.cmsgs()? {
                    if let ControlMessageOwned::ScmRights(raw) = control {
                        fds.extend(raw.into_iter().map(crate::sys::received));
                    }
                }
                break (message.bytes, fds);
            }
            Err(Errno::EINTR) => continue,
            Err(Errno::ECONNRESET) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        }
    };
    if length == 0 {
        return Ok(None);
    }
    Ok(Some((serde_json::from_slice(&buffer[..length])?, fds)))
}
