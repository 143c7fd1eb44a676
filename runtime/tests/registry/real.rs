//! Against Debian's registry: what others pushed is pulled, and what is pushed here others pull.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::common::docker::Docker;
use crate::common::{Lab, entries};
use crate::layout::digest;
use crate::server::{self, Server, command, left, must, refused, skopeo};

fn run(lab: &Lab, name: &str) -> String {
    must(lab, &["run", "--cgroup-parent", &lab.parent, name])
}

#[test]
fn what_skopeo_pushed_is_pulled_by_tag_and_by_digest_and_runs() {
    let Some(lab) = Lab::new() else { return };
    let Some(registry) = Server::start(&lab.path().join("registry")) else { return };
    let (layout, digest) = server::image(&lab, "hello");
    let name = registry.name("me/it:1");
    server::put(&layout, &name);
    let pulled = command(&lab, &["pull", &name]).output().expect("it starts");
    assert_eq!(String::from_utf8_lossy(&pulled.stdout), format!("{name}@{digest}\n"));
    assert!(pulled.status.success() && pulled.stderr.is_empty(), "{pulled:?}");
    assert_eq!(run(&lab, &name), "hello");
    // What it printed means the same.
    assert_eq!(run(&lab, &format!("{name}@{digest}")), "hello");
    let other = digest.replace(|c: char| c.is_ascii_digit(), "e").replace("shaeee", "sha256");
    let error = refused(&mut command(&lab, &["run", &format!("{name}@{other}")]));
    assert!(error.contains("not in the store"), "{error}");
    let images = must(&lab, &["images", "--json"]);
    assert!(images.contains(&digest) && images.contains(&name), "{images}");

    let by_digest = registry.name(&format!("me/it@{digest}"));
    assert_eq!(must(&lab, &["pull", &by_digest]), by_digest);
    assert_eq!(run(&lab, &by_digest), "hello");
    // All that was there already: only the manifest came.
    assert_eq!(registry.sent(), 3);
    assert_eq!(left(&lab).len(), 2, "two names");
    must(&lab, &["rm", &format!("{name}@{digest}")]);
    assert_eq!(must(&lab, &["images", "--quiet"]), by_digest);
    for (name, why) in [("me/it:2", "(404)"), ("you/it:1", "(404)")] {
        let error = refused(&mut command(&lab, &["pull", &registry.name(name)]));
        assert!(error.contains(why) && error.contains(name), "{error}");
    }
}

#[test]
fn of_a_second_tag_that_shares_layers_only_the_new_ones_are_fetched() {
    let Some(lab) = Lab::new() else { return };
    let Some(registry) = Server::start(&lab.path().join("registry")) else { return };
    for words in ["one", "two"] {
        let (layout, _) = server::image(&lab, words);
        let name = registry.name(&format!("me/it:{words}"));
        server::put(&layout, &name);
        let before = registry.sent();
        must(&lab, &["pull", &name]);
        // The configuration and two layers; of the second the base is there.
        assert_eq!(registry.sent() - before, if words == "one" { 3 } else { 2 });
        assert_eq!(run(&lab, &name), words);
    }
    assert_eq!(entries(&lab.root().join(".images/layers")).len(), 3);
    // What both need stays until both are gone.
    must(&lab, &["rm", &registry.name("me/it:one")]);
    assert_eq!(run(&lab, &registry.name("me/it:two")), "two");
    must(&lab, &["rm", &registry.name("me/it:two")]);
    for name in ["layers", "blobs", "names"] {
        assert!(entries(&lab.root().join(".images").join(name)).is_empty(), "{name}");
    }
}

#[test]
fn what_is_pushed_here_skopeo_and_docker_pull_with_the_same_digests() {
    let Some(lab) = Lab::new() else { return };
    let Some(registry) = Server::start(&lab.path().join("registry")) else { return };
    let Some(docker) = Docker::start(&lab.path().join("docker")) else { return };
    let (layout, digest) = server::image(&lab, "pushed");
    must(&lab, &["import", layout.to_str().expect("utf-8"), "it:1"]);
    let name = registry.name("me/it:1");
    assert_eq!(must(&lab, &["push", "it:1", &name]), format!("{name}@{digest}"));
    assert_eq!(registry.received(), 3);

    let copy = lab.path().join("copy");
    let to = format!("oci:{}:1", copy.display());
    skopeo(&["copy", "--quiet", "--src-tls-verify=false", &format!("docker://{name}"), &to]);
    let blobs = |layout: &Path| {
        let names = entries(&layout.join("blobs/sha256")).into_iter();
        names
            .map(|path| path.file_name().expect("name").to_owned())
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(blobs(&copy), blobs(&layout));

    docker.must(&["pull", "--quiet", &name]);
    let digests = docker.must(&["image", "inspect", "--format", "{{.RepoDigests}}", &name]);
    assert!(digests.contains(&digest), "{digests}");
    assert_eq!(docker.must(&["run", "--rm", "--network", "none", &name]), "pushed");

    // Pulled again and pushed under another name it is the same, and what the registry has is not sent again.
    must(&lab, &["pull", &name]);
    for name in ["me/it:2", "you/other:1"].map(|name| registry.name(name)) {
        assert_eq!(must(&lab, &["push", &registry.name("me/it:1"), &name]), format!("{name}@{digest}"));
        assert_eq!(
            skopeo(&[
                "inspect",
                "--tls-verify=false",
                "--format",
                "{{.Digest}}",
                &format!("docker://{name}")
            ]),
            digest
        );
    }
    assert_eq!(registry.received(), 3);
    let error = refused(&mut command(&lab, &["push", "it:2", &registry.name("me/it:3")]));
    assert!(error.contains("it:2") && error.contains("not in the store"), "{error}");
}

#[test]
fn what_the_registry_does_not_take_from_another_repository_is_sent_and_no_upload_is_left() {
    let Some(lab) = Lab::new() else { return };
    let Some(registry) = Server::start(&lab.path().join("registry")) else { return };
    let (layout, digest) = server::image(&lab, "moved");
    // As if it had been pulled from there, and removed there since.
    let from = registry.name("me/it:1");
    must(&lab, &["import", layout.to_str().expect("utf-8"), &from]);
    let to = registry.name("you/it:1");
    assert_eq!(must(&lab, &["push", &from, &to]), format!("{to}@{digest}"));
    assert_eq!(registry.received(), 3);
    let place = lab.path().join("registry/data/docker/registry/v2/repositories/you/it");
    assert!(place.is_dir(), "{}", place.display());
    assert_eq!(entries(&place.join("_uploads")), Vec::<std::path::PathBuf>::new());
}

#[test]
fn what_was_no_image_of_a_registry_before_can_be_pushed_and_pulled_too() {
    let Some(lab) = Lab::new() else { return };
    let Some(registry) = Server::start(&lab.path().join("registry")) else { return };
    must(&lab, &["import", lab.image().to_str().expect("utf-8"), "plain:1"]);
    let name = registry.name("me/plain:1");
    let pushed = must(&lab, &["push", "plain:1", &name]);
    must(&lab, &["rm", "plain:1"]);
    assert_eq!(must(&lab, &["pull", &name]), pushed);
    let said = must(&lab, &["run", "--cgroup-parent", &lab.parent, &name, "--", "/bin/echo", "here"]);
    assert_eq!(said, "here");
}

#[test]
fn of_an_index_the_image_for_this_machine_is_taken() {
    let Some(lab) = Lab::new() else { return };
    let Some(registry) = Server::start(&lab.path().join("registry")) else { return };
    let (layout, ours) = server::image(&lab, "ours");
    // The same layers for another machine, and an index of both, as an image of the layout.
    let blobs = layout.join("blobs/sha256");
    let read = |digest: &str| fs::read(blobs.join(&digest[7..])).expect("blob");
    let write = |bytes: &[u8]| {
        fs::write(blobs.join(&digest(bytes)[7..]), bytes).expect("blob");
        json!({ "digest": digest(bytes), "size": bytes.len() })
    };
    let manifest: serde_json::Value = serde_json::from_slice(&read(&ours)).expect("json");
    let mut other = manifest.clone();
    let config =
        String::from_utf8(read(manifest["config"]["digest"].as_str().expect("digest"))).expect("utf-8");
    let config = write(config.replace("amd64", "arm64").as_bytes());
    other["config"]["digest"] = config["digest"].clone();
    other["config"]["size"] = config["size"].clone();
    let entry = |mut descriptor: serde_json::Value, machine: &str| {
        descriptor["mediaType"] = json!("application/vnd.oci.image.manifest.v1+json");
        descriptor["platform"] = json!({ "os": "linux", "architecture": machine });
        descriptor
    };
    let manifests =
        [entry(write(other.to_string().as_bytes()), "arm64"), entry(write(&read(&ours)), "amd64")];
    let kind = "application/vnd.oci.image.index.v1+json";
    let index = json!({ "schemaVersion": 2, "mediaType": kind, "manifests": manifests });
    let mut inner = write(index.to_string().as_bytes());
    inner["mediaType"] = json!(kind);
    let whole = inner["digest"].as_str().expect("digest").to_owned();
    fs::write(layout.join("index.json"), json!({ "schemaVersion": 2, "manifests": [inner] }).to_string())
        .expect("write");
    let name = registry.name("me/both:1");
    let from = format!("oci:{}", layout.display());
    skopeo(&["copy", "--all", "--quiet", "--dest-tls-verify=false", &from, &format!("docker://{name}")]);

    for (name, named) in
        [(name.clone(), name), (registry.name(&format!("me/both@{whole}")), registry.name("me/both"))]
    {
        assert_eq!(must(&lab, &["pull", &name]), format!("{named}@{ours}"));
        assert_eq!(run(&lab, &name), "ours");
    }
}

#[test]
fn without_the_part_that_talks_to_registries_it_says_how_to_get_it() {
    let Some(lab) = Lab::new() else { return };
    let alone = lab.path().join("tare-runtime");
    fs::copy(env!("CARGO_BIN_EXE_tare-runtime"), &alone).expect("copy");
    let mut pull = std::process::Command::new(&alone);
    let error = refused(pull.args(["pull", "127.0.0.1:1/it:1"]));
    assert!(error.contains("tare-runtime-registry is missing") && error.contains("cargo build"), "{error}");
}
