//! `tare-lib`: our runtime called as a library, by the spawner.

use std::path::PathBuf;

use anyhow::{Context, Result};
use tare_reports::document::{Accel, Class};

use tare_runtime::image::{Budget, Store};

use super::{Contender, Description, Found, Missing, Surroundings, Undo, Wiring, runtime_spec};
use crate::image::Image;
use crate::network::Link;
use crate::site::{Site, Start};
use crate::spawner::protocol::{Launch, Made};

/// See the file's head.
#[derive(Debug)]
pub struct TareLib;

impl Contender for TareLib {
    fn description(&self) -> Description<'_> {
        Description {
            name: "tare-lib",
            class: Class::Container,
            about: "our runtime, called as a library",
            inside_clock: &[
                "pipes",
                "request to the spawner",
                "state directory",
                "cgroups and limits",
                "namespaces",
                "overlay",
                "mounts and devices",
                "pivot_root",
                "capabilities and seccomp",
                "exec",
                "READY",
            ],
            ..Description::default()
        }
    }

    fn probe(&mut self, surroundings: &Surroundings) -> Result<Found, Missing> {
        let mut not_expressed = Vec::new();
        if !surroundings.root {
            not_expressed.push("rootless: limits are recorded as not applied where no cgroup is ours".into());
        }
        Ok(Found { version: env!("CARGO_PKG_VERSION").into(), accel: Accel::Native, not_expressed })
    }

    fn launch(&mut self, site: &Site, start: &Start) -> Result<Launch> {
        Ok(Launch::Library { root: site.runtime_root(), spec: Box::new(runtime_spec(site, start)?) })
    }

    fn takes_images(&self) -> Result<(), &'static str> {
        Ok(())
    }

    fn take_image(&mut self, site: &Site, image: &Image) -> Result<()> {
        Ok(store(site).import(&image.archive(), &image.tag, Budget::default()).map(drop)?)
    }

    fn launch_image(&mut self, site: &Site, start: &Start, image: &Image) -> Result<Launch> {
        let known = store(site).image(&image.tag)?;
        let said = known.config.config().clone().unwrap_or_default();
        let spec = tare_runtime::Spec {
            args: image.argv(&start.nonce, &[]),
            env: said.env().clone().unwrap_or_default(),
            cwd: said.working_dir().clone().unwrap_or_else(|| "/".into()).into(),
            rootfs: known.layers.first().cloned().context("the image has no layers")?,
            layers: known.layers,
            ..runtime_spec(site, start)?
        };
        Ok(Launch::Library { root: site.runtime_root(), spec: Box::new(spec) })
    }

    fn launch_watched(&mut self, site: &Site, start: &Start) -> Result<Launch> {
        let spec = tare_runtime::Spec { marks: true, ..runtime_spec(site, start)? };
        Ok(Launch::Library { root: site.runtime_root(), spec: Box::new(spec) })
    }

    fn wiring(&self) -> Wiring {
        Wiring::Namespace
    }

    fn launch_linked(&mut self, site: &Site, start: &Start, link: &Link) -> Result<Launch> {
        let mut spec = runtime_spec(site, start)?;
        spec.network = tare_runtime::network::Network::Namespace(link.namespace()?.clone());
        spec.args.push(link.connect());
        Ok(Launch::Library { root: site.runtime_root(), spec: Box::new(spec) })
    }

    fn climbs(&self) -> bool {
        true
    }

    fn launch_until(&mut self, site: &Site, start: &Start, rung: &str) -> Result<Launch> {
        let spec = tare_runtime::Spec { until: Some(rung.into()), ..runtime_spec(site, start)? };
        Ok(Launch::Library { root: site.runtime_root(), spec: Box::new(spec) })
    }

    fn command(&mut self, _: &Site) -> Vec<String> {
        vec!["tare_runtime::Runtime::run".into(), "(library call, in the spawner)".into()]
    }

    fn teardown(&self, site: &Site, start: &Start) -> Vec<Undo> {
        vec![Undo::Made(Made::Library { root: site.runtime_root(), id: start.id.clone() })]
    }

    fn leaves(&self, site: &Site, start: &Start) -> Vec<PathBuf> {
        let mut paths = site.cgroups_of(start);
        paths.push(site.runtime_root().join(&start.id));
        paths
    }
}

/// Its images, beside the boxes.
fn store(site: &Site) -> Store {
    Store::new(site.runtime_root().join(".images-of-the-library"))
}
