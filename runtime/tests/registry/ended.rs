//! Pulls that are ended in the middle, by whoever wants them to end or by whoever kills them.

use std::io::Write;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::{Lab, entries, wait};
use crate::layout::{self, Layer, plain};
use crate::liar::{Liar, Stock, silence};
use crate::server::{self, Server, command, left, must};

fn until(what: &str, mut seen: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !seen() {
        assert!(Instant::now() < deadline, "{what}: never seen");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn start(lab: &Lab, name: &str) -> Child {
    let mut pull = command(lab, &["pull", name]);
    pull.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts")
}

/// A layer that takes a while to unpack.
fn large(lab: &Lab) -> Stock {
    let mut layer = Layer::new();
    for number in 0..4000 {
        layer = layer.file(&format!("d{}/f{number}", number % 40), &"x".repeat(4000));
    }
    let place = lab.path().join("layout");
    layout::write(&place, &[plain(layer)]);
    let index = std::fs::read(place.join("index.json")).expect("index");
    let index: serde_json::Value = serde_json::from_slice(&index).expect("json");
    Stock::of(&place, index["manifests"][0]["digest"].as_str().expect("digest"))
}

#[test]
fn who_interrupts_finds_nothing_left() {
    let Some(lab) = Lab::new() else { return };
    let stock = large(&lab);
    let incoming = || entries(&lab.root().join(".images/incoming")).into_iter().filter(|path| path.is_dir());
    let honest = stock.clone();
    let liar = Liar::start(move |request, stream| honest.honest(request, stream));
    let unpacking = || incoming().any(|path| path.join("layer/own/d5").exists());
    let hanging = Liar::start(move |request, stream| {
        if !request.path.ends_with(&stock.layer) {
            return stock.honest(request, stream);
        }
        let blob = &stock.blobs[&stock.layer];
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", blob.len())?;
        stream.write_all(&blob[..blob.len() / 2])?;
        silence(stream)
    });
    let coming = || {
        incoming().any(|path| entries(&path).iter().any(|it| it.extension().is_some_and(|it| it == "coming")))
    };
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        for (liar, what, seen) in [
            (&hanging, "a layer comes", &coming as &dyn Fn() -> bool),
            (&liar, "a layer is unpacked", &unpacking),
        ] {
            let pull = start(&lab, &liar.name("me/it:1"));
            until(what, seen);
            kill(Pid::from_raw(pull.id() as i32), signal).expect("kill");
            assert_eq!(wait(pull), Some(code), "{what}");
            assert_eq!(left(&lab), Vec::<std::path::PathBuf>::new(), "{what}");
            assert!(entries(&lab.root().join(".images/layers")).is_empty());
        }
    }
}

#[test]
fn a_killed_pull_leaves_no_half_image_and_the_next_succeeds() {
    let Some(lab) = Lab::new() else { return };
    let Some(registry) = Server::start(&lab.path().join("registry")) else { return };
    let (layout, digest) = server::image(&lab, "whole");
    let name = registry.name("me/it:1");
    server::put(&layout, &name);
    let began = Instant::now();
    must(&lab, &["pull", &name]);
    let whole = began.elapsed();
    let run = || must(&lab, &["run", "--cgroup-parent", &lab.parent, &name]);
    let moments = 8;
    let mut killed = 0;
    for moment in 1..=moments {
        must(&lab, &["rm", &name]);
        let mut pull = start(&lab, &name);
        std::thread::sleep(whole * moment / moments);
        pull.kill().expect("kill");
        killed += u32::from(!pull.wait().expect("wait").success());
        // There is an image, or there is none.
        if must(&lab, &["images", "--quiet"]).contains(&name) {
            assert_eq!(run(), "whole", "killed at {moment} of {moments}");
        }
        assert_eq!(must(&lab, &["pull", &name]), format!("{name}@{digest}"));
        assert_eq!(run(), "whole");
        assert_eq!(left(&lab).len(), 1, "{:?}", left(&lab));
    }
    assert!(killed > moments / 3, "only {killed} of {moments} pulls were killed");
}

#[test]
fn who_interrupts_while_a_helper_asks_takes_it_along() {
    let Some(lab) = Lab::new() else { return };
    let (own, pid) = (lab.path().join("own"), lab.path().join("pid"));
    std::fs::create_dir(&own).expect("mkdir");
    let helper = own.join("docker-credential-slow");
    let script = format!("#!/bin/sh\necho $$ > {0}.new; mv {0}.new {0}; exec sleep 1000\n", pid.display());
    std::fs::write(&helper, script).expect("write");
    std::fs::set_permissions(&helper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
    std::fs::write(own.join("config.json"), r#"{"credHelpers": {"127.0.0.1:1": "slow"}}"#).expect("write");
    let path = format!("{}:{}", own.display(), std::env::var("PATH").expect("PATH"));
    let mut pull = command(&lab, &["pull", "127.0.0.1:1/me/it:1"]);
    pull.env("DOCKER_CONFIG", &own).env("PATH", path).stdout(Stdio::null()).stderr(Stdio::null());
    let pull = pull.spawn().expect("it starts");
    until("the helper asks", || pid.exists());
    let asking: i32 = std::fs::read_to_string(&pid).expect("pid").trim().parse().expect("a number");
    let asking = tare_runtime::sys::pidfd_open(asking).expect("it runs");
    kill(Pid::from_raw(pull.id() as i32), Signal::SIGTERM).expect("kill");
    assert_eq!(wait(pull), Some(143));
    let mut ready = [nix::poll::PollFd::new(std::os::fd::AsFd::as_fd(&asking), nix::poll::PollFlags::POLLIN)];
    assert_eq!(nix::poll::poll(&mut ready, 10_000_u16), Ok(1), "the helper goes on asking");
}

#[test]
fn who_interrupts_while_nobody_writes_the_credentials_is_heard() {
    let Some(lab) = Lab::new() else { return };
    let pipe = lab.path().join("auth.json");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("mkfifo");
    let mut pull = command(&lab, &["pull", "127.0.0.1:1/me/it:1"]);
    pull.env("REGISTRY_AUTH_FILE", &pipe).stdout(Stdio::null()).stderr(Stdio::null());
    let pull = pull.spawn().expect("it starts");
    // Opens for whoever writes once somebody reads.
    let writer = std::fs::File::options().write(true).open(&pipe).expect("open");
    kill(Pid::from_raw(pull.id() as i32), Signal::SIGINT).expect("kill");
    assert_eq!(wait(pull), Some(130));
    drop(writer);
}
