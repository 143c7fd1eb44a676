//! Waiting until a box has been reached: until it has said its nonce over the network.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd};

use tare_reports::document::Failure;

use super::{Failed, Instance, Lab};
use crate::channel::Read;
use crate::clock::{self, Deadline};
use crate::network::{Bridge, Link};
use crate::spawner::protocol::{Event, Request};

/// How a box was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// From just before the first call for it until the host had read its nonce, ns.
    pub ns: u64,
    /// Who said it.
    pub peer: SocketAddr,
}

impl Lab {
    /// Has the spawner connect boxes to this bridge from now on.
    ///
    /// # Errors
    /// When it cannot.
    pub fn use_bridge(&mut self, bridge: &Bridge) -> Result<(), Failed> {
        let tag = self.next_tag();
        self.request(Request::UseBridge { tag }, &[bridge.namespace().as_raw_fd()])?;
        match self.answer(tag, Deadline::after(super::ANSWERS_WITHIN))? {
            Event::Done { .. } => {
                let listener = bridge.listener().try_clone();
                let failed = |e| Failed::new(Failure::Start, format!("take the bridge's listener: {e}"));
                self.listener = Some(listener.map_err(failed)?);
                Ok(())
            }
            _ => Err(Failed::new(Failure::Start, "the spawner gave another answer than done")),
        }
    }

    /// Waits until the box that was just started has said its nonce over the bridge. Inside the clock: before the
    /// lab turns to what else a start brings with it, such as the end of the client.
    ///
    /// The box connects by itself, once and without being asked: nothing is tried again.
    pub(super) fn reached(
        &mut self,
        instance: &mut Instance,
        link: &Link,
        deadline: Deadline,
    ) -> Result<Reached, Failed> {
        let (at_ns, said, peer) =
            self.nonce_from(instance, deadline).map_err(|failed| match failed.failure {
                Failure::Timeout => Failed::new(Failure::Timeout, "READY came, but nothing over the network"),
                _ => failed,
            })?;
        let wrong = |why: String| Err(Failed::new(Failure::WrongAnswer, why));
        if peer.ip() != link.address {
            return wrong(format!("{peer} connected, not the box at {}", link.address));
        }
        let expected = format!("{}\n", instance.start.nonce);
        if said != expected.as_bytes() {
            let said = String::from_utf8_lossy(&said);
            return wrong(format!("expected {expected:?} over the network, read {said:?}"));
        }
        Ok(Reached { ns: at_ns.saturating_sub(instance.moments.began), peer })
    }

    /// When the host had read the line, the line, and who sent it.
    fn nonce_from(
        &mut self,
        instance: &mut Instance,
        deadline: Deadline,
    ) -> Result<(u64, Vec<u8>, SocketAddr), Failed> {
        let listener = self.listener.as_ref().map(TcpListener::try_clone).transpose().ok().flatten();
        let listener = listener.ok_or_else(|| Failed::new(Failure::Start, "the lab knows of no bridge"))?;
        let broken = |e: std::io::Error| Failed::new(Failure::WrongAnswer, format!("the connection: {e}"));
        let (mut connection, peer) = loop {
            match listener.accept() {
                Ok(found) => break found,
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                    self.wait_beside(instance, &listener, deadline)?;
                }
                Err(e) => return Err(broken(e)),
            }
        };
        connection.set_nonblocking(true).map_err(broken)?;
        let mut said = Vec::new();
        loop {
            let mut piece = [0; 256];
            match connection.read(&mut piece) {
                Ok(0) => return Ok((clock::now_ns(), said, peer)),
                Ok(length) => said.extend_from_slice(&piece[..length]),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                    self.wait_beside(instance, &connection, deadline)?;
                }
                Err(e) => return Err(broken(e)),
            }
            if said.contains(&b'\n') || said.len() > 4096 {
                return Ok((clock::now_ns(), said, peer));
            }
        }
    }

    /// Waits for this descriptor. What the box says on its channel meanwhile is why nothing will come.
    fn wait_beside(
        &mut self,
        instance: &mut Instance,
        other: &impl AsFd,
        deadline: Deadline,
    ) -> Result<(), Failed> {
        let Some(channel) = instance.channel.as_mut() else {
            return Err(Failed::new(Failure::WrongAnswer, "a scripted box has no network"));
        };
        loop {
            if let Some(line) = channel.buffered() {
                return Err(Failed::new(Failure::WrongAnswer, format!("the box says {:?}", line.text)));
            }
            let woken = self.wait_for(&[other.as_fd(), channel.readable()], deadline)?;
            if woken.others[0] {
                return Ok(());
            }
            if woken.others[1] {
                match channel.read() {
                    Ok(Read::Line(line)) => {
                        return Err(Failed::new(
                            Failure::WrongAnswer,
                            format!("the box says {:?}", line.text),
                        ));
                    }
                    Ok(Read::Partial) => {}
                    Ok(Read::End) => {
                        return Err(Failed::new(Failure::Crash, "the box ended before it was reached"));
                    }
                    Err(e) => {
                        return Err(Failed::new(Failure::WrongAnswer, format!("read the channel: {e}")));
                    }
                }
            } else if woken.spawner {
                self.take_event()?;
            }
        }
    }
}
