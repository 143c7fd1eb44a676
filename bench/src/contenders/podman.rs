//! `podman`: the engine without a daemon: client, conmon, runc; detached, on inherited pipes (its passthrough log
//! driver). Always on storage, state and locks of our own, so nothing of the user's is touched.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::resource::{Resource, getrlimit};
use tare_reports::document::{Accel, Class};

use super::tool::tool;
use super::{
    CPUS, Contender, Description, Found, HOSTNAME, MEMORY, Missing, Needs, PIDS, Surroundings, Undo, Wiring,
    example, search_path, text, version_of,
};
use crate::engine::{self, archive, call, journal};
use crate::host::cgroups;
use crate::image::Image;
use crate::network::Link;
use crate::program::on_path;
use crate::site::{Site, Start};
use crate::spawner::protocol::Launch;

const NAME: &str = "podman";
const SETUP: &str = "./scripts/setup --peers (or apt-get install podman runc)";
/// What podman makes outside of the directories that it is told: a cache of what it imported, and state
/// directories of the runtimes that it asks for their versions.
const TRACES: [&str; 5] = [
    "/var/lib/containers/cache/blob-info-cache-v1.boltdb",
    "/var/lib/containers/cache",
    "/var/lib/containers",
    "/run/runc",
    "/run/crun",
];

/// See the file's head.
#[derive(Debug, Default)]
pub struct Podman {
    program: PathBuf,
    /// Whether the cgroup was asked for.
    prepared: bool,
}

impl Podman {
    fn words(&self, site: &Site, words: &[&str]) -> Vec<String> {
        let dir = engine::place(site, NAME);
        let at = |name: &str| text(&dir.join(name));
        let runtime = format!("root={}", at("runc"));
        let (graph, run, tmp) = (at("graph"), at("run"), at("tmp"));
        let storage = ["--root", &graph, "--runroot", &run, "--tmpdir", &tmp, "--storage-driver", "overlay"];
        // Without it podman keeps a mount of its own over its whole storage.
        let mounts = ["--storage-opt", "overlay.skip_mount_home=true"];
        let engine = ["--cgroup-manager", "cgroupfs", "--runtime", "runc", "--runtime-flag", &runtime];
        let mut argv = vec![text(&self.program)];
        let all = storage.iter().chain(&mounts).chain(&engine).chain(words);
        argv.extend(all.map(|word| (*word).to_owned()));
        argv
    }

    fn run(&self, site: &Site, start: &Start) -> Vec<String> {
        self.run_of(site, start, &image(site), &["/payload".to_owned(), start.nonce.clone()])
    }

    /// A box of this image, with this command.
    fn run_of(&self, site: &Site, start: &Start, image: &str, command: &[String]) -> Vec<String> {
        let (memory, pids, cpus) = (MEMORY.to_string(), PIDS.to_string(), CPUS.to_string());
        let seccomp = format!("seccomp={}", text(&engine::seccomp_file(&engine::place(site, NAME))));
        let cgroup = engine::cgroup(site, NAME);
        let conmon = text(&conmon(site, start));
        let (files, processes) =
            (limit("nofile", Resource::RLIMIT_NOFILE), limit("nproc", Resource::RLIMIT_NPROC));
        let mut argv = self.words(site, &["run", "--detach", "--pull", "never", "--name", &start.id]);
        let place = ["--log-driver", "passthrough", "--conmon-pidfile", &conmon, "--cgroup-parent", &cgroup];
        let limits = ["--memory", &memory, "--memory-swap", &memory, "--pids-limit", &pids, "--cpus", &cpus];
        let own = ["--ulimit", &files, "--ulimit", &processes];
        let confinement =
            ["--cap-drop", "MKNOD", "--security-opt", "no-new-privileges", "--security-opt", &seccomp];
        let rest = ["--network", "none", "--cgroupns", "private", "--hostname", HOSTNAME];
        let all = place.iter().chain(&limits).chain(&own).chain(&confinement).chain(&rest);
        argv.extend(all.map(|word| (*word).to_owned()));
        argv.push(image.to_owned());
        argv.extend_from_slice(command);
        argv
    }

    fn remove(&self, site: &Site, start: &Start, words: &[&str]) -> Vec<Undo> {
        let argv = self.words(site, &[words, &[&start.id]].concat());
        vec![
            Undo::CommandIn(argv, environment(site)),
            Undo::IdleCgroups(engine::cgroup(site, NAME)),
            Undo::Remove(site.instance(start)),
        ]
    }
}

impl Contender for Podman {
    fn description(&self) -> Description<'_> {
        Description {
            name: NAME,
            class: Class::Engine,
            about: "Podman, the engine without a daemon: client, conmon and runc; detached",
            inside_clock: &[
                "directory for conmon's process id",
                "pipes",
                "request to the spawner",
                "posix_spawn of podman",
                "podman run --detach: container created, overlay, cgroups, conmon, runc",
                "READY",
            ],
            channel: "inherited pipes (log driver passthrough)",
            ..Description::default()
        }
    }

    fn probe(&mut self, surroundings: &Surroundings) -> Result<Found, Missing> {
        let program = tool("TARE_PODMAN", NAME, SETUP)?;
        if !surroundings.root {
            return Err(Missing::root("podman with cgroup limits"));
        }
        for tool in ["conmon", "runc"] {
            if on_path(tool).is_none() {
                return Err(Missing::new(format!("podman needs {tool}, which is not on PATH"), SETUP));
            }
        }
        let version = version_of(&program, "--version")?;
        self.program = program;
        let not_expressed = vec![
            "devices and mounts: podman's own (/dev/shm, /dev/mqueue, files in /etc and /run)".into(),
            "cgroups: it leaves its empty ones behind; the lab removes them inside teardown's clock".into(),
            "environment: it adds HOSTNAME, HOME, TERM and container".into(),
            "masked and read-only paths: podman's own list".into(),
            "resource limits: our own for open files, 8,192 processes, where podman would ask for more"
                .into(),
        ];
        Ok(Found { version, accel: Accel::Native, not_expressed })
    }

    fn prepare(&mut self, site: &Site) -> Result<()> {
        let dir = engine::directory(site, NAME)?;
        engine::write_seccomp(&dir)?;
        // Its locks would lie in /dev/shm otherwise, shared with the user's own podman.
        std::fs::write(
            dir.join("containers.conf"),
            "[engine]\nlock_type = \"file\"\nevents_logger = \"none\"\n",
        )?;
        let file = dir.join("layer.tar");
        std::fs::write(&file, archive::layer(&site.rootfs())?).context("write the image's layer")?;
        journal::note_traces(site.dir(), &TRACES)?;
        self.prepared = true;
        let import = self.words(site, &["import", "--quiet", &text(&file), &image(site)]);
        call(&import, &environment(site)).context("import the image")?;
        Ok(())
    }

    fn launch(&mut self, site: &Site, start: &Start) -> Result<Launch> {
        launch(site, start, self.run(site, start))
    }

    fn takes_images(&self) -> Result<(), &'static str> {
        Ok(())
    }

    fn take_image(&mut self, site: &Site, image: &Image) -> Result<()> {
        let load = self.words(site, &["load", "--quiet", "--input", &text(&image.archive())]);
        call(&load, &environment(site)).map(drop)
    }

    fn launch_image(&mut self, site: &Site, start: &Start, image: &Image) -> Result<Launch> {
        // What names no registry is of this host.
        let name = format!("localhost/{}", image.tag);
        launch(site, start, self.run_of(site, start, &name, &image.argv(&start.nonce, &[])))
    }

    fn keeps_images(&self) -> Result<&'static [&'static str], &'static str> {
        Ok(&[])
    }

    fn keeps_in(&self, site: &Site, _: &Image) -> Vec<PathBuf> {
        // State that lies in memory elsewhere is a directory of the site here, and so weighed too.
        vec![engine::place(site, NAME)]
    }

    fn wiring(&self) -> Wiring {
        Wiring::Namespace
    }

    fn launch_linked(&mut self, site: &Site, start: &Start, link: &Link) -> Result<Launch> {
        let mut launch = self.launch(site, start)?;
        if let Launch::Command { argv, .. } = &mut launch {
            let place =
                argv.iter().position(|word| word == "none").context("podman is told of no network")?;
            argv[place] = format!("ns:{}", text(link.namespace()?));
            argv.push(link.connect());
        }
        Ok(launch)
    }

    fn command(&mut self, site: &Site) -> Vec<String> {
        self.run(site, &example())
    }

    /// conmon waits for the box, and ends with it.
    fn pid_file(&self, site: &Site, start: &Start) -> Option<PathBuf> {
        Some(conmon(site, start))
    }

    fn served_in(&self, site: &Site) -> Option<Result<String>> {
        Some(Ok(engine::cgroup(site, NAME)))
    }

    fn needs(&self) -> Needs {
        // The payload and conmon; the overlay, and a tmpfs for its /dev/shm.
        Needs { tasks: 3, mounts: 2, keys: 1, inotify: engine::watches(), ..Needs::of(Class::Engine) }
    }

    fn teardown(&self, site: &Site, start: &Start) -> Vec<Undo> {
        self.remove(site, start, &["rm"])
    }

    fn rescue(&self, site: &Site, start: &Start) -> Vec<Undo> {
        self.remove(site, start, &["rm", "--force", "--time", "0", "--ignore"])
    }

    fn leaves(&self, site: &Site, start: &Start) -> Vec<PathBuf> {
        let mut paths = engine::idle_cgroups(site, NAME);
        paths.push(site.instance(start));
        paths
    }

    fn finish(&mut self, site: &Site) -> Result<()> {
        if !std::mem::take(&mut self.prepared) {
            return Ok(());
        }
        cgroups::remove_tree(&engine::cgroup(site, NAME)).and(journal::clear_traces(site.dir()))
    }

    fn deadline(&self) -> Duration {
        Duration::from_secs(30)
    }
}

/// The directory of a box, and the command that starts it.
fn launch(site: &Site, start: &Start, argv: Vec<String>) -> Result<Launch> {
    let dir = site.instance(start);
    std::fs::create_dir(&dir).with_context(|| format!("make the directory {}", dir.display()))?;
    Ok(Launch::Command { argv, env: environment(site), overlay: None, dies_with_parent: false })
}

/// What podman runs with: the settings that have no flag, and nothing of the user's.
fn environment(site: &Site) -> Vec<(String, String)> {
    let dir = engine::place(site, NAME);
    let path = search_path();
    vec![
        ("PATH".into(), path.trim_start_matches("PATH=").into()),
        ("HOME".into(), text(&dir)),
        ("CONTAINERS_CONF".into(), text(&dir.join("containers.conf"))),
    ]
}

fn image(site: &Site) -> String {
    format!("localhost/{}", engine::image(site))
}

fn conmon(site: &Site, start: &Start) -> PathBuf {
    site.instance(start).join("conmon.pid")
}

/// A limit that may be set: without CAP_SYS_RESOURCE podman's own defaults are refused, and under podman 4.3 that
/// on processes already when it is near our own hard limit. The box has its pids limit beside it.
fn limit(name: &str, resource: Resource) -> String {
    let most = if resource == Resource::RLIMIT_NPROC { 8192 } else { 1 << 20 };
    let hard = getrlimit(resource).map_or(1024, |(_, hard)| hard).min(most);
    format!("{name}={hard}:{hard}")
}
