//! The bundle's config.json (OCI runtime specification): the common box in the words of a runtime that takes
//! bundles. It is our runtime's own profile, with this instance's command, place and limits.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::contenders::{CPUS, HOSTNAME, MEMORY, PIDS, search_path, text};
use crate::image::Image;
use crate::network::Link;
use crate::site::{Site, Start};

/// The period in which a CPU quota is counted, microseconds; the kernel's default.
const PERIOD: i64 = 100_000;

/// The bundle of one instance.
pub(super) fn config(site: &Site, start: &Start) -> Value {
    let mut config = tare_runtime::oci::default_config(None);
    config["process"]["args"] = json!(["/payload", start.nonce]);
    config["process"]["env"] = json!([search_path()]);
    config["root"] = json!({"path": text(&site.instance(start).join("merged")), "readonly": false});
    config["hostname"] = json!(HOSTNAME);
    let linux = &mut config["linux"];
    linux["cgroupsPath"] = json!(format!("{}/{}", site.cgroup_parent(), start.id));
    let resources = &mut linux["resources"];
    resources["memory"] = json!({"limit": MEMORY, "swap": MEMORY});
    resources["pids"] = json!({"limit": PIDS});
    resources["cpu"] = json!({"quota": i64::from(CPUS) * PERIOD, "period": PERIOD});
    config
}

/// Has the box join the network namespace that was made for it.
pub(super) fn link(config: &mut Value, link: &Link) -> Result<()> {
    let namespace = text(link.namespace()?);
    let network = config["linux"]["namespaces"]
        .as_array_mut()
        .and_then(|all| all.iter_mut().find(|it| it["type"] == "network"))
        .context("the bundle has no network namespace")?;
    network["path"] = json!(namespace);
    let args = config["process"]["args"].as_array_mut().context("the bundle has no command")?;
    args.push(json!(link.connect()));
    Ok(())
}

/// What an image says of its boxes.
pub(super) fn image(config: &mut Value, start: &Start, image: &Image) {
    config["process"]["args"] = json!(image.argv(&start.nonce, &[]));
    config["process"]["env"] = json!(image.env);
    config["process"]["cwd"] = json!(image.cwd);
}
