//! Taking a container away: its processes, its network, its cgroups, its directories, in this order.
//!
//! Killing the first process of a pid namespace makes the kernel kill all others in it. Its pidfd turns
//! readable when it has ended, so nobody has to poll. Namespaces and the mounts in them go with the last
//! process by themselves; that is why they are made inside. Without a pid namespace we would chase processes
//! that fork faster than we kill them.
//!
//! Man pages: pidfd_send_signal(2), pid_namespaces(7). Look at it: `tare-runtime delete --force box`

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::cgroup::{remove, remove_parent};
use crate::claim::{Claim, Claimed};
use crate::error::{Error, Result};
use crate::runtime::{Container, Runtime};
use crate::spec::{DEFAULT_CGROUP_PARENT, Id};
use crate::state::{Directory, Process, State, Status, check_root, observe};
use crate::{sys, unlink, wait};

/// How long a killed process may take to end; one that hangs in the kernel can take for ever.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often is looked whether a start still goes on: the end of a lock with a time limit is no event of the kernel's.
const AGAIN: Duration = Duration::from_millis(1);

impl Runtime {
    /// Removes a container. With `force` it is killed first, be it amid its start, and the rests of a start that was
    /// killed are removed too. A cgroup parent that the caller chose stays: see
    /// [`remove_parent`]; the default one goes with the last container in it.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Running`] without `force`; [`Error::Stuck`] if something will not go.
    pub fn delete(&self, id: &Id, force: bool) -> Result<()> {
        self.take_away(id, force, None)
    }

    /// Removes a container that was started by this process, in whatever state it is; and no other that has its name by now,
    /// since somebody has deleted it and made the next.
    ///
    /// # Errors
    /// [`Error::Stuck`] if something will not go.
    pub fn remove(&self, container: &Container) -> Result<()> {
        let Container { id, pid, started, .. } = container;
        self.take_away(id, true, Some(Process { pid: *pid, started: *started }))
    }

    /// `own`: only the one of which this is the first process.
    fn take_away(&self, id: &Id, force: bool, own: Option<Process>) -> Result<()> {
        check_root(self.root())?;
        let directory = Directory::new(self.root(), id);
        let Some(_claim) = self.claim(id, &directory, force, own)? else { return Ok(()) };
        let state = match self.load(id) {
            Ok(state) if own.is_some() && state.process != own => return Ok(()),
            Ok(state) => state,
            // The directory was made and nothing else.
            Err(Error::Running { .. }) if force => return remove_directory(&directory),
            Err(error) => return Err(error),
        };
        match (state.status(&directory), state.process) {
            (status @ (Status::Running | Status::Created), Some(process)) if !force => {
                return Err(Error::Running {
                    id: id.clone(),
                    what: format!("{status} as process {}", process.pid),
                });
            }
            (Status::Creating, _) if !force => return Err(being_created(id)),
            (Status::Running | Status::Created, Some(process)) => drop(kill(process)?),
            // A killed `create` may have left one that nobody knows by number.
            // Its cgroups are the surer way, where it has any: it may not have come to the gate.
            (Status::Creating, _) => {
                kill_all(&state)?;
                wait::dismiss(&directory)?;
            }
            _ => {}
        }
        if let Some(network) = &state.network {
            network.release(self.root(), id)?;
        }
        remove_cgroups(&state, force)?;
        remove_directory(&directory)
    }

    /// Waits until nobody else works on it. With `force` whatever a start has put into its cgroups by then is killed, so
    /// that it gives up. `None` if it is gone by then, or only one is meant that is gone (`own`).
    pub(crate) fn claim(
        &self,
        id: &Id,
        directory: &Directory,
        force: bool,
        own: Option<Process>,
    ) -> Result<Option<Claim>> {
        let began = Instant::now();
        let mut anothers = false;
        while began.elapsed() < PATIENCE {
            match Claim::of_old(directory)? {
                Claimed::Ours(claim) => return Ok(Some(claim)),
                Claimed::Gone if anothers || own.is_some() => return Ok(None),
                Claimed::Gone => return Err(self.not_found(id)),
                Claimed::Anothers => anothers = true,
            }
            match self.load(id) {
                Ok(state) if own.is_some() && state.process != own => {
                    if state.process.is_some() {
                        return Ok(None);
                    }
                    // It is being made, or taken away.
                }
                // What cannot be killed now is looked at again, or stands in the way when it is to be removed.
                Ok(state) if force => drop(kill_all(&state)),
                Ok(State { process: Some(_), .. }) | Err(Error::NotFound { .. }) => {}
                // It may be being written.
                Err(_) if force => {}
                Err(error) => return Err(error),
                Ok(_) => return Err(being_created(id)),
            }
            std::thread::sleep(AGAIN);
        }
        let why = "somebody starts or deletes it, and does not come to an end".into();
        Err(Error::Stuck { object: format!("container {id}"), seconds: PATIENCE.as_secs(), why })
    }
}

pub(crate) fn being_created(id: &Id) -> Error {
    Error::Running { id: id.clone(), what: "being created, or was killed while it was".into() }
}

/// Kills a process and waits for the event of its end. Returns a descriptor of it, unless it was gone already.
pub(crate) fn kill(Process { pid, started }: Process) -> Result<Option<OwnedFd>> {
    let object = || format!("process {pid}");
    let pidfd = match sys::pidfd_open(pid) {
        Err(Errno::ESRCH) => return Ok(None),
        other => other.map_err(|errno| Error::at("kill", object(), errno))?,
    };
    // Looked at again behind the descriptor, which holds on to whichever process it was opened for.
    if observe(pid).is_none_or(|(now, _)| now != started) {
        return Ok(None);
    }
    match sys::pidfd_signal(&pidfd, nix::libc::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(errno) => return Err(Error::at("kill", object(), errno)),
    }
    await_end(&pidfd, object)?;
    Ok(Some(pidfd))
}

/// Waits for the event of a process's end.
///
/// # Errors
/// [`Error::Stuck`].
pub(crate) fn await_end(pidfd: &OwnedFd, object: impl Fn() -> String) -> Result<()> {
    let timeout = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::NONE);
    loop {
        match poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) => {
                let why = "it does not end (see its wchan and stack in /proc)".into();
                return Err(Error::Stuck { object: object(), seconds: PATIENCE.as_secs(), why });
            }
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::at("kill", object(), errno)),
        }
    }
}

fn kill_all(state: &State) -> Result<()> {
    let one = |path: &std::path::PathBuf| {
        remove::kill_all(path).map_err(|e| Error::io("kill", path.display().to_string(), &e))
    };
    state.cgroups.iter().try_for_each(one)
}

fn remove_cgroups(state: &State, force: bool) -> Result<()> {
    if force {
        // Somebody may have put a process in from outside, or the start died between fork and exec.
        kill_all(state)?;
    }
    for path in &state.cgroups {
        if force {
            remove::tree(path)?;
        } else {
            remove::directory(path)?;
        }
    }
    // A parent that somebody chose is theirs, and stays; the default one is ours, and goes with the last box.
    let ours = Path::new(DEFAULT_CGROUP_PARENT).file_name();
    if state.cgroups.iter().any(|path| path.parent().is_some_and(|parent| parent.file_name() == ours)) {
        remove_parent(DEFAULT_CGROUP_PARENT);
    }
    Ok(())
}

/// Removes the overlay's layers, then the state: as long as that is there, `delete` can be repeated.
pub(crate) fn remove_directory(directory: &Directory) -> Result<()> {
    for path in [&directory.merged(), &directory.work(), &directory.upper(), directory.path()] {
        unlink::tree(path).map_err(|error| Error::io("state", path.display().to_string(), &error))?;
    }
    Ok(())
}
