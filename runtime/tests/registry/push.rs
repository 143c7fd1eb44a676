//! Pushes to a registry that breaks off, refuses, hangs or sends us elsewhere.

use std::io;
use std::net::TcpStream;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::common::Lab;
use crate::layout::{self, Layer, digest, plain};
use crate::liar::{Liar, Request, answer, silence};
use crate::server::{command, must, refused};

const UPLOAD: &str = "/v2/me/it/blobs/uploads/";

/// An image in the store under the name "it:1", and the digest of its manifest.
fn image(lab: &Lab) -> String {
    named(lab, "it:1")
}

fn named(lab: &Lab, name: &str) -> String {
    let place = lab.path().join("layout");
    layout::write(&place, &[plain(Layer::new().file("b", &"b".repeat(400_000)))]);
    let printed = must(lab, &["import", place.to_str().expect("utf-8"), name]);
    printed.rsplit(' ').next().expect("a digest").to_owned()
}

/// What a registry answers that has nothing yet; uploads go to `to`.
fn takes_all(request: &Request, stream: &mut TcpStream, to: &str) -> io::Result<()> {
    let body = request.body(stream)?;
    match request.head.split(' ').next().unwrap_or_default() {
        _ if request.path == "/v2/" => answer(stream, "200 OK", "", b"{}"),
        "POST" => answer(stream, "202 Accepted", &format!("Location: {to}one\r\n"), b""),
        "PUT" => {
            let place = format!("Location: {UPLOAD}done\r\nDocker-Content-Digest: {}\r\n", digest(&body));
            answer(stream, "201 Created", &place, b"")
        }
        _ => answer(stream, "404 Not Found", "", b""),
    }
}

/// The same of a manifest, which it names then.
fn names(manifest: &Mutex<Vec<u8>>, request: &Request, stream: &mut TcpStream) -> io::Result<()> {
    let mut manifest = manifest.lock().expect("lock");
    if request.head.starts_with("PUT ") {
        *manifest = request.body(stream)?;
        return answer(stream, "201 Created", "Location: /v2/me/it/manifests/1\r\n", b"");
    }
    answer(stream, "200 OK", "", &manifest)
}

fn is_upload(request: &Request) -> bool {
    request.head.starts_with("PUT ") && !request.path.contains("/manifests/")
}

/// The error of a push to one that answers uploads so. Nothing may be called an image there.
fn push_to(lab: &Lab, lie: fn(&Request, &mut TcpStream) -> io::Result<()>) -> String {
    let liar = Liar::start(move |request, stream| match is_upload(request) {
        true => lie(request, stream),
        false => takes_all(request, stream, UPLOAD),
    });
    let began = Instant::now();
    let error = refused(&mut command(lab, &["push", "--timeout", "1", "it:1", &liar.name("me/it:1")]));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}: {error}", began.elapsed());
    let named = liar.requests().into_iter().find(|it| it.head.starts_with("PUT ") && !is_upload(it));
    assert!(named.is_none(), "a manifest of what is not there: {named:?}");
    error
}

#[test]
fn an_upload_that_fails_is_told_and_nothing_is_named() {
    let Some(lab) = Lab::new() else { return };
    image(&lab);
    for (lie, why) in [
        ((|_, _| Ok(())) as fn(&Request, &mut TcpStream) -> io::Result<()>, "closed"),
        (|_, stream| answer(stream, "500 Full", "", b"no space left"), "it answers 500: no space left"),
        (|_, stream| answer(stream, "403 No", "", b"not you"), "(403): not you"),
        (|_, stream| answer(stream, "200 OK", "", b""), "201"),
        (
            |request, stream| {
                request.body(stream)?;
                silence(stream)
            },
            "nothing comes for 1 s",
        ),
    ] {
        let error = push_to(&lab, lie);
        assert!(error.contains(why) && error.contains("asked for sha256:"), "{why}: {error}");
    }
}

/// Stores behind a registry take blobs under addresses that are signed; who we are is none of their business.
#[test]
fn where_a_registry_sends_a_blob_nobody_is_told_who_we_are() {
    let Some(lab) = Lab::new() else { return };
    let manifest = image(&lab);
    let known = Mutex::new(Vec::new());
    let elsewhere = Liar::start(|request, stream| takes_all(request, stream, UPLOAD));
    let to = format!("http://{}/up/", elsewhere.address.replace("127.0.0.1", "localhost"));
    let liar = Liar::start(move |request, stream| {
        if request.field("authorization").is_none() {
            return answer(stream, "401 Who", "WWW-Authenticate: Basic realm=\"it\"\r\n", b"");
        }
        if !request.path.contains("/manifests/") {
            return takes_all(request, stream, &to);
        }
        names(&known, request, stream)
    });
    crate::entrance::log_in(&lab, &[(&liar.address, crate::entrance::PASSWORD)]);
    let name = liar.name("me/it:1");
    let other = liar.name("you/it:1");
    named(&lab, &other);
    // Asked for an upload, or for a blob of another repository.
    for from in ["it:1", &other] {
        assert_eq!(must(&lab, &["push", from, &name]), format!("{name}@{manifest}"));
    }
    let sent = elsewhere.requests();
    assert!(sent.len() == 4 && sent.iter().all(is_upload), "a layer and a configuration each: {sent:?}");
    assert!(sent.iter().all(|request| request.field("authorization").is_none()), "{sent:?}");
}

/// What it begins when it does not take a blob from another of its repositories is what the blob is sent to.
#[test]
fn an_upload_that_a_registry_begins_by_itself_is_the_one_that_comes() {
    let Some(lab) = Lab::new() else { return };
    let manifest = Mutex::new(Vec::new());
    let liar = Liar::start(move |request, stream| match request.path.contains("/manifests/") {
        true => names(&manifest, request, stream),
        false => takes_all(request, stream, UPLOAD),
    });
    let digest = named(&lab, &liar.name("you/it:1"));
    let to = liar.name("me/it:1");
    assert_eq!(must(&lab, &["push", &liar.name("you/it:1"), &to]), format!("{to}@{digest}"));
    let all = liar.requests();
    let begun: Vec<&Request> = all.iter().filter(|it| it.head.starts_with("POST ")).collect();
    assert!(begun.len() == 2 && begun.iter().all(|it| it.path.contains("from=you%2Fit")), "{all:?}");
    assert_eq!(all.iter().filter(|it| is_upload(it)).count(), 2, "a layer and a configuration: {all:?}");
}

#[test]
fn a_registry_that_names_another_manifest_than_was_sent_is_not_believed() {
    let Some(lab) = Lab::new() else { return };
    let manifest = image(&lab);
    let liar = Liar::start(move |request, stream| match request.head.split(' ').next() {
        Some("GET") if request.path.contains("/manifests/") => answer(stream, "200 OK", "", b"{}"),
        _ => takes_all(request, stream, UPLOAD),
    });
    let error = refused(&mut command(&lab, &["push", "it:1", &liar.name("me/it:1")]));
    assert!(error.contains("has made another manifest of it") && error.contains(&manifest), "{error}");
}
