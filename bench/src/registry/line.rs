//! The line between who fetches and the registry: a port of a loopback interface that leads to the registry's socket, and
//! counts what comes from there. It understands nothing of what it carries.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};
use tare_runtime::network::netlink::{Netlink, Request};

/// So much is carried at a time, bytes: as much as a pipe holds.
const PIECE: usize = 64 << 10;

/// A line that is open. Nothing goes over it any more once it is dropped.
#[derive(Debug)]
pub struct Line {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: TcpListener,
    accepts: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Bytes that came from the registry.
    carried: AtomicU64,
    closed: AtomicBool,
    /// Both ends of each connection, to end them by.
    ends: Mutex<Vec<(TcpStream, UnixStream)>>,
}

impl Line {
    /// Opens one to a socket, at a port that the kernel chooses of 127.0.0.1: of the lab's own loopback interface, or
    /// of the one that the process `inside` sees, in whose network namespace it is brought up first.
    ///
    /// # Errors
    /// When there cannot be listened there.
    pub fn open(socket: &Path, inside: Option<u32>) -> Result<Self> {
        let listener = match inside {
            None => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)),
            Some(pid) => listen_inside(pid),
        };
        let listener = listener.with_context(|| match inside {
            None => "listen for who fetches images".to_owned(),
            Some(pid) => {
                format!("listen for who fetches images in the network of process {pid} (has it ended?)")
            }
        })?;
        let (address, accepting) = (listener.local_addr()?, listener.try_clone()?);
        let shared = Arc::new(Shared::default());
        let (for_thread, socket) = (shared.clone(), socket.to_owned());
        let accepts = thread::spawn(move || for_thread.accept(&accepting, &socket));
        Ok(Self { address, shared, listener, accepts: Some(accepts) })
    }

    /// Where it begins, as `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Bytes that have come from the registry so far, those of the protocol included.
    pub fn carried(&self) -> u64 {
        self.shared.carried.load(Ordering::SeqCst)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        // Ends the wait for the next connection (Linux; shutdown(2) of a socket that listens).
        let _ = nix::sys::socket::shutdown(self.listener.as_raw_fd(), nix::sys::socket::Shutdown::Both);
        if let Some(accepts) = self.accepts.take() {
            let _ = accepts.join();
        }
        for (puller, registry) in self.shared.ends().drain(..) {
            let _ = (puller.shutdown(Shutdown::Both), registry.shutdown(Shutdown::Both));
        }
    }
}

impl Shared {
    fn ends(&self) -> std::sync::MutexGuard<'_, Vec<(TcpStream, UnixStream)>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener, socket: &Path) {
        loop {
            let accepted = listener.accept();
            if self.closed.load(Ordering::SeqCst) {
                return;
            }
            match accepted {
                // A registry that is gone is, to who fetches, a connection that is closed.
                Ok((puller, _)) => drop(self.connect(puller, socket)),
                Err(e) if e.kind() == ErrorKind::Interrupted || e.kind() == ErrorKind::ConnectionAborted => {}
                Err(_) => return,
            }
        }
    }

    fn connect(self: &Arc<Self>, puller: TcpStream, socket: &Path) -> io::Result<()> {
        puller.set_nodelay(true)?;
        let registry = UnixStream::connect(socket)?;
        self.ends().push((puller.try_clone()?, registry.try_clone()?));
        let (mut asks, mut hears) = (puller.try_clone()?, registry.try_clone()?);
        thread::spawn(move || {
            let _ = io::copy(&mut asks, &mut hears);
            let _ = hears.shutdown(Shutdown::Write);
        });
        let shared = self.clone();
        thread::spawn(move || {
            let _ = shared.carry(registry, &puller);
            let _ = puller.shutdown(Shutdown::Both);
        });
        Ok(())
    }

    /// What the registry says, counted before it is handed on: who has read it finds it counted.
    fn carry(&self, mut from: UnixStream, mut to: &TcpStream) -> io::Result<()> {
        let mut piece = vec![0; PIECE];
        loop {
            let read = match from.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            self.carried.fetch_add(read as u64, Ordering::SeqCst);
            to.write_all(&piece[..read])?;
        }
    }
}

/// Listens in the network namespace of a process.
fn listen_inside(pid: u32) -> io::Result<TcpListener> {
    let namespace = File::open(PathBuf::from(format!("/proc/{pid}/ns/net")))?;
    // A thread of its own may leave the lab's namespace for ever without taking anybody along.
    let inside = move || {
        setns(namespace, CloneFlags::CLONE_NEWNET)?;
        Netlink::open()?.ask(&Request::up_by_name("lo"))?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
    };
    thread::spawn(inside).join().unwrap_or_else(|_| Err(io::Error::other("the thread that listens panicked")))
}
