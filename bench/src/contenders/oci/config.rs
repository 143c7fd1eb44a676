//! The bundle's config.json (OCI runtime specification): the common box in the words of a runtime that takes
//! bundles. It is our runtime's own profile, with this instance's command, place and limits.

use serde_json::{Value, json};

use crate::contenders::{CPUS, HOSTNAME, MEMORY, PIDS, search_path, text};
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
