//! `docker`: the whole stack that a user of Docker calls: client, dockerd, containerd, shim, runc; detached.
//!
//! An engine that runs already is used through its socket, under names of our own. Where none runs, root starts a
//! private one, see [`daemon`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tare_reports::document::{Accel, Class};

use super::tool::tool;
use super::{
    CPUS, Contender, Description, Fetches, Found, HOSTNAME, MEMORY, Missing, Needs, PIDS, Surroundings, Undo,
    Wiring, example, text, version_of,
};
use crate::engine::daemon::{self, Daemon};
use crate::engine::journal::{self, Entry};
use crate::engine::{self, archive, call};
use crate::image::Image;
use crate::program::on_path;
use crate::registry;
use crate::site::{Site, Start};
use crate::spawner::protocol::Launch;

const NAME: &str = "docker";
const SOCKET: &str = "/var/run/docker.sock";
/// What dockerd's containerd makes outside of the directories that it is told.
const TRACES: [&str; 3] = ["/opt/containerd/bin", "/opt/containerd/lib", "/opt/containerd"];

/// See the file's head.
#[derive(Debug, Default)]
pub struct Docker {
    client: PathBuf,
    /// The address of an engine that runs already.
    running: Option<String>,
    /// The program of a private one.
    dockerd: Option<PathBuf>,
    daemon: Option<Daemon>,
    /// What was made in an engine that is not ours.
    made: Vec<Entry>,
}

impl Docker {
    /// The client with the words that say which engine, and that leave the user's own settings alone.
    pub(super) fn words(&self, site: &Site, words: &[&str]) -> Vec<String> {
        let dir = engine::place(site, NAME);
        let address =
            self.running.clone().unwrap_or_else(|| format!("unix://{}", text(&dir.join("docker.sock"))));
        let mut argv = client(&self.client, &address, &dir.join("client"));
        argv.extend(words.iter().map(|word| (*word).to_owned()));
        argv
    }

    /// The process of a private engine.
    pub(super) fn daemon_pid(&self) -> Option<u32> {
        self.daemon.as_ref().map(Daemon::pid)
    }

    fn run(&self, site: &Site, start: &Start) -> Vec<String> {
        let command = ["/payload".to_owned(), start.nonce.clone(), own_word()];
        self.run_of(site, start, &engine::image(site), &command)
    }

    /// A box of this image, with this command.
    fn run_of(&self, site: &Site, start: &Start, image: &str, command: &[String]) -> Vec<String> {
        let (memory, pids, cpus) = (MEMORY.to_string(), PIDS.to_string(), CPUS.to_string());
        let seccomp = format!("seccomp={}", text(&engine::seccomp_file(&engine::place(site, NAME))));
        let mount = format!("type=bind,src={},dst={}", text(&engine::fifos(site, start)), engine::CHANNEL);
        let name = engine::box_name(site, start);
        let mut argv = self.words(site, &["run", "--detach", "--pull", "never", "--name", &name]);
        let limits = ["--memory", &memory, "--memory-swap", &memory, "--pids-limit", &pids, "--cpus", &cpus];
        let confinement =
            ["--cap-drop", "MKNOD", "--security-opt", "no-new-privileges", "--security-opt", &seccomp];
        let rest = ["--network", "none", "--cgroupns", "private", "--hostname", HOSTNAME, "--mount", &mount];
        argv.extend(limits.iter().chain(&confinement).chain(&rest).map(|word| (*word).to_owned()));
        argv.push(image.to_owned());
        argv.extend_from_slice(command);
        argv
    }

    /// Notes an image that is going to be made in an engine that is not ours, and the boxes of this run.
    fn note(&mut self, site: &Site, image: &str) -> Result<()> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let entry = Entry {
            client: self.words(site, &[]),
            list: words(&["ps", "--all", "--format", "{{.Names}}"]),
            prefix: format!("tare-{}-", engine::run_name(site)),
            remove: vec![words(&["rm", "--force"])],
            rest: vec![words(&["rmi", "--force", image])],
        };
        journal::note(site.dir(), &entry)?;
        self.made.push(entry);
        Ok(())
    }

    fn start_daemon(&self, site: &Site, dockerd: &Path) -> Result<Daemon> {
        let dir = engine::place(site, NAME);
        let at = |name: &str| text(&dir.join(name));
        // No bridge and no firewall rules: boxes here have no network. (It would make them in its own namespace.)
        let config = json!({
            "data-root": at("data"), "exec-root": at("exec"), "pidfile": at("docker.pid"),
            "hosts": [format!("unix://{}", at("docker.sock"))],
            "bridge": "none", "iptables": false, "ip6tables": false, "ip-forward": false, "ip-masq": false,
            "exec-opts": ["native.cgroupdriver=cgroupfs"], "cgroup-parent": engine::cgroup(site, NAME),
        });
        std::fs::write(dir.join("daemon.json"), serde_json::to_vec_pretty(&config)?)?;
        let argv = [text(dockerd), "--config-file".into(), at("daemon.json")];
        let version = self.words(site, &["version"]);
        Daemon::start(&argv, &engine::cgroup(site, NAME), &dir.join("daemon.log"), || {
            call(&version, &[]).is_ok()
        })
    }
}

impl Contender for Docker {
    fn description(&self) -> Description<'_> {
        Description {
            name: NAME,
            class: Class::Engine,
            about: "Docker, the whole stack: client, dockerd, containerd, shim and runc; detached",
            inside_clock: &[
                "FIFOs",
                "request to the spawner",
                "posix_spawn of the client",
                "docker run --detach: container created, overlay, cgroups, shim, runc",
                "READY",
            ],
            channel: "FIFOs in a bind-mounted directory",
            ..Description::default()
        }
    }

    fn probe(&mut self, surroundings: &Surroundings) -> Result<Found, Missing> {
        let setup = "./scripts/setup --peers (or apt-get install docker.io)";
        let program = tool("TARE_DOCKER", NAME, setup)?;
        let version = version_of(&program, "--version")?;
        self.client = program;
        let mut not_expressed: Vec<String> = [
            "devices and mounts: Docker's own (/dev/shm, /dev/mqueue, three files in /etc), and /channel",
            "environment: it adds HOSTNAME and HOME",
            "masked and read-only paths: Docker's own list",
        ]
        .map(Into::into)
        .into();
        let asked = std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
        let address = asked.clone().unwrap_or_else(|| format!("unix://{SOCKET}"));
        if asked.as_ref().is_some_and(|host| !host.starts_with("unix://")) {
            let reason = format!("DOCKER_HOST is {address}: only an engine of this machine can be measured");
            return Err(Missing::new(reason, "unset DOCKER_HOST"));
        }
        if asked.is_some() || Path::new(SOCKET).exists() {
            let mut ask = client(&self.client, &address, Path::new("/nonexistent"));
            ask.extend(["version", "--format", "{{.Server.Version}}"].map(String::from));
            match call(&ask, &[]) {
                Ok(server) => {
                    self.running = Some(address);
                    not_expressed.push("cgroup parent, and CPU time of the engine: it is not ours".into());
                    let version = format!("{version}; engine {server}, which ran already");
                    return Ok(Found { version, accel: Accel::Native, not_expressed });
                }
                Err(error) if asked.is_some() => {
                    return Err(Missing::new(
                        format!("DOCKER_HOST names no working engine: {error:#}"),
                        "unset DOCKER_HOST",
                    ));
                }
                // A socket that nobody serves: a private engine takes another one.
                Err(_) => {}
            }
        }
        if !surroundings.root {
            return Err(Missing::root("no Docker engine runs, and starting a private one"));
        }
        let dockerd = on_path("dockerd")
            .ok_or_else(|| Missing::new("no Docker engine runs, and dockerd is not on PATH", setup))?;
        let server = version_of(&dockerd, "--version")?;
        self.dockerd = Some(dockerd);
        let version = format!("{version}; private engine: {server}");
        Ok(Found { version, accel: Accel::Native, not_expressed })
    }

    fn prepare(&mut self, site: &Site) -> Result<()> {
        let dir = engine::directory(site, NAME)?;
        engine::write_seccomp(&dir)?;
        let file = dir.join("layer.tar");
        std::fs::write(&file, archive::layer(&site.rootfs())?).context("write the image's layer")?;
        let image = engine::image(site);
        if self.running.is_some() {
            self.note(site, &image)?;
        } else if let Some(dockerd) = &self.dockerd {
            journal::note_traces(site.dir(), &TRACES)?;
            self.daemon = Some(self.start_daemon(site, dockerd)?);
        }
        call(&self.words(site, &["import", &text(&file), &image]), &[]).context("import the image")?;
        Ok(())
    }

    fn launch(&mut self, site: &Site, start: &Start) -> Result<Launch> {
        engine::make_box_directory(site, start)?;
        Ok(Launch::Command {
            argv: self.run(site, start),
            env: Vec::new(),
            overlay: None,
            dies_with_parent: false,
        })
    }

    fn takes_images(&self) -> Result<(), &'static str> {
        Ok(())
    }

    fn keeps_images(&self) -> Result<&'static [&'static str], &'static str> {
        match self.running {
            None => Ok(&[]),
            Some(_) => Err("an engine that ran already keeps what is not ours too"),
        }
    }

    fn keeps_in(&self, site: &Site, _: &Image) -> Vec<PathBuf> {
        vec![engine::place(site, NAME).join("data")]
    }

    fn fetches(&self) -> Result<&dyn Fetches, &'static str> {
        registry::possible().and(self.keeps_images()).map(|_| self as _)
    }

    fn take_image(&mut self, site: &Site, image: &Image) -> Result<()> {
        if self.running.is_some() {
            self.note(site, &image.tag)?;
        }
        call(&self.words(site, &["load", "--input", &text(&image.archive())]), &[]).map(drop)
    }

    fn launch_image(&mut self, site: &Site, start: &Start, image: &Image) -> Result<Launch> {
        engine::make_box_directory(site, start)?;
        let argv = self.run_of(site, start, &image.tag, &image.argv(&start.nonce, &[own_word()]));
        Ok(Launch::Command { argv, env: Vec::new(), overlay: None, dies_with_parent: false })
    }

    fn wiring(&self) -> Wiring {
        Wiring::LeftOut(
            "its boxes join no namespace that somebody else made, and the lab's private engine has no bridge",
        )
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
        let name = engine::box_name(site, start);
        let said = call(&self.words(site, &["inspect", "--format", "{{.State.Pid}}", &name]), &[])?;
        let pid = said.parse().with_context(|| format!("docker inspect says {said:?} for a process id"))?;
        ensure!(pid != 0, "docker inspect says that {name} does not run");
        Ok(pid)
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
        // Mounted by dockerd: the overlay, and the network namespace, that it keeps by a mount.
        Needs { tasks: 16, mounts: 2, keys: 1, inotify: engine::watches(), ..Needs::of(Class::Engine) }
    }

    fn teardown(&self, site: &Site, start: &Start) -> Vec<Undo> {
        let name = engine::box_name(site, start);
        vec![Undo::Command(self.words(site, &["rm", "--force", &name])), Undo::Remove(site.instance(start))]
    }

    fn rescue(&self, site: &Site, start: &Start) -> Vec<Undo> {
        // Docker names a box's cgroups itself; those in which nothing runs are nobody's.
        let cgroups = Undo::IdleCgroups(engine::cgroup(site, NAME));
        self.teardown(site, start).into_iter().chain([cgroups]).collect()
    }

    fn leaves(&self, site: &Site, start: &Start) -> Vec<PathBuf> {
        let mut paths = engine::idle_cgroups(site, NAME);
        paths.push(site.instance(start));
        paths
    }

    fn revive(&mut self, site: &Site) -> Result<bool> {
        let Some(dockerd) = self.dockerd.clone() else { return Ok(false) };
        let Some(ended) = daemon::ended(&mut self.daemon)? else { return Ok(false) };
        ended.stop()?;
        // Its containerd ended with it, but dockerd takes the process id that stands there for one that runs as long as
        // nobody has reaped it, and waits for that.
        let state = engine::place(site, NAME).join("exec");
        std::fs::remove_dir_all(&state).with_context(|| format!("remove {}", state.display()))?;
        self.daemon = Some(self.start_daemon(site, &dockerd)?);
        Ok(true)
    }

    fn finish(&mut self, site: &Site) -> Result<()> {
        let cleared = self.made.drain(..).map(|made| made.clear()).fold(Ok(()), Result::and);
        self.daemon.take().map_or(Ok(()), Daemon::stop).and(cleared).and(journal::clear_traces(site.dir()))
    }

    fn deadline(&self) -> Duration {
        Duration::from_secs(30)
    }
}

/// The word that tells the payload where its channel is.
fn own_word() -> String {
    format!("channel={}", engine::CHANNEL)
}

fn client(program: &Path, address: &str, config: &Path) -> Vec<String> {
    vec![text(program), "--config".into(), text(config), "--host".into(), address.into()]
}
