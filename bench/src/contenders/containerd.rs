//! `containerd`: the engine below Docker and Kubernetes, called by its own client `ctr`: snapshot, shim, runc.
//!
//! One that runs already is used through its socket, in a containerd namespace of our own. Where none runs, root
//! starts a private one, see [`daemon`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tare_reports::document::{Accel, Class};

use super::tool::tool;
use super::{
    CPUS, Contender, Description, Found, HOSTNAME, MEMORY, Missing, Needs, Surroundings, Undo, Wiring,
    example, needs, text, version_of,
};
use crate::engine::daemon::{self, Daemon};
use crate::engine::journal::{self, Entry};
use crate::engine::{self, archive, call};
use crate::host::cgroups;
use crate::image::Image;
use crate::network::Link;
use crate::program::on_path;
use crate::site::{Site, Start};
use crate::spawner::protocol::Launch;

const NAME: &str = "containerd";
const SOCKET: &str = "/run/containerd/containerd.sock";

/// See the file's head.
#[derive(Debug, Default)]
pub struct Containerd {
    client: PathBuf,
    /// The socket of an engine that runs already.
    running: Option<String>,
    /// The program of a private one.
    server: Option<PathBuf>,
    daemon: Option<Daemon>,
    /// What was made in an engine that is not ours.
    made: Option<Entry>,
}

impl Containerd {
    /// The client with the words that say which engine, and which namespace of containerd's.
    fn words(&self, site: &Site, words: &[&str]) -> Vec<String> {
        let private = || text(&engine::place(site, NAME).join("containerd.sock"));
        let socket = self.running.clone().unwrap_or_else(private);
        let mut argv = client(&self.client, &socket);
        argv.extend(["--namespace".into(), namespace(site)]);
        argv.extend(words.iter().map(|word| (*word).to_owned()));
        argv
    }

    fn run(&self, site: &Site, start: &Start) -> Vec<String> {
        self.run_of(site, start, &image(site), &["/payload".to_owned(), start.nonce.clone(), own_word()])
    }

    /// A box of this image, with this command.
    fn run_of(&self, site: &Site, start: &Start, image: &str, command: &[String]) -> Vec<String> {
        let (memory, cpus) = (MEMORY.to_string(), CPUS.to_string());
        let seccomp = text(&engine::seccomp_file(&engine::place(site, NAME)));
        let cgroup = cgroup(site, start);
        let pid_file = text(&pid_file(site, start));
        let fifos = text(&engine::fifos(site, start));
        let mount = format!("type=bind,src={fifos},dst={},options=rbind:rw", engine::CHANNEL);
        let mut argv = self.words(site, &["run", "--detach", "--null-io", "--pid-file", &pid_file]);
        let limits = ["--memory-limit", &memory, "--cpus", &cpus, "--cgroup", &cgroup];
        let confinement = ["--cap-drop", "CAP_MKNOD", "--seccomp", "--seccomp-profile", &seccomp];
        let rest = ["--mount", &mount, image, &start.id];
        argv.extend(limits.iter().chain(&confinement).chain(&rest).map(|word| (*word).to_owned()));
        argv.extend_from_slice(command);
        argv
    }

    fn start_daemon(&self, site: &Site, server: &Path) -> Result<Daemon> {
        let dir = engine::place(site, NAME);
        let at = |name: &str| text(&dir.join(name));
        // Kubernetes' part is left out: nobody asks it here, and it wants a network configuration.
        let config = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = {:?}\n[plugins.\"io.containerd.internal.v1.opt\"]\npath = {:?}\n",
            at("root"),
            at("state"),
            at("containerd.sock"),
            at("opt")
        );
        std::fs::write(dir.join("config.toml"), config)?;
        let argv = [text(server), "--config".into(), at("config.toml")];
        let version = self.words(site, &["version"]);
        let daemon = Daemon::start(&argv, &engine::cgroup(site, NAME), &dir.join("daemon.log"), || {
            call(&version, &[]).is_ok()
        })?;
        std::fs::write(dir.join("containerd.pid"), daemon.pid().to_string())?;
        Ok(daemon)
    }
}

impl Contender for Containerd {
    fn description(&self) -> Description<'_> {
        Description {
            name: NAME,
            class: Class::Engine,
            about: "containerd with its own client ctr: snapshot, shim and runc; detached",
            inside_clock: &[
                "FIFOs",
                "request to the spawner",
                "posix_spawn of ctr",
                "ctr run --detach: container and snapshot made, shim, overlay, cgroup, runc",
                "READY",
            ],
            channel: "FIFOs in a bind-mounted directory",
            ..Description::default()
        }
    }

    fn probe(&mut self, surroundings: &Surroundings) -> Result<Found, Missing> {
        let setup = "./scripts/setup --peers (or apt-get install containerd runc)";
        let program = tool("TARE_CTR", "ctr", setup)?;
        let version = version_of(&program, "--version")?;
        self.client = program;
        if !surroundings.root {
            return Err(Missing::root("ctr, which prepares mounts and talks to root's socket,"));
        }
        let mut not_expressed: Vec<String> = vec![
            "pids limit: ctr has no flag for it".into(),
            format!("host name {HOSTNAME}: ctr has no flag for it"),
            "swap: ctr has no flag for its limit".into(),
            "devices, mounts, masked and read-only paths: containerd's own, and /channel".into(),
        ];
        if Path::new(SOCKET).exists() {
            let mut ask = client(&self.client, SOCKET);
            ask.push("version".into());
            // A socket that nobody serves: a private engine takes another one.
            if call(&ask, &[]).is_ok() {
                self.running = Some(SOCKET.into());
                not_expressed.push("CPU time of the engine: it is in no cgroup of ours".into());
                let version = format!("{version}; engine at {SOCKET}, which ran already");
                return Ok(Found { version, accel: Accel::Native, not_expressed });
            }
        }
        let server = on_path(NAME)
            .ok_or_else(|| Missing::new("no containerd runs, and containerd is not on PATH", setup))?;
        let version = format!("{version}; private engine: {}", version_of(&server, "--version")?);
        self.server = Some(server);
        Ok(Found { version, accel: Accel::Native, not_expressed })
    }

    fn prepare(&mut self, site: &Site) -> Result<()> {
        let dir = engine::directory(site, NAME)?;
        engine::write_seccomp(&dir)?;
        let file = dir.join("image.tar");
        let image = image(site);
        let archive = archive::image(&archive::layer(&site.rootfs())?, &image)?;
        std::fs::write(&file, archive).context("write the image")?;
        if self.running.is_some() {
            let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
            let entry = Entry {
                client: self.words(site, &[]),
                list: words(&["containers", "ls", "--quiet"]),
                // The whole namespace is ours.
                prefix: String::new(),
                remove: vec![words(&["tasks", "rm", "--force"]), words(&["containers", "rm"])],
                rest: vec![
                    words(&["images", "rm", "--sync", &image]),
                    words(&["namespaces", "rm", &namespace(site)]),
                ],
            };
            let traces = traces(site);
            journal::note_traces(site.dir(), &traces.each_ref().map(String::as_str))?;
            journal::note(site.dir(), &entry)?;
            self.made = Some(entry);
        } else if let Some(server) = &self.server {
            self.daemon = Some(self.start_daemon(site, server)?);
        }
        call(&self.words(site, &["images", "import", &text(&file)]), &[]).context("import the image")?;
        Ok(())
    }

    fn launch(&mut self, site: &Site, start: &Start) -> Result<Launch> {
        engine::make_box_directory(site, start)?;
        Ok(launch(self.run(site, start)))
    }

    fn takes_images(&self) -> Result<(), &'static str> {
        match self.running {
            None => Ok(()),
            Some(_) => Err("an engine that ran already is given no more images of ours than it needs"),
        }
    }

    fn take_image(&mut self, site: &Site, image: &Image) -> Result<()> {
        call(&self.words(site, &["images", "import", &text(&image.archive())]), &[]).map(drop)
    }

    fn launch_image(&mut self, site: &Site, start: &Start, image: &Image) -> Result<Launch> {
        engine::make_box_directory(site, start)?;
        // So it calls what names no registry.
        let name = format!("docker.io/{}", image.tag);
        Ok(launch(self.run_of(site, start, &name, &image.argv(&start.nonce, &[own_word()]))))
    }

    fn keeps_images(&self) -> Result<&'static [&'static str], &'static str> {
        self.takes_images().map(|()| &[][..])
    }

    fn keeps_in(&self, site: &Site, _: &Image) -> Vec<PathBuf> {
        vec![engine::place(site, NAME).join("root")]
    }

    fn wiring(&self) -> Wiring {
        Wiring::Namespace
    }

    fn launch_linked(&mut self, site: &Site, start: &Start, link: &Link) -> Result<Launch> {
        let mut launch = self.launch(site, start)?;
        if let Launch::Command { argv, .. } = &mut launch {
            let run = argv.iter().position(|word| word == "run").context("the command line runs nothing")?;
            // The daemon's shim opens it, in the daemon's mount namespace.
            let namespace = format!("network:{}", link.namespace_from_afar()?);
            argv.splice(run + 1..run + 1, ["--with-ns".to_owned(), namespace]);
            argv.push(link.connect());
        }
        Ok(launch)
    }

    fn command(&mut self, site: &Site) -> Vec<String> {
        self.run(site, &example())
    }

    fn fifos(&self, site: &Site, start: &Start) -> Option<PathBuf> {
        Some(engine::fifos(site, start))
    }

    fn is_served(&self) -> bool {
        true
    }

    fn served_process(&self, site: &Site, start: &Start) -> Result<u32> {
        let file = pid_file(site, start);
        let said = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        said.trim().parse().with_context(|| format!("no process id in {}: {said:?}", file.display()))
    }

    fn helpers_cpu(&self, site: &Site) -> Option<Result<u64>> {
        Some(self.served_in(site)?.and_then(|cgroup| daemon::cpu_ns(&cgroup)))
    }

    fn served_in(&self, site: &Site) -> Option<Result<String>> {
        Some(match self.running {
            Some(_) => Err(anyhow::anyhow!("an engine that ran already is in no cgroup of the lab")),
            None => Ok(engine::cgroup(site, NAME)),
        })
    }

    fn needs(&self) -> Needs {
        // `ctr` asks for a cgroup namespace on cgroup v2 only.
        let unified = crate::host::cgroups::mode() == "v2";
        let namespaces = if unified { needs::CONTAINER } else { &["ipc", "mnt", "net", "pid", "uts"] };
        let watches = engine::watches();
        Needs { tasks: 16, namespaces, mounts: 1, keys: 1, inotify: watches, ..Needs::of(Class::Engine) }
    }

    fn teardown(&self, site: &Site, start: &Start) -> Vec<Undo> {
        vec![
            Undo::Command(self.words(site, &["tasks", "rm", "--force", &start.id])),
            Undo::Command(self.words(site, &["containers", "rm", &start.id])),
            Undo::Remove(site.instance(start)),
        ]
    }

    fn rescue(&self, site: &Site, start: &Start) -> Vec<Undo> {
        // A task that is removed while its shim goes down can leave its cgroups.
        self.teardown(site, start).into_iter().chain([Undo::IdleCgroups(cgroup(site, start))]).collect()
    }

    fn leaves(&self, site: &Site, start: &Start) -> Vec<PathBuf> {
        let mut paths = cgroups::below(&cgroup(site, start));
        paths.push(site.instance(start));
        paths
    }

    fn revive(&mut self, site: &Site) -> Result<bool> {
        let Some(server) = self.server.clone() else { return Ok(false) };
        let Some(ended) = daemon::ended(&mut self.daemon)? else { return Ok(false) };
        ended.stop()?;
        self.daemon = Some(self.start_daemon(site, &server)?);
        Ok(true)
    }

    fn finish(&mut self, site: &Site) -> Result<()> {
        let cleared = self.made.take().map_or(Ok(()), |made| made.clear());
        let stopped = self.daemon.take().map_or(Ok(()), Daemon::stop);
        // Also in an engine that is not ours the boxes' cgroups are below the run's.
        cgroups::remove_idle(&engine::cgroup(site, NAME));
        stopped.and(cleared).and(journal::clear_traces(site.dir()))
    }

    fn deadline(&self) -> Duration {
        Duration::from_secs(30)
    }
}

/// The word that tells the payload where its channel is.
fn own_word() -> String {
    format!("channel={}", engine::CHANNEL)
}

fn launch(argv: Vec<String>) -> Launch {
    Launch::Command { argv, env: Vec::new(), overlay: None, dies_with_parent: false }
}

fn client(program: &Path, socket: &str) -> Vec<String> {
    vec![text(program), "--address".into(), socket.into()]
}

/// The namespace of containerd's in which all of ours is.
fn namespace(site: &Site) -> String {
    format!("tare-{}", engine::run_name(site))
}

/// Directories that an engine which is not ours makes for a namespace of its own and leaves behind.
fn traces(site: &Site) -> [String; 3] {
    let places = ["/run/containerd/runc", "/run/containerd/io.containerd.runtime.v2.task"];
    let [runc, task] = places.map(|place| format!("{place}/{}", namespace(site)));
    [runc, task, format!("/var/lib/containerd/io.containerd.runtime.v2.task/{}", namespace(site))]
}

/// containerd knows images by their whole names, with a host before them; this one is pulled from nowhere.
fn image(site: &Site) -> String {
    format!("localhost/{}", engine::image(site))
}

/// The cgroup of one box.
fn cgroup(site: &Site, start: &Start) -> String {
    format!("{}/{}", engine::cgroup(site, NAME), start.id)
}

fn pid_file(site: &Site, start: &Start) -> PathBuf {
    site.instance(start).join("pid")
}
