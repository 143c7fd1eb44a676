//! A registry that wants to know who we are.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::common::Lab;
use crate::server::{self, Server, command, must, refused};

/// Made by `htpasswd -nbBC 4 me open:sesame`: a password may hold what separates it from the name.
const HTPASSWD: &str = "me:$2y$04$eyFYEcCtKZN.Q66Rqv0o2OAVyUGjjDT8fe9IK2zDuKoSUkVm6kCx2\n";
/// "me:open:sesame" in base64, and the same with a wrong password.
const RIGHT: &str = "bWU6b3BlbjpzZXNhbWU=";
const WRONG: &str = "bWU6b3BlbjpzdW1hYw==";

fn write(path: &Path, content: &Value) {
    fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
    fs::write(path, content.to_string()).expect("write");
}

#[test]
fn who_logged_in_with_docker_or_podman_may_push_and_pull() {
    let Some(lab) = Lab::new() else { return };
    let place = lab.path().join("registry");
    fs::create_dir(&place).expect("mkdir");
    fs::write(place.join("htpasswd"), HTPASSWD).expect("write");
    let auth = format!("auth: {{htpasswd: {{realm: tare, path: {}}}}}", place.join("htpasswd").display());
    let Some(registry) = Server::start_with(&place, &auth) else { return };
    let (layout, digest) = server::image(&lab, "secret");
    must(&lab, &["import", layout.to_str().expect("utf-8"), "it:1"]);
    let name = registry.name("me/it:1");
    let (push, pull) = (["push", "it:1", &name], ["pull", &name]);
    for line in [&push[..], &pull] {
        let error = refused(&mut command(&lab, line));
        assert!(error.contains("none are known (401"), "{error}");
    }
    let entry = |auth: &str| json!({ "auths": { &registry.address: { "auth": auth } } });
    let file = lab.path().join("home/.docker/config.json");
    write(&file, &entry(WRONG));
    for line in [&push[..], &pull] {
        let error = refused(&mut command(&lab, line));
        assert!(error.contains("(401)") && error.contains(file.to_str().expect("utf-8")), "{error}");
        assert!(!error.contains("sumac") && !error.contains(WRONG), "{error}");
    }
    write(&file, &entry(RIGHT));
    assert_eq!(must(&lab, &push), format!("{name}@{digest}"));
    assert_eq!(must(&lab, &pull), format!("{name}@{digest}"));
    fs::remove_file(&file).expect("remove");

    let at = |name: &str| lab.path().join(name).display().to_string();
    write(&lab.path().join("own/config.json"), &entry(RIGHT));
    write(&lab.path().join("run/containers/auth.json"), &entry(RIGHT));
    write(&lab.path().join("config/containers/auth.json"), &entry(RIGHT));
    for (variable, value) in [
        ("DOCKER_CONFIG", at("own")),
        ("REGISTRY_AUTH_FILE", at("own/config.json")),
        ("XDG_RUNTIME_DIR", at("run")),
        ("XDG_CONFIG_HOME", at("config")),
    ] {
        let output = command(&lab, &pull).env(variable, &value).output().expect("it starts");
        assert!(output.status.success(), "{variable}: {output:?}");
    }
    // A helper that keeps the password.
    let helper = lab.path().join("own/docker-credential-test");
    let script = "#!/bin/sh\nread -r asked\n[ \"$1 $asked\" = \"get $REGISTRY\" ] || exit 1\n\
                  echo '{\"Username\": \"me\", \"Secret\": \"open:sesame\"}'\n";
    fs::write(&helper, script).expect("write");
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).expect("chmod");
    write(&lab.path().join("own/config.json"), &json!({ "credHelpers": { &registry.address: "test" } }));
    let path = format!("{}:{}", at("own"), std::env::var("PATH").expect("PATH"));
    let helped = || {
        let mut pull = command(&lab, &pull);
        pull.env("DOCKER_CONFIG", at("own")).env("PATH", &path);
        pull
    };
    let output = helped().env("REGISTRY", &registry.address).output().expect("it starts");
    assert!(output.status.success(), "{output:?}");
    let error = refused(helped().env("REGISTRY", "another"));
    assert!(error.contains("docker-credential-test has none for"), "{error}");

    // What cannot be understood is not passed over.
    fs::write(&file, format!("{{\"auths\": {{\"h\": {{\"auth\": \"{RIGHT}\"}}")).expect("write");
    let error = refused(&mut command(&lab, &pull));
    assert!(error.contains(file.to_str().expect("utf-8")) && error.contains("line 1"), "{error}");
    let error = refused(command(&lab, &pull).env("REGISTRY_AUTH_FILE", at("nowhere")));
    assert!(error.contains("nowhere") && !error.contains(RIGHT), "{error}");
}
