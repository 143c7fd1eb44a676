//! Who is compared: one way to box the payload per file, and one list.
//!
//! To add one: a file with a type that implements [`Contender`], and a line in [`all`]. Nothing else.

pub mod altered;
pub(crate) mod assisted;
pub mod bwrap;
pub mod cloud_hypervisor;
pub mod containerd;
pub mod crun;
pub mod docker;
pub mod fake;
mod fetches;
pub mod firecracker;
pub mod floor;
pub(crate) mod ground;
pub mod hand_loop;
mod imaged;
pub mod kvm_only;
pub mod needs;
pub mod nspawn;
pub mod oci;
pub mod podman;
pub mod process;
pub mod qemu;
pub mod qemu_distro;
pub mod qemu_microvm;
pub mod qemu_nano;
pub mod qemu_restore;
pub mod qemu_tuned;
pub mod runc;
pub mod runsc;
mod same_box;
pub mod tare;
pub mod tare_lib;
pub mod tare_pool;
mod told;
mod tool;
pub mod youki;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use tare_reports::document::{Class, Failure};

use crate::image::Image;
use crate::network::Link;
pub use crate::network::Wiring;
use crate::site::{Site, Start};
use crate::spawner::protocol::{Launch, Mark};
pub use fetches::{Fetches, Parcel};
pub use imaged::Imaged;
pub use needs::Needs;
use same_box::runtime_spec;
pub(crate) use same_box::search_path;
pub use same_box::{CPUS, HOSTNAME, MEMORY, PIDS};
pub use told::{Description, Found, Missing, Resumption, Surroundings, Undo};
use tool::version_of;

/// One way to box the payload.
pub trait Contender: std::fmt::Debug {
    /// What it is, in words.
    fn description(&self) -> Description<'_>;

    /// Its name on the command line.
    fn name(&self) -> &str {
        self.description().name
    }

    /// Whether it starts nothing, and its figures come from a script.
    fn is_scripted(&self) -> bool {
        false
    }

    /// Looks for what it needs on this host, and makes nothing.
    ///
    /// # Errors
    /// Why it cannot run here.
    fn probe(&mut self, surroundings: &Surroundings) -> Result<Found, Missing>;

    /// Makes what is needed once per image; untimed.
    ///
    /// # Errors
    /// When it cannot be made.
    fn prepare(&mut self, _site: &Site) -> Result<()> {
        Ok(())
    }

    /// For a contender whose boxes are made in stock: what is started before the clock. How long it took is
    /// the quantity `prepare`, a row of its own.
    ///
    /// # Errors
    /// The sample then fails with this error.
    fn stock(&mut self, _site: &Site, _start: &Start) -> Result<Option<Launch>> {
        Ok(None)
    }

    /// Does what is needed per instance and says what to start. Inside the clock.
    ///
    /// # Errors
    /// The sample then fails with this error.
    fn launch(&mut self, site: &Site, start: &Start) -> Result<Launch>;

    /// Whether it can make boxes that have the first mechanisms only, for the ladder.
    fn climbs(&self) -> bool {
        false
    }

    /// As [`launch`](Self::launch), for a box without the mechanisms beyond `rung` of the ladder.
    ///
    /// # Errors
    /// As `launch`; and always for a contender that does not [climb](Self::climbs).
    fn launch_until(&mut self, _site: &Site, _start: &Start, rung: &str) -> Result<Launch> {
        anyhow::bail!("{} cannot leave out the mechanisms beyond {rung}", self.name())
    }

    /// How its boxes get a network; `launch_linked` connects them.
    fn wiring(&self) -> Wiring {
        match self.description().class {
            Class::Process => Wiring::NotAsked,
            _ => Wiring::LeftOut("nobody has said how its boxes are connected"),
        }
    }

    /// As [`launch`](Self::launch), for a box that is connected to a bridge and connects to the lab itself. The link
    /// is there when what is launched is started.
    ///
    /// # Errors
    /// As `launch`; and always for a contender whose [`wiring`](Self::wiring) is none.
    fn launch_linked(&mut self, _site: &Site, _start: &Start, link: &Link) -> Result<Launch> {
        anyhow::bail!("{} cannot be connected to {}", self.name(), link.port)
    }

    /// Whether its boxes are machines that can be given another size of RAM.
    fn has_a_size(&self) -> bool {
        false
    }

    /// As [`launch`](Self::launch), for a machine with so many MiB of RAM.
    ///
    /// # Errors
    /// As `launch`; and always where it has no size.
    fn launch_sized(&mut self, _site: &Site, _start: &Start, mib: u32) -> Result<Launch> {
        anyhow::bail!("{} cannot be given {mib} MiB", self.name())
    }

    /// Whether its boxes are machines whose RAM the kernel may merge with that of others (KSM).
    fn can_merge(&self) -> bool {
        false
    }

    /// As [`launch`](Self::launch), for a machine whose RAM is marked for that.
    ///
    /// # Errors
    /// As `launch`; and always where it [cannot](Self::can_merge).
    fn launch_mergeable(&mut self, _site: &Site, _start: &Start) -> Result<Launch> {
        anyhow::bail!("{} has no memory that the kernel may merge", self.name())
    }

    /// Whether it starts boxes of an image that it is given; why not, in words.
    ///
    /// # Errors
    /// Where it does not.
    fn takes_images(&self) -> Result<(), &'static str> {
        Err("nobody has said how it is given an image")
    }

    /// Makes of an image what its boxes are started from. Once for each, untimed.
    ///
    /// # Errors
    /// When that cannot be made.
    fn take_image(&mut self, _site: &Site, _image: &Image) -> Result<()> {
        Ok(())
    }

    /// As [`launch`](Self::launch), for a box of an image that it has [taken](Self::take_image).
    ///
    /// # Errors
    /// As `launch`; and always where it [takes none](Self::takes_images).
    fn launch_image(&mut self, _site: &Site, _start: &Start, image: &Image) -> Result<Launch> {
        anyhow::bail!("{} cannot be given the image {}", self.name(), image.name)
    }

    /// Whether what it keeps of images and their boxes lies where the lab can weigh it: the ways in which it can keep
    /// them, where there are several. Or why not, in words.
    ///
    /// # Errors
    /// Where it does not.
    fn keeps_images(&self) -> Result<&'static [&'static str], &'static str> {
        Err("it keeps no images of its own")
    }

    /// Where it keeps this image, and all boxes.
    fn keeps_in(&self, _site: &Site, _image: &Image) -> Vec<PathBuf> {
        Vec::new()
    }

    /// How it fetches images over a network; why it does not, in words.
    ///
    /// # Errors
    /// Where it does not.
    fn fetches(&self) -> Result<&dyn Fetches, &'static str> {
        Err("nobody has said how it fetches an image")
    }

    /// What is undone after such a box, beside its [`teardown`](Self::teardown).
    fn undo_image(&self, _site: &Site, _start: &Start) -> Vec<Undo> {
        Vec::new()
    }

    /// The link that its next box has: the box connects to the lab after READY, and has not started before that.
    fn link(&self) -> Option<&Link> {
        None
    }

    /// As [`launch`](Self::launch), for a start that is watched (the measure `spans`): with all that this
    /// contender can tell of it by itself. The files that it is told in are below the site's boxes.
    ///
    /// # Errors
    /// As `launch`.
    fn launch_watched(&mut self, site: &Site, start: &Start) -> Result<Launch> {
        self.launch(site, start)
    }

    /// What its runtime noted of a watched start, in a file.
    fn marks(&self, _site: &Site, _start: &Start) -> Vec<Mark> {
        Vec::new()
    }

    /// For a box that is resumed and said READY long ago, right after its launch: what the lab waits for instead.
    fn resumption(&mut self) -> Option<Resumption> {
        None
    }

    /// The command line to print for one instance.
    fn command(&mut self, site: &Site) -> Vec<String>;

    /// Where a client that leaves the box running writes the box's process id.
    fn pid_file(&self, _site: &Site, _start: &Start) -> Option<PathBuf> {
        None
    }

    /// The directory in which the lab makes FIFOs, for a box whose tool hands no descriptor through; it is
    /// called after [`launch`](Self::launch), which makes it.
    fn fifos(&self, _site: &Site, _start: &Start) -> Option<PathBuf> {
        None
    }

    /// Whether its standard input and output have to be a terminal: the lab then makes a pseudo terminal.
    fn wants_a_terminal(&self) -> bool {
        false
    }

    /// Whether its boxes are started by a daemon, and so are no descendants of what the lab starts.
    fn is_served(&self) -> bool {
        false
    }

    /// The process id of such a box. Outside the clock.
    ///
    /// # Errors
    /// When it cannot be told.
    fn served_process(&self, _site: &Site, _start: &Start) -> Result<u32> {
        anyhow::bail!("{} is served by no daemon", self.name())
    }

    /// CPU time so far of helpers that serve all its boxes, with the boxes themselves, ns; `None` where there are none.
    fn helpers_cpu(&self, _site: &Site) -> Option<Result<u64>> {
        None
    }

    /// The cgroup, as a path within each hierarchy, that all its boxes are in, with the helpers that serve them; `None`
    /// where each box has one of the site's own, or none.
    fn served_in(&self, _site: &Site) -> Option<Result<String>> {
        None
    }

    /// Starts an engine of the lab's own anew where it has ended by itself; its boxes are ended then, too. Whether it
    /// had ended.
    ///
    /// # Errors
    /// When it does not start again.
    fn revive(&mut self, _site: &Site) -> Result<bool> {
        Ok(false)
    }

    /// Takes away what [`prepare`](Self::prepare) made outside the site, and ends what it started.
    ///
    /// # Errors
    /// When something stays.
    fn finish(&mut self, _site: &Site) -> Result<()> {
        Ok(())
    }

    /// How the box is taken down once its process has ended. Inside teardown's clock.
    fn teardown(&self, _site: &Site, _start: &Start) -> Vec<Undo> {
        Vec::new()
    }

    /// How whatever is left of an instance in any state is taken away.
    fn rescue(&self, site: &Site, start: &Start) -> Vec<Undo> {
        self.teardown(site, start)
    }

    /// Paths that may exist while the instance does and must not afterwards.
    fn leaves(&self, _site: &Site, _start: &Start) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Looks for the cause of a failure where only this contender knows to look.
    fn diagnose(&self, _site: &Site, _start: &Start) -> Option<(Failure, String)> {
        None
    }

    /// What one more of its boxes takes of what the kernel counts; asked after [`probe`](Self::probe).
    fn needs(&self) -> Needs {
        Needs::of(self.description().class)
    }

    /// Whether its boxes can be kept running while others are started.
    fn can_be_held(&self) -> bool {
        true
    }

    /// After this time a start is given up.
    fn deadline(&self) -> Duration {
        Duration::from_secs(10)
    }
}

/// All contenders, in the order in which tables show them.
pub fn all() -> Result<Vec<Box<dyn Contender>>> {
    let mut all: Vec<Box<dyn Contender>> = vec![
        Box::new(hand_loop::HandLoop),
        Box::new(process::PlainProcess),
        Box::new(floor::Floor::default()),
        Box::new(floor::FloorConfined::default()),
        Box::new(tare_lib::TareLib),
        Box::new(tare_pool::TarePool),
        Box::new(tare::Tare::default()),
        Box::new(runc::Runc::default()),
        Box::new(crun::Crun::default()),
        Box::new(crun::CrunWrapper::default()),
        Box::new(youki::Youki::default()),
        Box::new(runsc::Runsc::default()),
        Box::new(bwrap::Bwrap::default()),
        Box::new(nspawn::Nspawn::default()),
        Box::new(docker::Docker::default()),
        Box::new(podman::Podman::default()),
        Box::new(containerd::Containerd::default()),
        Box::new(qemu::Qemu::baseline()),
        Box::new(qemu_tuned::new()),
        Box::new(qemu_microvm::new()),
        Box::new(qemu_restore::QemuRestore::default()),
        Box::new(qemu_nano::QemuNano::default()),
        Box::new(qemu_distro::QemuDistro::default()),
        Box::new(firecracker::new()),
        Box::new(cloud_hypervisor::new()),
    ];
    all.extend(fake::from_environment()?);
    Ok(all)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// A start as it is printed on a command line that stands for all instances.
fn example() -> Start {
    Start { id: "ID".into(), nonce: "NONCE".into() }
}
