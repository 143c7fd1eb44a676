//! The proxy of a box: a small process that passes on what comes in at its published ports.
//!
//! A connection to the host's port ends here, and a second one, to the box, begins (`proxy/passing.rs`). What the box sees
//! is a connection from the bridge's address, whoever the client is.
//!
//! It is no daemon. Each box with published ports has its own, which holds the listening sockets that the start has
//! opened, so that nobody else gets the port, and ends with the box: the kernel tells it of the end through a pidfd.
//! Nobody starts it again. It works on every host: packets are neither rewritten nor passed on, so no firewall has a
//! say that does not have one about ordinary connections.
//!
//! Strangers talk to it, so it has nothing: no file of the host's, open or to be opened, no right, no user of its own, and
//! no way to get any of them. What it could do is connect to others.
//!
//! Man pages: capabilities(7), pidfd_open(2). Look at it: `ps axo pid,user,args | grep "tare-runtime [p]roxy"`

mod passing;

use std::io::{self, Read, Write};
use std::net::{SocketAddrV4, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::chroot;

use crate::error::{Error, Result};
use crate::runtime::reap;
use crate::spec::Id;
use crate::state::{Process, observe};
use crate::{delete, seccomp, sys};

/// The word with which the program is told to be a proxy.
pub(crate) const WORD: &str = "proxy";
/// A user and a group that own nothing.
const NOBODY: u32 = 65534;

/// Starts the proxy of a box: `program` is to call [`serve`] when its first word is [`WORD`].
///
/// # Errors
/// [`Error::Step`] if it does not start, or not with nothing.
pub(crate) fn start(
    program: &Path,
    id: &Id,
    ports: Vec<(SocketAddrV4, TcpListener)>,
    pidfd: BorrowedFd<'_>,
) -> Result<Process> {
    let fault = |error: io::Error| Error::io("publish", format!("proxy of {id}"), &error);
    let (mut ours, theirs) = UnixStream::pair().map_err(fault)?;
    // It keeps nothing of ours open: who waits for the end of our output would wait for the box's end.
    let child = Command::new(program)
        .arg0("tare-runtime")
        .args([WORD, id.as_str()])
        .args(ports.iter().map(|(target, _)| target.to_string()))
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| Error::io("publish", program.display().to_string(), &error))?;
    let pid = child.id() as i32;
    let sent = || -> io::Result<()> {
        sys::terminal::send(ours.as_fd(), pidfd)?;
        for (_, listener) in &ports {
            sys::terminal::send(ours.as_fd(), listener.as_fd())?;
        }
        Ok(())
    };
    // Its own error number, or zero when all is well.
    let mut answer = [0; 4];
    let served = sent().and_then(|()| ours.read_exact(&mut answer));
    let errno = i32::from_ne_bytes(answer);
    if served.is_err() || errno != 0 {
        // It ends by itself; we have nobody else's end to wait for.
        let ended = wait(child);
        return Err(match errno {
            0 => Error::Spec {
                field: "publish".into(),
                why: format!("the proxy of {id} ended at once: {ended}"),
            },
            _ => Error::at("publish", format!("proxy of {id}"), Errno::from_raw(errno)),
        });
    }
    let started = observe(pid).map_or(0, |(started, _)| started);
    Ok(Process { pid, started })
}

fn wait(mut child: std::process::Child) -> String {
    let _ = child.kill();
    child.wait().map_or_else(|error| error.to_string(), |status| status.to_string())
}

/// Ends a proxy that may have outlived its box by a moment.
///
/// # Errors
/// [`Error::Step`], [`Error::Stuck`].
pub(crate) fn stop(process: Process) -> Result<()> {
    // It may be our child, or another's whom nobody but us can take it from.
    delete::kill(process)?.map_or(Ok(()), |pidfd| {
        let _ = reap(&pidfd);
        Ok(())
    })
}

/// What the program does as a proxy. `words` are the box's name and where each port leads.
///
/// # Errors
/// In words, for who called it by hand.
pub(crate) fn serve(words: &[String]) -> std::result::Result<(), String> {
    let by_hand = || "is started by `run --publish`, not by hand".to_owned();
    let [_, targets @ ..] = words else { return Err(by_hand()) };
    let targets: std::result::Result<Vec<SocketAddrV4>, _> =
        targets.iter().map(|text| text.parse()).collect();
    let targets = targets.map_err(|_| by_hand())?;
    // What the caller of our caller had left open is none of ours.
    sys::close_from(3).map_err(|errno| errno.to_string())?;
    let socket = sys::STDIO[0];
    let pidfd = sys::terminal::receive(socket).map_err(|_| by_hand())?;
    let listeners: std::result::Result<Vec<TcpListener>, Errno> =
        targets.iter().map(|_| sys::terminal::receive(socket).map(TcpListener::from)).collect();
    let listeners = listeners.map_err(|errno| errno.to_string())?;
    let mut answer = UnixStream::from(socket.try_clone_to_owned().map_err(|error| error.to_string())?);
    let confined = confine(&listeners);
    let errno = confined.map_or_else(|errno| errno as i32, |_| 0);
    answer.write_all(&errno.to_ne_bytes()).map_err(|error| error.to_string())?;
    drop(answer);
    let descriptors = confined.map_err(|errno| errno.to_string())?;
    passing::accept(&pidfd, &listeners, &targets, passing::places(descriptors, listeners.len()));
    Ok(())
}

/// Returns how many descriptors it may have open.
fn confine(listeners: &[TcpListener]) -> std::result::Result<u64, Errno> {
    for listener in listeners {
        // A client may be gone before we take it; then we must not wait for the next.
        listener.set_nonblocking(true).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
    }
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    match sys::setsid() {
        Ok(_) | Err(Errno::EPERM) => {}
        Err(errno) => return Err(errno),
    }
    // As its root a directory in which nothing is but the numbers of what it has open.
    chroot("/proc/self/fdinfo")?;
    sys::chdir("/")?;
    sys::set_groups(&[])?;
    // With the last of root's ids all capabilities go.
    sys::become_user(NOBODY, NOBODY)?;
    // Others of the same user must not reach into us, nor we into them.
    sys::hide_from_tracers()?;
    sys::no_new_privileges()?;
    seccomp::install(seccomp::PROGRAM).map_err(|fault| fault.errno)?;
    Ok(most)
}
