//! Passing on: what the proxy of a box does with each connection, and with how many at once.
//!
//! Between the client and the box nothing is looked at: splice moves the bytes from one socket to the other inside the
//! kernel. Each direction ends by itself: who has nothing more to say closes his half, and may still be answered.
//!
//! A client whose machine is switched off never says that it has gone. So the kernel asks those who are silent whether
//! they are still there; else their connections would stay, until there were as many as there may be. So would those that
//! the server has closed, for want of a question say, and the client has not: nothing more comes from there, but who may
//! only have said all that he had to say still hears. The kernel's question tells one from the other: a server that has
//! gone resets the connection.
//!
//! There may be [`MOST`] connections at once: each takes two threads and six descriptors of a host that has only so many.
//! There are fewer where a process may have few descriptors open: one that would get none is not to be let in and then
//! turned away. Further ones wait in the kernel's queue until one ends. Whoever may reach the port may so have all of them, as he may of
//! the server itself, whose own limits hold for what comes through here too; no address has a share of them, for
//! an address is no client: this host's are all 127.0.0.1, and a whole office may be behind one gateway. What the
//! kernel leads in by rules (`nftables.rs`) does not come through here, and has no such limit.
//!
//! Man pages: splice(2), shutdown(2), tcp(7). Look at it: `ss --tcp --processes --options`

use std::io;
use std::net::{Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, SpliceFFlags, splice};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::pipe2;

/// So many connections at once.
const MOST: usize = 1000;
/// Descriptors of one: two sockets, and a pipe for each direction.
const EACH: usize = 6;
/// And those that there are without any, beside the listeners: the standard three, the box's, and one to spare.
const OWN: usize = 5;
/// How long a box that was reached may take to accept a connection.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long connections may go on that the box has left behind: what it said last is on its way.
const AFTERWARDS: Duration = Duration::from_secs(1);
/// After so many seconds of silence the kernel asks whether the other side is still there, and gives it up after nine
/// questions, one every [`AGAIN`] seconds.
const SILENCE: u32 = 60;
const AGAIN: u32 = 15;
/// Threads do little: a call and a few numbers.
const STACK: usize = 64 * 1024;
/// As much as a pipe holds.
const GULP: usize = 64 * 1024;

/// How many connections there are.
#[derive(Debug, Default)]
struct Count {
    number: Mutex<usize>,
    fewer: Condvar,
}

impl Count {
    fn number(&self) -> usize {
        *self.number.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self) {
        *self.number.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    }

    fn subtract(&self) {
        *self.number.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.fewer.notify_all();
    }

    fn wait_for_none(&self, patience: Duration) {
        let number = self.number.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.fewer.wait_timeout_while(number, patience, |number| *number > 0));
    }
}

/// How many connections there may be at once, for a process that may have so many descriptors open. When one place is left
/// each listener may take one.
pub(super) fn places(descriptors: u64, listeners: usize) -> usize {
    let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
    let free = descriptors.saturating_sub(OWN + listeners) / EACH;
    (free + 1).saturating_sub(listeners).clamp(1, MOST)
}

/// Takes connections until the box has ended: as long as there are fewer than so many, one at each port.
pub(super) fn accept(pidfd: &OwnedFd, listeners: &[TcpListener], targets: &[SocketAddrV4], most: usize) {
    let count = Arc::new(Count::default());
    loop {
        let mut ready = vec![PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        let (open, timeout) = match count.number() >= most {
            // Looked at again from time to time: the end of a connection is no event here.
            true => (&listeners[..0], PollTimeout::from(50_u8)),
            false => (listeners, PollTimeout::NONE),
        };
        ready.extend(open.iter().map(|it| PollFd::new(it.as_fd(), PollFlags::POLLIN)));
        // Interrupted or not, all are looked at.
        let _ = poll(&mut ready, timeout);
        let mut there = ready.iter().map(|it| it.any().unwrap_or(false));
        if there.next().unwrap_or(true) {
            break;
        }
        for ((listener, target), _) in open.iter().zip(targets).zip(there).filter(|(_, there)| *there) {
            match listener.accept() {
                Ok((client, _)) => {
                    count.add();
                    take(client, *target, &count);
                }
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                // No descriptor or no memory is left: the client waits, and so do we, or we would turn in circles.
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }
    count.wait_for_none(AFTERWARDS);
}

fn take(client: TcpStream, target: SocketAddrV4, count: &Arc<Count>) {
    let own = Arc::clone(count);
    let started = std::thread::Builder::new().stack_size(STACK).spawn(move || {
        // Nobody is there to tell: a client whose box does not answer finds its connection closed.
        let _ = connect(&client, target);
        drop(client);
        own.subtract();
    });
    if started.is_err() {
        count.subtract();
    }
}

/// One connection, until both directions have ended.
fn connect(client: &TcpStream, target: SocketAddrV4) -> io::Result<()> {
    client.set_nonblocking(false)?;
    let server = TcpStream::connect_timeout(&target.into(), PATIENCE)?;
    for end in [client, &server] {
        // What is small and complete is not to wait for more.
        end.set_nodelay(true)?;
        setsockopt(end, sockopt::TcpKeepIdle, &SILENCE)?;
        setsockopt(end, sockopt::TcpKeepInterval, &AGAIN)?;
        setsockopt(end, sockopt::KeepAlive, &true)?;
    }
    std::thread::scope(|scope| {
        let answers = || pour(&server, client);
        std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, answers)?;
        pour(client, &server);
        Ok(())
    })
}

/// One direction: all that comes, then its end. After a failure nothing is complete any more, and the other direction
/// ends too.
fn pour(from: &TcpStream, to: &TcpStream) {
    let poured = || -> std::result::Result<(), Errno> {
        let (outlet, inlet) = pipe2(OFlag::O_CLOEXEC)?;
        loop {
            if is_gone_before_more(from, to) {
                return Ok(());
            }
            let mut left = moved(from, &inlet, GULP)?;
            if left == 0 {
                return Ok(());
            }
            while left > 0 {
                left -= moved(&outlet, to, left)?;
            }
        }
    };
    match poured() {
        Ok(()) => drop(to.shutdown(Shutdown::Write)),
        Err(_) => {
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        }
    }
}

/// Waits for something to be moved; whether there is nobody any more for whom it would be. What he said last may still be
/// on its way in the other direction, which ends by itself.
fn is_gone_before_more(from: &TcpStream, to: &TcpStream) -> bool {
    let none = PollFlags::empty();
    let mut ends = [PollFd::new(from.as_fd(), PollFlags::POLLIN), PollFd::new(to.as_fd(), none)];
    // Interrupted, one looks again.
    let _ = poll(&mut ends, PollTimeout::NONE);
    let gone = PollFlags::POLLERR | PollFlags::POLLHUP;
    ends[1].revents().is_some_and(|found| found.intersects(gone))
}

fn moved(from: impl AsFd, to: impl AsFd, most: usize) -> std::result::Result<usize, Errno> {
    loop {
        match splice(from.as_fd(), None, to.as_fd(), None, most, SpliceFFlags::SPLICE_F_MOVE) {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::process::Command;

    use crate::sys;

    /// A proxy in a thread of ours, of a box that is no box but ends like one.
    fn proxied(serve: impl FnOnce(TcpStream) + Send + 'static) -> (SocketAddrV4, std::process::Child) {
        crowded(MOST, |server| serve(server.accept().expect("accept").0))
    }

    /// The same with so many places, and a server that listens itself.
    fn crowded(
        most: usize,
        serve: impl FnOnce(TcpListener) + Send + 'static,
    ) -> (SocketAddrV4, std::process::Child) {
        let listen = || TcpListener::bind("127.0.0.1:0").expect("listen");
        let at = |listener: &TcpListener| match listener.local_addr().expect("address") {
            std::net::SocketAddr::V4(address) => address,
            other => panic!("{other}"),
        };
        let (server, entrance) = (listen(), listen());
        entrance.set_nonblocking(true).expect("nonblocking");
        let (target, door) = (at(&server), at(&entrance));
        let the_box = Command::new("sleep").arg("100").spawn().expect("sleep");
        let pidfd = sys::pidfd_open(the_box.id() as i32).expect("pidfd");
        std::thread::spawn(move || accept(&pidfd, &[entrance], &[target], most));
        std::thread::spawn(move || serve(server));
        (door, the_box)
    }

    fn end(mut the_box: std::process::Child) {
        the_box.kill().expect("kill");
        the_box.wait().expect("wait");
    }

    #[test]
    fn a_server_that_has_said_all_still_hears_all() {
        let (heard, all) = std::sync::mpsc::channel();
        let (door, the_box) = proxied(move |mut client| {
            client.write_all(b"said first").expect("write");
            client.shutdown(Shutdown::Write).expect("shutdown");
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).expect("read");
            heard.send(rest).expect("send");
        });
        let mut client = TcpStream::connect(door).expect("connect");
        let mut said = String::new();
        client.read_to_string(&mut said).expect("the server's end is passed on");
        assert_eq!(said, "said first");
        let answer: Vec<u8> = (0..4 << 20).map(|number: u32| (number / 7) as u8).collect();
        client.write_all(&answer).expect("write");
        client.shutdown(Shutdown::Write).expect("shutdown");
        assert!(all.recv().expect("heard") == answer, "not what was said");
        end(the_box);
    }

    #[test]
    fn who_is_silent_is_asked_whether_he_is_there() {
        let (door, the_box) = proxied(|mut client| {
            client.write_all(b"here").expect("write");
            drop(client.read(&mut [0]));
        });
        let mut client = TcpStream::connect(door).expect("connect");
        client.read_exact(&mut [0; 4]).expect("both are connected");
        let table = std::fs::read_to_string("/proc/self/net/tcp").expect("tcp");
        // See proc_net_tcp.rst: the address here, the state, and a timer, of which kind 02 is this one.
        let here = format!(":{:04X}", door.port());
        let timers: Vec<&str> = table
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|field| field[1].ends_with(&here) && field[3] == "01")
            .map(|field| field[5])
            .collect();
        assert!(timers.len() == 1 && timers[0].starts_with("02:"), "{timers:?}");
        end(the_box);
    }

    /// A client that has been let in hears so; one that waits hears nothing, and is not turned away.
    fn is_served(client: &mut TcpStream, patience: Duration) -> bool {
        client.set_read_timeout(Some(patience)).expect("timeout");
        match client.read(&mut [0; 7]) {
            Ok(count) => count == 7,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(error) => panic!("{error}"),
        }
    }

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn there_are_as_many_places_as_descriptors_allow() {
        for (descriptors, listeners, all) in [
            (u64::MAX, 1, MOST),
            (6006, 1, MOST),
            (6005, 1, 999),
            (32, 1, 4),
            (32, 3, 2),
            (32, 20, 1),
            (6, 1, 1),
        ] {
            let places = places(descriptors, listeners);
            assert_eq!(places, all, "{descriptors} {listeners}");
            let open = OWN + listeners + EACH * (places - 1 + listeners);
            assert!(places == 1 || open as u64 <= descriptors, "{open} of {descriptors}");
        }
    }

    #[test]
    fn who_comes_when_all_places_are_taken_waits_until_one_is_free() {
        let (door, the_box) = crowded(2, |server| {
            for mut client in server.incoming().flatten() {
                client.write_all(b"welcome").expect("write");
                // Held as long as the client wants.
                std::thread::spawn(move || client.read(&mut [0]));
            }
        });
        let come = || TcpStream::connect(door).expect("connect");
        let mut inside = [come(), come()];
        assert!(inside.iter_mut().all(|client| is_served(client, SOON)));
        let mut others = [come(), come()];
        assert!(!others.iter_mut().any(|client| is_served(client, Duration::from_millis(200))));
        drop(inside);
        assert!(others.iter_mut().all(|client| is_served(client, SOON)));
        end(the_box);
    }

    #[test]
    fn a_server_that_has_gone_frees_the_place_of_a_client_that_is_silent() {
        use nix::sys::socket::sockopt::Linger;
        let (door, the_box) = crowded(1, |server| {
            for client in server.incoming().flatten() {
                (&client).write_all(b"welcome").expect("write");
                client.shutdown(Shutdown::Write).expect("shutdown");
                // What the kernel of a box answers to a question about a connection that nobody has any more.
                std::thread::sleep(Duration::from_millis(100));
                let reset = nix::libc::linger { l_onoff: 1, l_linger: 0 };
                setsockopt(&client, Linger, &reset).expect("linger");
            }
        });
        let mut clients = [TcpStream::connect(door), TcpStream::connect(door)].map(|it| it.expect("connect"));
        assert!(clients.iter_mut().all(|client| is_served(client, SOON)));
        end(the_box);
    }

    #[test]
    fn what_a_server_said_before_it_went_is_passed_on_though_it_has_not_heard_all() {
        let said = vec![7; 1 << 20];
        let (door, the_box) = proxied({
            let said = said.clone();
            move |mut client| {
                client.read_exact(&mut [0]).expect("read");
                client.write_all(&said).expect("write");
                // With a byte that it has not read its end is a reset.
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let mut client = TcpStream::connect(door).expect("connect");
        client.write_all(b"two").expect("write");
        let mut heard = Vec::new();
        let _ = client.read_to_end(&mut heard);
        assert!(heard == said, "{} bytes", heard.len());
        end(the_box);
    }

    #[test]
    fn after_the_boxs_end_nobody_is_let_in_any_more() {
        let (door, the_box) = proxied(drop);
        drop(TcpStream::connect(door).expect("connect"));
        end(the_box);
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(door).is_ok() {
            assert!(std::time::Instant::now() < deadline, "the proxy outlives its box");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
