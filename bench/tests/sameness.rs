//! One image in every box: the same, or the difference is found and named.

mod common;

use common::Cleared;
use tare::contenders::containerd::Containerd;
use tare::contenders::crun::Crun;
use tare::contenders::docker::Docker;
use tare::contenders::podman::Podman;
use tare::contenders::process::PlainProcess;
use tare::contenders::qemu::Qemu;
use tare::contenders::runsc::Runsc;
use tare::contenders::tare_lib::TareLib;
use tare::contenders::youki::Youki;
use tare::contenders::{Contender, Imaged, Surroundings, runc, tare as cli};
use tare::image::{Entry, Image, Kind};
use tare::lab::Lab;
use tare::measures::sameness::{self, Look, look};
use tare::run::look_for_kvm;
use tare::site::Site;

/// A lab and the image that it looks at.
struct Ground {
    lab: Lab,
    site: Cleared,
    image: Image,
    lines: Vec<String>,
    _dir: tempfile::TempDir,
}

/// None, said aloud, where owners and capabilities of files cannot be made.
fn ground(name: &str) -> Option<Ground> {
    if !common::root() {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    // Podman takes no path of more than fifty bytes.
    let site = Site::create(&format!("same-{name}-{}", std::process::id())).unwrap();
    let lab = Lab::open(&common::binaries().join("tare"), &dir.path().join("stderr"), 7).unwrap();
    let image = sameness::image(&site);
    image.make().unwrap();
    let lines = image.lines(&sameness::LEFT_OUT);
    Some(Ground { lab, site: Cleared::of(site), image, lines, _dir: dir })
}

impl Ground {
    /// Whether the contender can run here; `word` is what it lacks otherwise.
    fn can(&self, contender: &mut dyn Contender, word: &str) -> bool {
        let kvm = look_for_kvm();
        if let Err(missing) = contender.probe(&Surroundings { root: true, kvm }) {
            common::skip(word, &missing.reason);
            return false;
        }
        if let Err(why) = contender.takes_images() {
            common::skip(word, why);
            return false;
        }
        contender.prepare(&self.site).unwrap();
        true
    }

    /// What a box saw that was started from `given`, against what the image holds.
    fn look(&mut self, contender: &mut dyn Contender, given: &Image) -> Look {
        contender.take_image(&self.site, given).unwrap();
        look(&mut self.lab, &self.site, &mut Imaged::of(contender, given), &self.lines).unwrap()
    }

    /// The same image with one entry altered, as another image.
    fn altered(&self, name: &str, path: &str, alter: impl FnOnce(&mut Entry)) -> Image {
        let mut layers = self.image.layers.clone();
        alter(layers[0].iter_mut().find(|it| it.path == path).unwrap());
        let mut altered = Image::new(&self.site, name, layers);
        let Image { words, env, cwd, .. } = self.image.clone();
        (altered.words, altered.env, altered.cwd) = (words, env, cwd);
        altered.make().unwrap();
        altered
    }

    /// A changed byte, mode and attribute are each found and named, and nothing else is.
    fn finds_what_was_planted(&mut self, contender: &mut dyn Contender) {
        let given = self.image.clone();
        let same = self.look(contender, &given);
        assert_eq!(same.differences, Vec::<String>::new(), "{}", contender.name());
        let byte = self.altered("byte", "/usr/lib/large", |it| {
            let Kind::File(bytes) = &it.kind else { panic!("no file") };
            let mut bytes = bytes.to_vec();
            bytes[2 << 20] ^= 1;
            it.kind = Kind::File(bytes.into());
        });
        let mode = self.altered("mode", "/usr/bin/as-root", |it| it.mode = 0o755);
        let attribute = self.altered("xattr", "/etc/motd", |it| {
            it.attributes.insert("user.tare.origin".into(), b"lap".to_vec());
        });
        for (given, said) in [
            (byte, &["/usr/lib/large: other bytes here", "/usr/lib/large.1: other bytes here"][..]),
            (mode, &["/usr/bin/as-root: mode 4755 in the image, 0755 here"]),
            (attribute, &["/etc/motd: attribute user.tare.origin: another value here"]),
        ] {
            let found = self.look(contender, &given);
            assert_eq!(found.differences, said, "{}", contender.name());
            assert_ne!(found.digest, same.digest);
        }
        let boxes = std::fs::read_dir(self.site.boxes()).unwrap().count();
        assert_eq!(boxes, 0, "{} left something", contender.name());
    }

    fn end(mut self, mut contender: impl Contender) {
        contender.finish(&self.site).unwrap();
        self.site.remove().unwrap();
    }
}

#[test]
fn a_process_in_the_image_sees_what_the_image_holds() {
    let Some(mut ground) = ground("process") else { return };
    let mut process = PlainProcess;
    assert!(ground.can(&mut process, "root"));
    ground.finds_what_was_planted(&mut process);
    let image = ground.image.clone();
    let looked = ground.look(&mut process, &image);
    assert_eq!(looked.entries as usize, ground.lines.len());
    assert!(ground.lines.len() > 30, "{:#?}", ground.lines);
    assert_eq!(looked.surroundings.get("CapEff"), None, "it has no /proc");
    ground.end(process);
}

#[test]
fn our_runtime_sees_what_the_image_holds() {
    let Some(mut ground) = ground("tare") else { return };
    let mut tare = cli::Tare::default();
    assert!(ground.can(&mut tare, "root"));
    ground.finds_what_was_planted(&mut tare);
    let image = ground.image.clone();
    let looked = ground.look(&mut tare, &image);
    assert_eq!(looked.surroundings["hostname"], "tare");
    assert_eq!(looked.surroundings["namespaces"], "cgroup ipc mnt net pid uts");
    assert!(looked.beside.contains(&"/proc".to_owned()), "{:?}", looked.beside);
    ground.end(tare);
}

#[test]
fn runc_sees_what_the_image_holds() {
    let Some(mut ground) = ground("runc") else { return };
    let mut runc = runc::Runc::default();
    if ground.can(&mut runc, "runc") {
        ground.finds_what_was_planted(&mut runc);
    }
    ground.end(runc);
}

#[test]
fn docker_sees_what_the_image_holds() {
    let Some(mut ground) = ground("docker") else { return };
    let mut docker = Docker::default();
    if ground.can(&mut docker, "docker") {
        ground.finds_what_was_planted(&mut docker);
    }
    ground.end(docker);
}

/// What of the image is known to be another thing in boxes of these, as long as it is: nobody has planted that.
const KNOWN: [(&str, &str); 5] = [
    // The directory that podman lays on top of all layers has this mode, whatever the image says.
    ("podman", "/: mode 0755 in the image, 0555 here"),
    // gVisor's file system shows no attributes, and it mounts memory on a /tmp that is empty.
    ("runsc", "/etc/motd: attribute user.tare.origin: missing here"),
    ("runsc", "/home/anna: attribute user.note: missing here"),
    ("runsc", "/tmp: missing here"),
    ("runsc", "/usr/bin/may-bind: attribute security.capability: missing here"),
];

/// Who is given the image as one of those above, or is another engine, is asked once, and nothing is planted.
fn sees_what_the_image_holds(mut contender: impl Contender) {
    let name = contender.name().to_owned();
    let Some(mut ground) = ground(&name) else { return };
    if ground.can(&mut contender, &name) {
        let image = ground.image.clone();
        let mut found = ground.look(&mut contender, &image).differences;
        found.retain(|said| !KNOWN.contains(&(name.as_str(), said.as_str())));
        assert_eq!(found, Vec::<String>::new(), "{name}");
    }
    ground.end(contender);
}

#[test]
fn the_others_see_what_the_image_holds() {
    sees_what_the_image_holds(TareLib);
    sees_what_the_image_holds(Crun::default());
    sees_what_the_image_holds(Youki::default());
    sees_what_the_image_holds(Runsc::default());
}

#[test]
fn the_other_engines_see_what_the_image_holds() {
    sees_what_the_image_holds(Podman::default());
    sees_what_the_image_holds(Containerd::default());
}

#[test]
fn a_machine_sees_what_the_image_holds() {
    let Some(mut ground) = ground("qemu") else { return };
    let mut qemu = Qemu::baseline();
    if ground.can(&mut qemu, "qemu") {
        ground.finds_what_was_planted(&mut qemu);
        let image = ground.image.clone();
        let looked = ground.look(&mut qemu, &image);
        assert_eq!(looked.surroundings["namespaces"], "its own kernel");
        assert_eq!(looked.surroundings["pid"], "1");
    }
    ground.end(qemu);
}
