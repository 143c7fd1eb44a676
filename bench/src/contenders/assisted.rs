//! What the tools have in common that make a box but not the whole of it: they mount no overlay and make no
//! cgroup, so the lab does that for them, inside the clock, and starts them in the cgroups. They stay in front
//! of their box until it ends.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use anyhow::Result;
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, chdir, chroot, dup2_stderr, dup2_stdin, dup2_stdout, write};
use tare_reports::document::Accel;
use tare_runtime::sys::bpf::attach_device_program;
use tare_runtime::sys::{CStringArray, Forked, Memory, close_on_exec_from, execve, fork, reset_signals};

use super::ground::{Cgroups, Ground, make_cgroups};
use super::tool::tool;
use super::{Found, Missing, Surroundings, Undo, search_path, text, version_of};
use crate::network::Link;
use crate::site::{Site, Start};
use crate::spawner::protocol::{Assisted, FloorCgroup, Launch, Made, Overlay};

/// Such a tool, found.
#[derive(Debug)]
pub(super) struct Tool {
    /// The program; its name as long as it has not been found.
    program: PathBuf,
    /// What its environment holds beside the search path, `NAME=value`.
    env: &'static [&'static str],
    ground: Ground,
}

impl Tool {
    pub(super) fn new(name: &str, env: &'static [&'static str]) -> Self {
        Self { program: name.into(), env, ground: Ground::default() }
    }

    /// Looks for it. `fix` is the command that installs it.
    pub(super) fn probe(
        &mut self,
        (variable, name, fix): (&str, &str, &str),
        surroundings: &Surroundings,
        not_expressed: &[&str],
    ) -> Result<Found, Missing> {
        let program = tool(variable, name, fix)?;
        if !surroundings.root {
            return Err(Missing::root(&format!("{name} in cgroups with limits, on an overlay")));
        }
        self.ground = Ground::find(&["memory", "pids", "cpu", "devices"], surroundings)?;
        let version = version_of(&program, "--version")?;
        self.program = program;
        let not_expressed = not_expressed.iter().map(|line| (*line).to_owned()).collect();
        Ok(Found { version, accel: Accel::Native, not_expressed })
    }

    /// For a tool that makes cgroups where systemd has its own: they are to be below ours.
    pub(super) fn makes_named_cgroups(&mut self) {
        self.ground.add_named_trees();
    }

    pub(super) fn prepare(&self, site: &Site) -> Result<()> {
        self.ground.prepare(site)
    }

    /// The whole command line; the box's root is `merged` of the instance.
    pub(super) fn argv(&self, options: Vec<String>, start: &Start) -> Vec<String> {
        let mut argv = vec![text(&self.program)];
        argv.extend(options);
        argv.extend(["/payload".into(), start.nonce.clone()]);
        argv
    }

    pub(super) fn launch(
        &self,
        site: &Site,
        start: &Start,
        argv: Vec<String>,
        file: Option<PathBuf>,
    ) -> Result<Launch> {
        let dir = site.instance(start);
        std::fs::create_dir(&dir)?;
        Ok(Launch::Assisted(Assisted {
            argv,
            env: std::iter::once(search_path()).chain(self.env.iter().map(|it| (*it).to_owned())).collect(),
            overlay: Overlay { lower: site.rootfs(), dir },
            cgroups: self.ground.cgroups_of(site, start),
            file,
            network: None,
            root: None,
        }))
    }

    /// A launch by `launch`, of a tool that is started in the box's network namespace, for it cannot join one.
    pub(super) fn linked(launch: Launch, link: &Link) -> Result<Launch> {
        let Launch::Assisted(mut tool) = launch else { return Ok(launch) };
        tool.network = Some(link.namespace()?.clone());
        Ok(Launch::Assisted(tool))
    }

    /// What the lab did for it, undone.
    pub(super) fn undo(&self, site: &Site, start: &Start) -> Vec<Undo> {
        vec![
            Undo::Made(Made::Cgroups(self.ground.cgroups_of(site, start))),
            Undo::Unmount(merged(site, start)),
            Undo::Remove(site.instance(start)),
        ]
    }

    /// What must be gone after an instance.
    pub(super) fn leaves(&self, site: &Site, start: &Start) -> Vec<PathBuf> {
        let mut paths = site.cgroups_of(start);
        paths.push(site.instance(start));
        paths
    }
}

/// The root of a box.
pub(super) fn merged(site: &Site, start: &Start) -> PathBuf {
    site.instance(start).join("merged")
}

/// What the child needs, built before the fork: afterwards nothing may allocate.
struct Prepared {
    cgroups: Cgroups,
    program: CString,
    argv: CStringArray,
    env: CStringArray,
    file: Option<File>,
    network: Option<File>,
    root: Option<(CString, CString)>,
}

/// Starts the tool; returns its process id. Runs in the spawner. The overlay is there already.
pub(crate) fn start(tool: &Assisted, stdio: [BorrowedFd; 3]) -> Result<u32, String> {
    let prepared = prepare(tool)?;
    let birthplace = prepared.cgroups.birthplace.as_ref().map(AsFd::as_fd);
    // The child works in our memory until its exec, so it leaves its fault here.
    let mut fault = None;
    let forked = fork(CloneFlags::empty(), birthplace, Memory::Borrowed, || {
        let Err(failed) = become_tool(&prepared, stdio);
        fault = Some(failed);
        127
    });
    let Forked { pid, .. } = forked.map_err(|e| format!("clone3: {e}"))?;
    let Some((step, errno)) = fault else { return Ok(pid as u32) };
    let _ = waitpid(Pid::from_raw(pid), None);
    Err(format!("{step} {}: {errno}", tool.argv[0]))
}

fn prepare(tool: &Assisted) -> Result<Prepared, String> {
    let cgroups = make_cgroups(&tool.cgroups)?;
    lock_devices(&cgroups, &tool.cgroups)?;
    let string = |word: &String| {
        CString::new(word.as_str()).map_err(|e| format!("an argument of {}: {e}", tool.argv[0]))
    };
    let strings = |words: &[String]| -> Result<CStringArray, String> {
        Ok(CStringArray::new(words.iter().map(string).collect::<Result<Vec<_>, _>>()?))
    };
    let path = |path: &PathBuf| string(&path.to_string_lossy().into_owned());
    let open = |path: &PathBuf| File::open(path).map_err(|e| format!("open {}: {e}", path.display()));
    Ok(Prepared {
        cgroups,
        program: string(&tool.argv[0])?,
        argv: strings(&tool.argv)?,
        env: strings(&tool.env)?,
        file: tool.file.as_ref().map(open).transpose()?,
        network: tool.network.as_ref().map(open).transpose()?,
        root: match &tool.root {
            Some(root) => Some((path(&root.dir)?, path(&root.cwd)?)),
            None => None,
        },
    })
}

/// Where no controller decides about devices, a program does (cgroup v2).
fn lock_devices(made: &Cgroups, wanted: &[FloorCgroup]) -> Result<(), String> {
    let Some(cgroup) = &made.birthplace else { return Ok(()) };
    if wanted.iter().any(|cgroup| cgroup.devices) {
        return Ok(());
    }
    tare_runtime::load_device_program()
        .and_then(|program| attach_device_program(program.as_fd(), cgroup.as_fd()))
        .map_err(|e| format!("attach the program that decides about devices: {e}"))
}

/// The child's part; comes back only with a fault.
fn become_tool(
    p: &Prepared,
    [input, output, error]: [BorrowedFd; 3],
) -> Result<Infallible, (&'static str, Errno)> {
    let at = |step: &'static str| move |errno| (step, errno);
    for tasks in p.cgroups.members.iter().chain(&p.cgroups.devices) {
        write(tasks, b"0").map_err(at("join a cgroup for"))?;
    }
    if let Some(network) = &p.network {
        setns(network, CloneFlags::CLONE_NEWNET).map_err(at("join the network namespace for"))?;
    }
    reset_signals().map_err(at("reset signals for"))?;
    dup2_stdin(input).map_err(at("put in place descriptor 0 of"))?;
    dup2_stdout(output).map_err(at("put in place descriptor 1 of"))?;
    dup2_stderr(error).map_err(at("put in place descriptor 2 of"))?;
    close_on_exec_from(Assisted::FILE as u32).map_err(at("close descriptors for"))?;
    if let Some(file) = &p.file {
        crate::sys::pass_on(file.as_fd(), Assisted::FILE).map_err(at("put in place descriptor 3 of"))?;
    }
    if let Some((root, cwd)) = &p.root {
        chroot(root.as_c_str()).map_err(at("make the image the root of"))?;
        chdir(cwd.as_c_str()).map_err(at("enter the working directory of"))?;
    }
    Err(("execute", execve(&p.program, &p.argv, &p.env)))
}
