//! Images that are fetched for real: what travels is what was published, a line counts it, and a registry that is gone
//! leaves a failure and nothing else.

mod common;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{Cleared, Guard, document, finish, left_of, skip, tare, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tare::image::{Entry, Image, Kind, disk, entries};
use tare::lab::Lab;
use tare::registry::{self, Blob, Line, Registry};
use tare::site::Site;
use tare_reports::document::{Failure, Series};

const MIB: u64 = 1 << 20;
/// What the protocol adds to what a manifest names: headers, the manifest itself, a greeting or two.
const WORDS: u64 = 16 << 10;

/// Whether there is what images are fetched from; said aloud where not.
fn able() -> bool {
    if !common::root() {
        return false;
    }
    if let Err(why) = registry::possible() {
        skip("registry", why);
        return false;
    }
    true
}

/// A lab with a registry, and the line to it.
struct Ground {
    line: Line,
    registry: Registry,
    lab: Lab,
    site: Cleared,
    _dir: tempfile::TempDir,
}

fn ground(name: &str) -> Option<Ground> {
    if !able() {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let site = Site::create(&format!("transfer-test-{name}-{}", std::process::id())).unwrap();
    let lab = Lab::open(&common::binaries().join("tare"), &dir.path().join("stderr"), 7).unwrap();
    let registry = Registry::start(&site).unwrap();
    let line = Line::open(&registry.socket(), None).unwrap();
    Some(Ground { line, registry, lab, site: Cleared::of(site), _dir: dir })
}

/// An image whose last layer is this noise, over one that is always the same.
fn image(site: &Site, seed: u64) -> Image {
    let layer = |seed, mib: usize| {
        vec![
            Entry::new("/usr/data", 0o755, Kind::Directory),
            entries::file(&format!("/usr/data/{seed}"), 0o644, &entries::noise(seed, mib << 20)),
        ]
    };
    Image::new(site, "it", vec![[entries::common(), layer(1, 4)].concat(), layer(seed, 1)])
}

impl Ground {
    fn runtime(&self, words: &[&str]) -> Vec<String> {
        let program = common::binaries().join("tare-runtime").display().to_string();
        let root = self.site.runtime_root().display().to_string();
        [&program, "--root", &root].into_iter().chain(words.iter().copied()).map(str::to_owned).collect()
    }

    /// Fetches it, and returns what that added to the line's count.
    fn pull(&mut self, tag: &str) -> u64 {
        let before = self.line.carried();
        let pull = self.runtime(&["pull", &format!("{}/some/where:{tag}", self.line.address())]);
        let took = self.lab.run_tools(vec![pull], Duration::from_secs(60)).unwrap();
        assert!(took > 0);
        self.line.carried() - before
    }
}

fn sum(blobs: &[Blob]) -> u64 {
    blobs.iter().map(|it| it.size).sum()
}

#[test]
fn the_line_carries_what_the_manifest_names_and_shared_layers_once() {
    let Some(mut ground) = ground("counts") else { return };
    let (first, second) = (image(&ground.site, 2), image(&ground.site, 3));
    let first = ground.registry.put_image(&first, "some/where", "first").unwrap();
    let second = ground.registry.put_image(&second, "some/where", "second").unwrap();
    assert_eq!((first.len(), &first[1]), (3, &second[1]), "they share a layer");
    let carried = ground.pull("first");
    assert!((sum(&first)..sum(&first) + WORDS).contains(&carried), "{carried} of {first:?}");
    let own = second[0].size + second[2].size;
    let carried = ground.pull("second");
    assert!((own..own + WORDS).contains(&carried), "{carried} of {second:?}");
    let carried = ground.pull("second");
    assert!(carried < WORDS, "what is there already travels again: {carried}");
}

/// A socket that leads to the registry's, until so many bytes have come from there: then the registry is killed.
fn cut_after(bytes: u64, ground: &Ground) -> PathBuf {
    let (place, registry) = (ground.site.dir().join("cut"), ground.registry.socket());
    let victim = Pid::from_raw(ground.registry.pid().unwrap() as i32);
    let listener = UnixListener::bind(&place).unwrap();
    let came = Arc::new(AtomicU64::new(0));
    std::thread::spawn(move || {
        for asks in listener.incoming() {
            // Nothing more is answered once it is dead.
            let (Ok(mut asks), Ok(mut hears)) = (asks, UnixStream::connect(&registry)) else { continue };
            let (mut answered, mut to, came) =
                (hears.try_clone().unwrap(), asks.try_clone().unwrap(), came.clone());
            std::thread::spawn(move || std::io::copy(&mut asks, &mut hears));
            std::thread::spawn(move || {
                let mut piece = vec![0; 64 << 10];
                while let Ok(read @ 1..) = answered.read(&mut piece) {
                    if came.fetch_add(read as u64, Ordering::SeqCst) > bytes {
                        kill(victim, Signal::SIGKILL).unwrap();
                        break;
                    }
                    if to.write_all(&piece[..read]).is_err() {
                        break;
                    }
                }
                let _ = (to.shutdown(Shutdown::Both), answered.shutdown(Shutdown::Both));
            });
        }
    });
    place
}

#[test]
fn a_registry_that_goes_in_the_middle_fails_the_tool_and_leaves_nothing() {
    let Some(mut ground) = ground("gone") else { return };
    let image = image(&ground.site, 2);
    ground.registry.put_image(&image, "some/where", "first").unwrap();
    ground.line = Line::open(&cut_after(2 * MIB, &ground), None).unwrap();
    let pull = ground.runtime(&["pull", &format!("{}/some/where:first", ground.line.address())]);
    let failed = ground.lab.run_tools(vec![pull], Duration::from_secs(60)).unwrap_err();
    assert_eq!(failed.failure, Failure::Start, "{failed:?}");
    assert!(
        failed.detail.contains(" pull 127.0.0.1:") && failed.detail.contains("exit status 1: "),
        "{failed:?}"
    );
    let carried = ground.line.carried();
    assert!((2 * MIB - (64 << 10)..3 * MIB).contains(&carried), "{carried}");
    assert_eq!(images(&ground), "");
}

/// The names of images that are there.
fn images(ground: &Ground) -> String {
    let argv = ground.runtime(&["images", "--quiet"]);
    let output = std::process::Command::new(&argv[0]).args(&argv[1..]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_tool_that_does_not_end_is_ended_and_is_a_timeout() {
    let Some(mut ground) = ground("late") else { return };
    let sleep = ["/bin/sleep", "600"].map(str::to_owned).to_vec();
    let failed = ground.lab.run_tools(vec![sleep], Duration::from_millis(300)).unwrap_err();
    assert_eq!(failed.failure, Failure::Timeout, "{failed:?}");
    assert!(failed.detail.starts_with("/bin/sleep 600: "), "{failed:?}");
    let children = format!("/proc/{0}/task/{0}/children", ground.lab.spawner_pid());
    assert_eq!(std::fs::read_to_string(children).unwrap().trim(), "", "it still runs");
}

#[test]
fn a_run_whose_registry_is_killed_says_so_and_goes_on() {
    if !able() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let mut command = tare(out.path(), &["disk", "--only", "tare", "--rounds", "2"]);
    let mut run = Guard(command.spawn().unwrap());
    let site = || out.path().join("latest").read_link().ok().map(|run| tare::site::base().join(run));
    let mut registry = None;
    wait_until("a registry", || {
        registry = site().and_then(|site| running("docker-registry", &site.display().to_string()));
        registry.is_some()
    });
    kill(Pid::from_raw(registry.unwrap()), Signal::SIGKILL).unwrap();
    let status = run.0.wait().unwrap();
    let document = document(out.path());
    assert_eq!(status.code(), Some(0), "the other visits are as they should be");
    assert_eq!(left_of(&document.run.id), Vec::<std::path::PathBuf>::new());
    let own = document.series.iter().filter(|it| it.quantity == "pull");
    let samples: Vec<_> = own.flat_map(|it| &it.samples).collect();
    let lost: Vec<_> = samples.iter().filter(|it| it.value.is_none()).collect();
    // Two rounds, two visits each for the A/A test, three transfers a visit: one visit lost some or all of its three.
    assert_eq!(samples.len(), 12);
    assert!((1..=3).contains(&lost.len()), "{lost:?}");
    assert!(
        lost.iter().all(|it| it.failure == Some(Failure::Start) && it.detail == lost[0].detail),
        "{lost:?}"
    );
}

#[test]
fn a_pull_that_brings_nothing_new_is_found_out_by_a_box() {
    if !able() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (script, count) = (dir.path().join("tare-runtime"), dir.path().join("count"));
    std::fs::write(&count, "0\n").unwrap();
    let real = common::binaries().join("tare-runtime");
    // Each third one is the update.
    let text = format!(
        "#!/bin/sh\ncase \" $* \" in *' pull '*)\nread n <{0}; n=$((n + 1)); echo $n >{0}\n\
         [ $((n % 3)) -eq 0 ] && exit 0;;\nesac\nexec {1} \"$@\"\n",
        count.display(),
        real.display()
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let out = dir.path().join("out");
    let mut command = tare(&out, &["disk", "--only", "tare", "--rounds", "1"]);
    let output = finish(command.env("TARE_RUNTIME", &script));
    let document = document(&out);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(left_of(&document.run.id), Vec::<std::path::PathBuf>::new());
    let of = |transfer: &str| {
        let own = |it: &&Series| it.quantity == "pull" && it.parameters.transfer.as_deref() == Some(transfer);
        document.series.iter().find(own).unwrap().samples[0].clone()
    };
    assert!(of("first").value.is_some() && of("second").value.is_some(), "{:?}", of("first"));
    let update = of("update");
    assert_eq!(update.failure, Some(Failure::WrongAnswer), "{update:?}");
    let said = update.detail.unwrap();
    assert!(
        said.starts_with("after update: ") && said.contains("/usr/top/file0: other bytes here"),
        "{said}"
    );
}

#[test]
fn a_disk_travels_as_what_differs_and_another_is_not_taken_for_it() {
    if let Err(why) = disk::possible() {
        return skip("qemu", why);
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let mut bytes = entries::noise(1, 4 << 20);
    std::fs::write(at("first.raw"), &bytes).unwrap();
    bytes[1 << 20] ^= 1;
    std::fs::write(at("other.raw"), &bytes).unwrap();
    disk::to_travel(&at("first.raw"), None, &at("first.qcow2")).unwrap();
    disk::to_travel(&at("other.raw"), Some(&at("first.qcow2")), &at("other.qcow2")).unwrap();
    let size = |name: &str| std::fs::metadata(at(name)).unwrap().len();
    assert!(size("first.qcow2") > 4 * MIB && size("other.qcow2") < MIB, "{}", size("other.qcow2"));
    std::fs::create_dir(at("there")).unwrap();
    for name in ["first.qcow2", "other.qcow2"] {
        std::fs::rename(at(name), at("there").join(name)).unwrap();
    }
    disk::same(&at("there/other.qcow2"), &at("other.raw")).unwrap();
    let error = format!("{:#}", disk::same(&at("there/other.qcow2"), &at("first.raw")).unwrap_err());
    assert!(error.contains("is not the disk that was published"), "{error}");
}

/// A process of that program with these words in its command line.
fn running(program: &str, words: &str) -> Option<i32> {
    let all = std::fs::read_dir("/proc").ok()?.flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        line.split('\0').next().is_some_and(|it| it.ends_with(program)) && line.contains(words)
    })
}
