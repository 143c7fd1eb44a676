//! Debian's registry, really started, at a port that the kernel chose; and an image to put there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::{Lab, entries, on_path, skip};
use crate::layout::{self, Layer, Stored, gzip};

/// A registry with everything of its below one directory.
pub(crate) struct Server {
    process: Child,
    log: PathBuf,
    /// Where it listens.
    pub(crate) address: String,
}

impl Server {
    /// `None`, said aloud, where there is none to start.
    pub(crate) fn start(place: &Path) -> Option<Self> {
        Self::start_with(place, "")
    }

    /// The same with more lines of its configuration.
    pub(crate) fn start_with(place: &Path, more: &str) -> Option<Self> {
        Self::start_at(place, "127.0.0.1", "", more)
    }

    /// The same at an address; if that is not the host's own, in a network namespace where it is. `http` is what its
    /// configuration says about HTTP besides.
    pub(crate) fn start_at(place: &Path, address: &str, http: &str, more: &str) -> Option<Self> {
        if !on_path("docker-registry") || !on_path("skopeo") {
            skip("registry", "there is no docker-registry and skopeo on PATH (scripts/setup --peers)");
            return None;
        }
        fs::create_dir_all(place).expect("mkdir");
        let (config, log) = (place.join("config.yml"), place.join("log"));
        let data = place.join("data").display().to_string();
        let text = format!(
            "version: 0.1\nlog: {{level: info, formatter: json}}\nstorage: {{filesystem: {{rootdirectory: {data}}}}}\n\
             http:\n  addr: \"{address}:0\"\n  {http}\n{more}\n"
        );
        fs::write(&config, text).expect("write");
        let file = fs::File::create(&log).expect("log");
        let mut command = match address {
            "127.0.0.1" => Command::new("docker-registry"),
            _ => {
                let script = format!(
                    "busybox ip link set lo up && busybox ip address add {address}/32 dev lo && exec docker-registry \"$@\""
                );
                let mut apart = Command::new("unshare");
                apart.args(["--net", "sh", "-c", &script, "sh"]);
                apart
            }
        };
        let process = command
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("clone"))
            .stderr(file)
            .spawn()
            .expect("docker-registry starts");
        let mut server = Self { process, log, address: String::new() };
        let deadline = Instant::now() + Duration::from_secs(30);
        while server.address.is_empty() {
            assert!(Instant::now() < deadline, "the registry does not listen: {}", server.said());
            std::thread::sleep(Duration::from_millis(20));
            if let Some((_, rest)) = server.said().split_once("listening on ") {
                server.address =
                    rest.chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect();
            }
        }
        Some(server)
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The full name of something in it.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// The requests that it has answered, as it has noted them itself.
    fn answered(&self, method: &str, path: &str) -> usize {
        let method = format!("\"http.request.method\":\"{method}\"");
        let said = self.said();
        let done = |line: &&str| {
            line.contains("response completed") && line.contains(&method) && line.contains(path)
        };
        said.lines().filter(done).count()
    }

    /// How many blobs it has sent so far.
    pub(crate) fn sent(&self) -> usize {
        self.answered("GET", "/blobs/sha256:")
    }

    /// How many blobs it has received so far.
    pub(crate) fn received(&self) -> usize {
        self.answered("PUT", "/blobs/uploads/")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs skopeo, which must succeed.
pub(crate) fn skopeo(arguments: &[&str]) -> String {
    let output = Command::new("skopeo").arg("--insecure-policy").args(arguments).output().expect("skopeo");
    assert!(output.status.success(), "skopeo {arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// An image of two layers, gzipped: busybox, and one file with these words, which is what it prints. Returns the layout
/// and the manifest's digest.
pub(crate) fn image(lab: &Lab, words: &str) -> (PathBuf, String) {
    let place = lab.path().join(format!("layout-{words}"));
    let busybox = fs::read("/bin/busybox").expect("busybox");
    let mut base = Layer::new();
    for name in ["bin", "proc", "sys", "dev", "etc"] {
        base = base.directory(name);
    }
    base = base.raw(tar::EntryType::Regular, "bin/busybox", &busybox, |header| header.set_mode(0o755));
    base = base.symlink("bin/cat", "busybox").symlink("bin/sh", "busybox");
    // Packed once: that takes a second.
    static BASE: OnceLock<Stored> = OnceLock::new();
    let packed = |layer: Layer| {
        let plain = layer.bytes();
        (gzip(&plain), plain)
    };
    let base = BASE.get_or_init(|| packed(base)).clone();
    let layers = [base, packed(Layer::new().file("etc/words", words))];
    layout::write_with(&place, &layers, json!({ "Cmd": ["/bin/cat", "/etc/words"] }), |manifest| {
        for layer in manifest["layers"].as_array_mut().expect("layers") {
            layer["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar+gzip");
        }
    });
    let index = fs::read(place.join("index.json")).expect("index");
    let index: serde_json::Value = serde_json::from_slice(&index).expect("json");
    let digest = index["manifests"][0]["digest"].as_str().expect("digest").to_owned();
    (place, digest)
}

/// Puts a layout into a registry, by skopeo.
pub(crate) fn put(layout: &Path, name: &str) {
    let from = format!("oci:{}", layout.display());
    skopeo(&["copy", "--quiet", "--dest-tls-verify=false", &from, &format!("docker://{name}")]);
}

/// `tare-runtime` with these words, for somebody who has never logged in anywhere.
pub(crate) fn command(lab: &Lab, arguments: &[&str]) -> Command {
    let mut command = lab.command(arguments);
    for variable in
        ["REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "SSL_CERT_FILE"]
    {
        command.env_remove(variable);
    }
    command.env("HOME", lab.path().join("home"));
    command
}

/// What it prints, and it must succeed.
pub(crate) fn must(lab: &Lab, arguments: &[&str]) -> String {
    let output = command(lab, arguments).output().expect("it starts");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The one line of its error, and that it failed.
pub(crate) fn refused(command: &mut Command) -> String {
    let output = command.output().expect("it starts");
    let error = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    assert_eq!(output.status.code(), Some(1), "{command:?}: {output:?}");
    assert!(!error.contains('\n') && output.stdout.is_empty(), "{output:?}");
    error
}

/// What is left of an import or a pull that did not end, and names of images.
pub(crate) fn left(lab: &Lab) -> Vec<PathBuf> {
    let images = lab.root().join(".images");
    let half_made = entries(&images.join("incoming")).into_iter().filter(|path| path.is_dir());
    half_made.chain(entries(&images.join("names"))).collect()
}
