//! Against Debian's registry: what others pushed is pulled, and what is pushed here others pull.

use std::path::Path;

use crate::common::{Lab, entries};
use crate::server::{self, Server, must, refused};

/// Half-made images and pieces of them.
fn half_made(lab: &Lab) -> Vec<std::path::PathBuf> {
    entries(&lab.root().join(".images/incoming")).into_iter().filter(|path| path.is_dir()).collect()
}

#[test]
fn what_skopeo_pushed_is_pulled_by_name_and_by_digest_and_runs() {
    let Some(lab) = Lab::new() else { return };
    let Some(registry) = Server::start(&lab.path().join("registry")) else { return };
    let (layout, digest) = server::image(&lab, "hello");
    let name = registry.name("me/it:1");
    server::put(&layout, &name);
    let pulled = lab.command(&["pull", &name]).output().expect("it starts");
    assert_eq!(String::from_utf8_lossy(&pulled.stdout), format!("{name}@{digest}\n"));
    assert!(pulled.status.success() && pulled.stderr.is_empty(), "{pulled:?}");
    let run = |name: &str| must(&lab, &["run", "--cgroup-parent", &lab.parent, name]);
    assert_eq!(run(&name), "hello");
    let images = must(&lab, &["images", "--json"]);
    assert!(images.contains(&digest) && images.contains(&name), "{images}");
    assert!(half_made(&lab).is_empty());

    let by_digest = registry.name(&format!("me/it@{digest}"));
    assert_eq!(must(&lab, &["pull", &by_digest]), by_digest);
    assert_eq!(run(&by_digest), "hello");
    // All that was there already: only the manifest came.
    assert_eq!(registry.sent().len(), 3);
    for (name, why) in [("me/it:2", "(404)"), ("you/it:1", "(404)")] {
        let error = refused(&lab, &["pull", &registry.name(name)]);
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
        let before = registry.sent().len();
        must(&lab, &["pull", &name]);
        // The configuration and two layers; of the second the base is there.
        assert_eq!(registry.sent().len() - before, if words == "one" { 3 } else { 2 });
        assert_eq!(must(&lab, &["run", "--cgroup-parent", &lab.parent, &name]), words);
    }
    assert_eq!(entries(&lab.root().join(".images/layers")).len(), 3);
    // What both need stays until both are gone.
    must(&lab, &["rm", &registry.name("me/it:one")]);
    assert_eq!(must(&lab, &["run", "--cgroup-parent", &lab.parent, &registry.name("me/it:two")]), "two");
    must(&lab, &["rm", &registry.name("me/it:two")]);
    for name in ["layers", "blobs", "names"] {
        assert!(entries(&lab.root().join(".images").join(name)).is_empty(), "{name}");
    }
}

#[test]
fn without_the_part_that_talks_to_registries_it_says_how_to_get_it() {
    let Some(lab) = Lab::new() else { return };
    let alone = lab.path().join("tare-runtime");
    std::fs::copy(Path::new(env!("CARGO_BIN_EXE_tare-runtime")), &alone).expect("copy");
    let output =
        std::process::Command::new(&alone).args(["pull", "127.0.0.1:1/it:1"]).output().expect("it starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("tare-runtime-registry is missing") && error.contains("cargo build"), "{error}");
}
