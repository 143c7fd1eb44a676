//! The inner half of a start: the new process between fork and exec, and what it was given.
//!
//! It runs the recipe's inner steps in what may be a copy of one thread of a program that had many, or its
//! parent's own memory. So nothing is made up here: strings, lists and descriptors were prepared in [`Plan`],
//! and a step takes what it needs from there. Without this care a lock that another thread held would stop
//! the box before it began.
//!
//! Man page: signal-safety(7) tells what is safe in this place. Look at it:
//! `strace -f tare-runtime run -d --rootfs DIR box -- /bin/true`, everything that the second process does

use std::ffi::CString;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;

use nix::errno::Errno;
use nix::sched::CloneFlags;

use crate::blueprint::{Blueprint, RootKind};
use crate::container::{Act, RECIPE};
use crate::marks::Readings;
use crate::mounts::{NO_SOURCES, Sources};
use crate::network::Cable;
use crate::pool::Door;
use crate::report::Fault;
use crate::{
    by_path, cgroup, exec, idmap, ladder, mounts, overlay, report, rootfs, seccomp, sys, terminal, wait,
};

/// All that the new process needs, built before the fork.
pub(crate) struct Plan {
    pub(crate) blueprint: Rc<Blueprint>,
    pub(crate) entry: cgroup::Entry,
    pub(crate) joined: Vec<(CloneFlags, OwnedFd)>,
    pub(crate) idmap: Option<idmap::Plan>,
    pub(crate) cable: Option<Cable>,
    pub(crate) root: overlay::Plan,
    pub(crate) hostname: Option<CString>,
    pub(crate) domainname: Option<CString>,
    pub(crate) cwd: CString,
    pub(crate) exec: exec::Plan,
    pub(crate) terminal: Option<terminal::Plan>,
    pub(crate) wait: Option<wait::Gate>,
    pub(crate) door: Option<Door>,
    pub(crate) readings: Option<Rc<Readings>>,
}

impl Plan {
    /// Nodes cannot be made and overlays keep other notes there.
    pub(crate) fn in_user_namespace(&self) -> bool {
        self.blueprint.namespaces.fresh.contains(CloneFlags::CLONE_NEWUSER)
    }

    /// A map without a helper's right costs the right to change groups.
    pub(crate) fn groups_denied(&self) -> bool {
        matches!(self.idmap, Some(idmap::Plan::Own { .. }))
    }
}

/// The new process between fork and exec.
pub(crate) struct Child<'a> {
    pub(crate) plan: &'a Plan,
    writer: BorrowedFd<'a>,
    old_root: Option<OwnedFd>,
    pub(crate) sources: Sources,
}

impl<'a> Child<'a> {
    pub(crate) fn new(plan: &'a Plan, writer: BorrowedFd<'a>) -> Self {
        Self { plan, writer, old_root: None, sources: NO_SOURCES }
    }

    pub(crate) fn pivot(&mut self) -> Result<(), Fault> {
        let merged = self.plan.root.mount_point();
        let ours_alone = self.plan.blueprint.ours_alone;
        self.old_root = Some(if ours_alone { rootfs::pivot(merged) } else { rootfs::enter(merged) }?);
        match self.plan.idmap {
            // From here on files are made, and they are to be the box's root's. Before, its root could not
            // even reach the bundle.
            Some(idmap::Plan::ByParent { .. }) => sys::become_user(0, 0).map_err(Fault::of(1)),
            _ => Ok(()),
        }
    }

    pub(crate) fn old_root(&self) -> Result<&OwnedFd, Fault> {
        self.old_root.as_ref().ok_or(Fault { object: 0, errno: Errno::EBADF })
    }

    pub(crate) fn mask(&mut self) -> Result<(), Fault> {
        let Blueprint { masked, ours_alone, .. } = &*self.plan.blueprint;
        if *ours_alone { by_path::cover(masked) } else { mounts::cover(masked) }
    }

    pub(crate) fn connect(&self) -> Result<(), Fault> {
        self.plan.cable.as_ref().map_or(Ok(()), Cable::connect)
    }

    pub(crate) fn volumes(&mut self) -> Result<(), Fault> {
        // On the ladder below "pivot" there is no root to mount them in.
        if !ladder::reaches(self.plan.blueprint.until, "pivot") {
            return Ok(());
        }
        mounts::volumes(&self.plan.blueprint.mounts, &self.sources)?;
        self.sources = NO_SOURCES;
        Ok(())
    }

    pub(crate) fn freeze(&mut self) -> Result<(), Fault> {
        let Blueprint { read_only, ours_alone, .. } = &*self.plan.blueprint;
        if *ours_alone { by_path::freeze(read_only) } else { mounts::freeze(read_only) }?;
        match self.plan.blueprint.root.kind {
            RootKind::Direct { read_only: true } => mounts::freeze_root(),
            _ => Ok(()),
        }
    }

    pub(crate) fn detach(&mut self) -> Result<(), Fault> {
        if !self.plan.blueprint.ours_alone {
            rootfs::swap(self.old_root()?)?;
        }
        rootfs::detach(self.old_root()?)?;
        self.old_root = None;
        Ok(())
    }

    /// Only now that nothing of the host is in sight, and still as root: an image's links lead where they like.
    pub(crate) fn directories(&self) -> Result<(), Fault> {
        let Blueprint { directories, until, .. } = &*self.plan.blueprint;
        if !ladder::reaches(*until, "detach") {
            return Ok(());
        }
        directories
            .iter()
            .enumerate()
            .try_for_each(|(index, path)| rootfs::directory(path).map_err(Fault::of(index)))
    }

    /// Tells `create` that all is ready; from here on `start` is the one who listens.
    pub(crate) fn wait_for_start(&mut self) -> Result<(), Fault> {
        let Some(gate) = &self.plan.wait else { return Ok(()) };
        // It may wait for long, and somebody may `exec` into the box meanwhile.
        sys::hide_from_tracers().map_err(Fault::of(0))?;
        report::send(self.writer, report::Message::Waiting).map_err(Fault::of(0))?;
        sys::close_copy(self.writer);
        self.writer = gate.report();
        gate.wait().map_err(Fault::of(0))
    }

    /// On the ladder below "pivot" the box's root and what is lent to it are still open here.
    pub(crate) fn close_others(&mut self) -> Result<(), Fault> {
        self.sources = NO_SOURCES;
        self.old_root = None;
        let command = self.plan.door.as_ref().map_or(self.writer, Door::inner);
        exec::close_others(self.plan.blueprint.process.user.umask, &[self.writer, command])
    }

    /// Installs the filter as late as can be: after no-new-privileges where that is asked for, else as long
    /// as we have CAP_SYS_ADMIN. The filter must then let the rest of the recipe through, as with runc.
    pub(crate) fn filter(&mut self, last: bool) -> Result<(), Fault> {
        match self.plan.blueprint.process.no_new_privileges == last {
            true => seccomp::install(&self.plan.blueprint.filter),
            false => Ok(()),
        }
    }

    pub(crate) fn exec(&mut self) -> Result<(), Fault> {
        if let Some(door) = &self.plan.door {
            return Err(door.wait(self.writer, &self.plan.exec));
        }
        report::send(self.writer, report::Message::AboutToExec).map_err(Fault::of(0))?;
        Err(exec::run(&self.plan.exec))
    }

    /// Runs the inner half of the recipe; comes back, with the status to end with, only if a step failed.
    /// Nothing here allocates: a step is a function pointer in constant memory, a fault is two numbers.
    pub(crate) fn run(mut self) -> i32 {
        for (index, step) in RECIPE.iter().enumerate() {
            let Act::Inside(act, _) = step.act else { continue };
            if !ladder::reaches(self.plan.blueprint.until, step.name) {
                continue;
            }
            if let Err(fault) = act(&mut self) {
                // If the parent is gone there is nobody left to tell.
                let _ = report::send(self.writer, report::Message::Failed { step: index as u16, fault });
                break;
            }
            self.plan.readings.iter().for_each(|readings| readings.step(index));
        }
        1
    }
}
