//! The outer half of a start: what happens in the caller, before the fork and after it.
//!
//! Everything is written down before it is made, made before the fork where it can be, and taken back if
//! any step fails: a failed start leaves nothing. Without that every error would cost a cgroup
//! and a directory.
//!
//! Step: `prepare`.
//!
//! Man page: clone(2), "clone3". Look at it: `strace -f tare-runtime run -d --rootfs DIR box -- /bin/true`

use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use nix::errno::Errno;
use nix::sched::CloneFlags;

use crate::blueprint::{self, Blueprint, c_string};
use crate::cgroup::{self, Group, Layout, Version};
use crate::child::{Child, Plan};
use crate::claim::Claim;
use crate::container::{Act, RECIPE, Step};
use crate::error::{Error, Result};
use crate::marks::Readings;
use crate::mounts::What;
use crate::network::{Cable, Connection};
use crate::pool::Door;
use crate::report::{self, Outcome, Pipe};
use crate::runtime::{Container, Runtime, reap};
use crate::spec::User;
use crate::state::{self, Directory, Given, Process, State};
use crate::sys::{self, Forked, Memory};
use crate::{exec, idmap, ladder, namespaces, overlay, terminal, wait};

/// A start in the caller's process.
pub(crate) struct Start<'a> {
    runtime: &'a Runtime,
    blueprint: Rc<Blueprint>,
    stdio: [BorrowedFd<'a>; 3],
    /// Where the terminal's other end is sent, if the box has one.
    console: Option<BorrowedFd<'a>>,
    /// Whether to stop before the command, for `start` to go on.
    create: bool,
    /// Whether to stop right before the exec, for a command to come through a socket.
    stock: bool,
    config: Option<String>,
    directory: Directory,
    /// Held until the start has ended, well or not.
    claim: Option<Claim>,
    layout: &'a Layout,
    places: Vec<cgroup::Place>,
    group: Group,
    network: Option<Connection>,
    cable: Option<Cable>,
    /// At the published ports, until somebody takes them over.
    listeners: Vec<TcpListener>,
    plan: Option<Plan>,
    readings: Option<Rc<Readings>>,
}

impl<'a> Start<'a> {
    pub(crate) fn new(
        runtime: &'a Runtime,
        mut blueprint: Blueprint,
        stdio: [BorrowedFd<'a>; 3],
        console: Option<BorrowedFd<'a>>,
        create: bool,
    ) -> Self {
        let layout = runtime.layout();
        blueprint.namespaces.fresh = ladder::namespaces(blueprint.until, blueprint.namespaces.fresh);
        let counted = ladder::reaches(blueprint.until, "cgroup");
        let Blueprint { id, cgroup, mounts, .. } = &mut blueprint;
        let places = if counted { layout.places(&cgroup.path, &cgroup.limits) } else { Vec::new() };
        // In the other trees the box is where the caller is, and would see the host's cgroups.
        for mount in mounts {
            if let What::Cgroup { controllers } = &mut mount.what {
                controllers.retain(|names| has_own_cgroup(&places, &names.to_string_lossy()));
            }
        }
        Self {
            directory: Directory::new(runtime.root(), id),
            places,
            runtime,
            stdio,
            console,
            create,
            stock: false,
            config: None,
            claim: None,
            layout,
            group: Group::default(),
            network: None,
            cable: None,
            listeners: Vec::new(),
            plan: None,
            readings: blueprint.marks.then(|| Rc::new(Readings::new())),
            blueprint: Rc::new(blueprint),
        }
    }

    /// Keeps the bundle's configuration with the state, for `exec`.
    pub(crate) fn with_config(mut self, text: String) -> Self {
        self.config = Some(text);
        self
    }

    /// Runs the recipe. On failure everything that was made is taken back.
    pub(crate) fn run(mut self) -> Result<Container> {
        self.or_undo().map(|(container, _)| container)
    }

    /// Runs it up to the exec. Returns also the socket for the command, and the pipe of reports.
    pub(crate) fn stock(mut self) -> Result<(Container, OwnedFd, OwnedFd)> {
        self.stock = true;
        let (container, reports) = self.or_undo()?;
        let door = self.plan.take().and_then(|plan| plan.door);
        let door = door.ok_or_else(|| Error::at("prepare", "socket pair", Errno::EINVAL))?;
        Ok((container, door.into_outer(), reports))
    }

    fn or_undo(&mut self) -> Result<(Container, OwnedFd)> {
        let started = self.outer_half().and_then(|()| self.fork());
        if started.is_err() {
            self.undo();
        }
        started
    }

    fn outer_half(&mut self) -> Result<()> {
        let until = self.blueprint.until;
        for (index, step) in RECIPE.iter().enumerate() {
            if let Act::Before(act) = step.act
                && ladder::reaches(until, step.name)
            {
                act(self)?;
                self.readings.iter().for_each(|readings| readings.step(index));
            }
        }
        Ok(())
    }

    fn state(&self, process: Option<Process>) -> State {
        let blueprint::Process { env, cwd, user, .. } = &self.blueprint.process;
        let given = || Given {
            env: env.clone(),
            cwd: cwd.clone(),
            user: User { uid: user.uid, gid: user.gid, groups: user.groups.clone() },
        };
        State {
            id: self.blueprint.id.clone(),
            process,
            bundle: self.blueprint.bundle.clone(),
            image: self.blueprint.image.clone(),
            annotations: self.blueprint.annotations.clone(),
            args: self.blueprint.process.args.clone(),
            cgroups: self.places.iter().map(|place| place.directory.clone()).collect(),
            not_applied: self.group.not_applied.clone(),
            given: self.config.is_none().then(given),
            network: self.network.clone(),
        }
    }

    pub(crate) fn make_state(&mut self) -> Result<()> {
        state::check_root(self.runtime.root())?;
        self.claim = Some(Claim::of_new(&self.directory, self.runtime.root(), &self.blueprint.id)?);
        if self.blueprint.bridge.is_some() {
            self.network = Some(Connection::planned(self.runtime.root())?);
        }
        self.state(None).plan(&self.directory)?;
        if let Some(text) = &self.config {
            let path = self.directory.config();
            std::fs::write(&path, text).map_err(|e| Error::io("state", path.display().to_string(), &e))?;
        }
        self.directory.create_layers(&self.blueprint.root)
    }

    pub(crate) fn make_cgroup(&mut self) -> Result<()> {
        let Blueprint { cgroup, namespaces, .. } = &*self.blueprint;
        self.group.create(&self.places, cgroup, self.layout, namespaces.fresh)
    }

    pub(crate) fn make_network(&mut self) -> Result<()> {
        let Blueprint { id, bridge, .. } = &*self.blueprint;
        if let (Some(wanted), Some(network)) = (bridge, &mut self.network) {
            self.cable = Some(network.connect(self.runtime.root(), id, wanted)?);
        }
        Ok(())
    }

    pub(crate) fn publish(&mut self) -> Result<()> {
        if let (Some(wanted), Some(network)) = (&self.blueprint.bridge, &mut self.network) {
            self.listeners = network.publish(self.runtime.root(), wanted)?;
        }
        Ok(())
    }

    pub(crate) fn prepare(&mut self) -> Result<()> {
        let fault = |object: &str| {
            let object = object.to_owned();
            move |errno| Error::at("prepare", object.clone(), errno)
        };
        let blueprint = Rc::clone(&self.blueprint);
        let in_user_namespace = blueprint.namespaces.fresh.contains(CloneFlags::CLONE_NEWUSER);
        let root = overlay::prepare(&blueprint.root, &self.directory, in_user_namespace)
            .map_err(fault("overlay options"))?;
        let field = |name: &str, text: &Option<String>| {
            text.as_ref().map(|text| c_string(name, text.as_str())).transpose()
        };
        self.plan = Some(Plan {
            entry: self.group.take_entry(),
            joined: namespaces::open(&blueprint.namespaces.joined)?,
            idmap: idmap::prepare(&blueprint.namespaces).map_err(fault("pipe"))?,
            cable: self.cable.take(),
            hostname: field("hostname", &blueprint.hostname)?,
            domainname: field("domainname", &blueprint.domainname)?,
            cwd: c_string("cwd", std::os::unix::ffi::OsStrExt::as_bytes(blueprint.process.cwd.as_os_str()))?,
            exec: exec::prepare(&blueprint, &self.directory, self.stdio)
                .map_err(fault("command, environment and descriptors"))?,
            terminal: terminal::prepare(blueprint.process.terminal, self.console)?,
            door: if self.stock { Some(Door::make()?) } else { None },
            wait: if self.create { Some(wait::Gate::make(&self.directory)?) } else { None },
            readings: self.readings.clone(),
            root,
            blueprint,
        });
        Ok(())
    }

    fn fork(&mut self) -> Result<(Container, OwnedFd)> {
        let Some(plan) = self.plan.as_ref() else { return Err(Error::at("prepare", "plan", Errno::EINVAL)) };
        let Pipe { reader, writer } =
            report::pipe().map_err(|errno| Error::at("clone", "error pipe", errno))?;
        // Borrowed memory means that we sleep until the exec; who has to do something meanwhile needs a copy.
        let asleep = plan.wait.is_none()
            && plan.door.is_none()
            && !matches!(plan.idmap, Some(idmap::Plan::ByParent { .. }));
        let memory = if asleep { Memory::Borrowed } else { Memory::Copied };
        let namespaces = plan.blueprint.namespaces.fresh.difference(CloneFlags::CLONE_NEWCGROUP);
        let forked = sys::fork(namespaces, plan.entry.unified(), memory, || {
            plan.readings.iter().for_each(|readings| readings.cloned());
            sys::close_copy(reader.as_fd());
            self.claim.iter().for_each(|claim| sys::close_copy(claim.descriptor()));
            Child::new(plan, writer.as_fd()).run()
        });
        let Forked { pid, pidfd } =
            forked.map_err(|errno| Error::at("clone", "the new process with its namespaces", errno))?;
        drop(writer);
        let mapped = plan.idmap.as_ref().map_or(Ok(()), |idmap| idmap::write_for(pid, idmap));
        let set_up = mapped.and_then(|()| self.await_child(plan, &reader, &pidfd));
        let started = state::observe(pid).map_or(0, |(started, _)| started);
        let set_up = set_up.and_then(|()| {
            if let Some(network) = &mut self.network {
                let listeners = std::mem::take(&mut self.listeners);
                network.pass_on(self.runtime.program(), &self.blueprint.id, listeners, pidfd.as_fd())?;
            }
            self.state(Some(Process { pid, started })).publish(&self.directory)
        });
        if let Err(error) = set_up {
            // It may run already; undoing needs it gone.
            let _ = sys::pidfd_signal(&pidfd, nix::libc::SIGKILL);
            let _ = reap(&pidfd);
            return Err(error);
        }
        let (id, not_applied) = (self.blueprint.id.clone(), self.group.not_applied.clone());
        let cgroups = self.group.directories.clone();
        let marks = self.readings.as_ref().map_or_else(Vec::new, |readings| readings.marks());
        let container = Container { id, pid, started, pidfd, not_applied, cgroups, marks };
        Ok((container, reader))
    }

    fn await_child(&self, plan: &Plan, reader: &OwnedFd, pidfd: &OwnedFd) -> Result<()> {
        let received = if self.stock { report::receive_one(reader) } else { report::receive(reader) };
        let outcome = received.map_err(|errno| Error::at("clone", "error pipe", errno))?;
        match outcome {
            Outcome::Executed | Outcome::Waiting => Ok(()),
            Outcome::Silent => Err(Error::Died(reap(pidfd)?.to_string())),
            Outcome::Failed { step, fault } => Err(failure(step, fault, |object| object(plan, fault.object))),
        }
    }

    fn undo(&mut self) {
        // Closes the ways into the cgroups first.
        self.plan = None;
        self.listeners.clear();
        if let Some(network) = &self.network {
            // As below.
            let _ = network.release(self.runtime.root(), &self.blueprint.id);
        }
        self.group.undo();
        if self.claim.is_some() {
            // There is an error to report already; what is left is found by `delete --force`.
            let _ = crate::delete::remove_directory(&self.directory);
        }
    }
}

/// Whether a box at these places has a cgroup of its own in the version 1 tree of these controllers.
fn has_own_cgroup(places: &[cgroup::Place], tree: &str) -> bool {
    let mut own = places.iter().filter(|place| place.version == Version::V1);
    own.any(|place| place.controllers.iter().any(|own| tree.split(',').any(|name| name == own.name())))
}

/// The error that a child's few bytes stand for; `words` asks the step for the object's name.
pub(crate) fn failure(
    step: u16,
    fault: report::Fault,
    words: impl FnOnce(fn(&Plan, u16) -> String) -> String,
) -> Error {
    match RECIPE.get(usize::from(step)) {
        Some(Step { name, act: Act::Inside(_, object), .. }) => Error::at(name, words(*object), fault.errno),
        _ => Error::Died(format!("it spoke of step {step}")),
    }
}
