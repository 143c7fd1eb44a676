//! A registry that is not on this host: TLS, and what goes wrong with it.
//!
//! To us it is elsewhere: at an address that is not the loopback interface's own, in a network namespace where nothing
//! else is.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::{Lab, on_path, skip};
use crate::server::{self, Server, command, refused};

/// For documentation, by RFC 5737: nobody's.
const ADDRESS: &str = "192.0.2.1";

/// A certificate for the address that signs itself.
fn certificate(place: &Path) {
    let config = format!(
        "[req]\ndistinguished_name = name\nx509_extensions = more\nprompt = no\n[name]\nCN = tare\n[more]\n\
         basicConstraints = critical, CA:FALSE\nsubjectAltName = IP:{ADDRESS}\n"
    );
    fs::write(place.join("config"), config).expect("write");
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    openssl.args(["-days", "2", "-config", "config", "-keyout", "key.pem", "-out", "cert.pem"]);
    let made = openssl.current_dir(place).output().expect("openssl");
    assert!(made.status.success(), "{made:?}");
}

/// The same command, where the registry is.
fn there(registry: &Server, command: &Command) -> Command {
    let mut inside = Command::new("nsenter");
    inside.args(["--net", "--target", &registry.pid().to_string()]);
    inside.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => inside.env(name, value),
            None => inside.env_remove(name),
        };
    }
    inside
}

#[test]
fn a_registry_elsewhere_is_asked_by_tls_and_must_be_known() {
    let Some(lab) = Lab::new() else { return };
    if !on_path("openssl") {
        return skip("registry", "there is no openssl (apt-get install openssl)");
    }
    let place = lab.path().join("tls");
    fs::create_dir(&place).expect("mkdir");
    certificate(&place);
    let at = |name: &str| place.join(name).display().to_string();
    let tls = format!("{{certificate: {}, key: {}}}", at("cert.pem"), at("key.pem"));
    let Some(secret) = Server::start_at(&place, ADDRESS, &format!("tls: {tls}"), "") else { return };
    let (layout, digest) = server::image(&lab, "far");
    let import =
        lab.command(&["import", layout.to_str().expect("utf-8"), "far:1"]).output().expect("it starts");
    assert!(import.status.success(), "{import:?}");
    let name = secret.name("me/far:1");
    let error = refused(&mut there(&secret, &command(&lab, &["push", "far:1", &name])));
    assert!(error.contains("TLS: ") && error.contains("SSL_CERT_FILE"), "{error}");
    for line in [&["push", "far:1", &name][..], &["pull", &name]] {
        let output = there(&secret, &command(&lab, line)).env("SSL_CERT_FILE", at("cert.pem")).output();
        let output = output.expect("it starts");
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{name}@{digest}\n"), "{output:?}");
    }

    // Where nobody encrypts, that is asked for, or nothing is said.
    let Some(open) = Server::start_at(&lab.path().join("plain"), ADDRESS, "", "") else { return };
    let name = open.name("me/far:1");
    let error = refused(&mut there(&open, &command(&lab, &["push", "far:1", &name])));
    assert!(error.contains("does not speak TLS") && error.contains("--plain-http"), "{error}");
    assert_eq!(open.received(), 0);
    let output =
        there(&open, &command(&lab, &["push", "--plain-http", "far:1", &name])).output().expect("it starts");
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{name}@{digest}\n"), "{output:?}");
}
