//! A registry that lies: each lie is refused in words that say which, in time, in little memory, and nothing is left.

use std::io::{self, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::Lab;
use crate::layout::{self, Layer, plain};
use crate::liar::{Liar, Request, Stock, answer, endless, silence};
use crate::server::{command, left, must, refused};

type Answer = Box<dyn Fn(&Request, &mut TcpStream, &Stock) -> io::Result<()> + Send + Sync>;

/// A small image.
pub(crate) fn stock(lab: &Lab) -> Stock {
    let place = lab.path().join("layout");
    layout::write(
        &place,
        &[plain(Layer::new().file("a", "a")), plain(Layer::new().file("b", &"b".repeat(4000)))],
    );
    let index = std::fs::read(place.join("index.json")).expect("index");
    let index: serde_json::Value = serde_json::from_slice(&index).expect("json");
    Stock::of(&place, index["manifests"][0]["digest"].as_str().expect("digest"))
}

/// The error of a pull from one that answers so, held against memory and time.
fn pull_from(lab: &Lab, stock: &Stock, lie: Answer, more: &[&str]) -> (Liar, String) {
    let stock = stock.clone();
    let liar = Liar::start(move |request, stream| lie(request, stream, &stock));
    let name = liar.name("me/it:1");
    let pull = command(lab, &[&["pull", &name], more].concat());
    let mut limited = Command::new("prlimit");
    limited.arg(format!("--data={}", 400 << 20)).arg(pull.get_program()).args(pull.get_args());
    limited.env("HOME", lab.path());
    let began = Instant::now();
    let error = refused(&mut limited);
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}: {error}", began.elapsed());
    assert!(error.contains(&name) && error.len() < 700 && !error.contains('\u{1b}'), "{error}");
    assert_eq!(left(lab), Vec::<std::path::PathBuf>::new(), "{error}");
    (liar, error)
}

/// Lies when a path contains this, and is honest otherwise.
fn at(
    place: &'static str,
    lie: impl Fn(&mut TcpStream, &Stock) -> io::Result<()> + Send + Sync + 'static,
) -> Answer {
    Box::new(move |request, stream, stock| {
        let meant = match place {
            "layer" => request.path.ends_with(&stock.layer),
            place => request.path.contains(place),
        };
        if meant { lie(stream, stock) } else { stock.honest(request, stream) }
    })
}

#[test]
fn what_is_not_what_was_promised_is_refused() {
    let Some(lab) = Lab::new() else { return };
    let stock = stock(&lab);
    let cases: Vec<(&str, Answer, &str)> = vec![
        (
            "another content",
            at("layer", |stream, stock| {
                answer(stream, "200 OK", "", &vec![b'x'; stock.blobs[&stock.layer].len()])
            }),
            "it has another content",
        ),
        (
            "a shorter one",
            at("layer", |stream, stock| answer(stream, "200 OK", "", &stock.blobs[&stock.layer][..100])),
            "it ends after 100 bytes",
        ),
        (
            "a longer one",
            at("layer", |stream, stock| {
                answer(stream, "200 OK", "", &vec![0; stock.blobs[&stock.layer].len() + 1])
            }),
            "more bytes come than",
        ),
        ("one without an end", at("layer", |stream, _| endless(stream, "200 OK")), "more bytes come than"),
        (
            "one that breaks off",
            at("layer", |stream, _| {
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")?;
                stream.write_all(&[0; 100])
            }),
            "the connection ends in the middle",
        ),
        (
            "an error without an end",
            at("layer", |stream, _| endless(stream, "404 Not Found")),
            "the registry's answer has no end",
        ),
        ("a manifest without an end", at("/manifests/", |stream, _| endless(stream, "200 OK")), "has no end"),
        (
            "a manifest of five megabytes",
            at("/manifests/", |stream, _| answer(stream, "200 OK", "", &vec![b' '; 5 << 20])),
            "its manifest is of 5242880 bytes, more than 4194304",
        ),
        (
            "no manifest",
            at("/manifests/", |stream, _| answer(stream, "200 OK", "", b"<html>")),
            "its manifest",
        ),
        (
            "a manifest of another digest than it says itself",
            at("/manifests/", |stream, stock| {
                let other = format!("Docker-Content-Digest: {}\r\n", stock.layer);
                answer(stream, "200 OK", &other, &stock.manifest)
            }),
            "another content comes",
        ),
        ("no HTTP", at("/v2/", |stream, _| stream.write_all(b"SSH-2.0-hello\r\n\r\n")), "invalid HTTP"),
        (
            "words that move a cursor",
            at("/manifests/", |stream, _| {
                answer(stream, "500 Oops", "", "\u{1b}[2J\u{1b}[31mdead\r\n\u{7}".repeat(1000).as_bytes())
            }),
            "it answers 500: [2J[31mdead",
        ),
        ("not for everybody", at("/manifests/", |stream, _| answer(stream, "403 No", "", b"no")), "(403)"),
        ("credentials", at("layer", |stream, _| answer(stream, "401 Who", "", b"")), "(401"),
        (
            "from one address to another",
            at("layer", |stream, stock| {
                let again = format!("Location: /again/{}\r\n", stock.layer);
                answer(stream, "307 There", &again, b"")
            }),
            "from one address to another",
        ),
    ];
    for (what, lie, why) in cases {
        // None of these is silent, however busy this machine is.
        let (_, error) = pull_from(&lab, &stock, lie, &["--timeout", "30"]);
        assert!(error.contains(why), "{what}: {error}");
    }
}

#[test]
fn what_is_no_image_for_this_machine_is_refused_before_anything_of_it_comes() {
    let Some(lab) = Lab::new() else { return };
    let stock = stock(&lab);
    let size = stock.manifest.len();
    let entry = |machine: &str| {
        json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": stock.layer, "size": size,
            "platform": { "os": "linux", "architecture": machine }
        })
    };
    let index = |entries: &[serde_json::Value]| {
        let kind = "application/vnd.oci.image.index.v1+json";
        stock.changed(|manifest| {
            *manifest = json!({ "schemaVersion": 2, "mediaType": kind, "manifests": entries });
        })
    };
    let mut other = entry("amd64");
    other["digest"] = json!(format!("sha256:{}", "ab".repeat(32)));
    let layers = |size: u64| stock.changed(|manifest| manifest["layers"][1]["size"] = json!(size));
    let bytes = stock.blobs[&stock.layer].len().to_string();
    for (changed, why, more) in [
        (index(&[entry("arm64"), entry("riscv64")]), "of 2 images in it none is for linux/amd64: ", &[][..]),
        (index(&[entry("amd64"), other]), "(choose one by its digest, NAME@DIGEST): sha256:", &[]),
        // What the index promises is the layer, and the index comes again.
        (index(&[entry("amd64")]), "another content", &[]),
        (
            stock.changed(|it| it["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json")),
            "helm.config.v1+json (is it a chart",
            &[],
        ),
        (stock.changed(|it| it["schemaVersion"] = json!(1)), "schema 1", &[]),
        (stock.changed(|it| it["layers"][0]["digest"] = json!("sha256:../../../etc/passwd")), "digest", &[]),
        (layers(u64::MAX), "as they come already", &[]),
        (layers(64 << 30), "as they come already", &[]),
        (stock.changed(|it| it["config"]["size"] = json!(u64::MAX)), "its configuration is larger", &[]),
        (stock.changed(|it| it["layers"][0]["mediaType"] = json!("text/plain")), "which is no layer's", &[]),
        (stock.changed(|it| it["layers"] = json!(vec![it["layers"][0].clone(); 2000])), "2000 layers", &[]),
        (stock.clone(), "(raise --max-size if you trust it)", &["--max-size", &bytes]),
    ] {
        let (liar, error) = pull_from(&lab, &changed, Box::new(|r, s, stock| stock.honest(r, s)), more);
        assert!(error.contains(why), "{why}: {error}");
        assert!(liar.requests().iter().all(|request| !request.path.contains("/blobs/")), "{why}");
    }
}

#[test]
fn a_registry_that_hangs_is_given_up_and_a_slow_one_is_not() {
    let Some(lab) = Lab::new() else { return };
    let stock = stock(&lab);
    for place in ["/v2/", "/manifests/", "layer"] {
        let began = Instant::now();
        let (_, error) = pull_from(&lab, &stock, at(place, |stream, _| silence(stream)), &["--timeout", "1"]);
        assert!(error.contains("nothing comes for 1 s"), "{place}: {error}");
        assert!(began.elapsed() < Duration::from_secs(60), "{place}: {:?}", began.elapsed());
    }
    let half = at("layer", |stream, stock| {
        let blob = &stock.blobs[&stock.layer];
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", blob.len())?;
        stream.write_all(&blob[..100])?;
        silence(stream)
    });
    let (_, error) = pull_from(&lab, &stock, half, &["--timeout", "1"]);
    assert!(error.contains("nothing comes for 1 s") && error.contains(&stock.layer), "{error}");

    let slow = stock.clone();
    let liar = Liar::start(move |request, stream| {
        if !request.path.ends_with(&slow.layer) {
            return slow.honest(request, stream);
        }
        let blob = &slow.blobs[&slow.layer];
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", blob.len())?;
        for piece in blob.chunks(blob.len() / 6 + 1) {
            std::thread::sleep(Duration::from_millis(400));
            stream.write_all(piece)?;
        }
        Ok(())
    });
    let began = Instant::now();
    must(&lab, &["pull", "--timeout", "1", &liar.name("me/it:1")]);
    assert!(began.elapsed() > Duration::from_millis(2000), "it was not slow");
}

#[test]
fn only_the_registry_is_asked_and_only_it_is_told_who_we_are() {
    let Some(lab) = Lab::new() else { return };
    let stock = stock(&lab);
    let elsewhere = Liar::start(|_, stream| answer(stream, "404 Not Found", "", b""));
    // Where a manifest says that a layer lies elsewhere, nobody goes there.
    let url = format!("http://{}/inside", elsewhere.address);
    let foreign = stock.changed(|it| it["layers"][1]["urls"] = json!([url]));
    let gone = at("layer", |stream, _| answer(stream, "404 Not Found", "", b""));
    let (_, error) = pull_from(&lab, &foreign, gone, &[]);
    assert!(error.contains("(404)"), "{error}");
    assert!(elsewhere.requests().is_empty(), "{:?}", elsewhere.requests());

    // A token is for the registry alone; where it sends us for a blob, we go without.
    let (there, layer) = (elsewhere.address.clone(), stock.layer.clone());
    let lie: Answer = Box::new(move |request, stream, stock| {
        let known = request.head.to_ascii_lowercase().contains("authorization: bearer a-token");
        if request.path.starts_with("/token") {
            return answer(stream, "200 OK", "", br#"{"token": "a-token"}"#);
        }
        if !known {
            let host = request.field("host").unwrap_or_default();
            let realm = format!("WWW-Authenticate: Bearer realm=\"http://{host}/token\",service=\"it\"\r\n");
            return answer(stream, "401 Who", &realm, b"");
        }
        if request.path.ends_with(&layer) {
            return answer(stream, "307 There", &format!("Location: http://{there}/blob\r\n"), b"");
        }
        stock.honest(request, stream)
    });
    let (liar, error) = pull_from(&lab, &stock, lie, &[]);
    assert!(error.contains("(404)"), "{error}");
    assert!(
        liar.requests()
            .iter()
            .any(|request| request.path.starts_with("/token?scope=repository%3Ame%2Fit%3Apull"))
    );
    let asked = elsewhere.requests();
    assert!(asked.iter().any(|request| request.path == "/blob"), "{asked:?}");
    assert!(
        asked.iter().all(|request| !request.head.to_ascii_lowercase().contains("authorization")),
        "{asked:?}"
    );
}
