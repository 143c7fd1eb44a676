//! To whom we say who we are: a registry sends us about, and the password goes nowhere but where it belongs.

use std::fs;
use std::io;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::common::Lab;
use crate::hostile::stock;
use crate::liar::{Liar, Request, Stock, answer};
use crate::server::{command, left, must, refused};

/// "me:open:sesame" and "me:other" in base64.
pub(crate) const PASSWORD: &str = "bWU6b3BlbjpzZXNhbWU=";
const OTHER: &str = "bWU6b3RoZXI=";

pub(crate) fn log_in(lab: &Lab, hosts: &[(&str, &str)]) -> PathBuf {
    let file = lab.path().join("home/.docker/config.json");
    fs::create_dir_all(file.parent().expect("parent")).expect("mkdir");
    let auths: serde_json::Map<String, serde_json::Value> =
        hosts.iter().map(|(host, auth)| ((*host).to_owned(), json!({ "auth": auth }))).collect();
    fs::write(&file, json!({ "auths": auths }).to_string()).expect("write");
    file
}

fn is_told(request: &Request, what: &str) -> bool {
    request.field("authorization").is_some_and(|said| said.eq_ignore_ascii_case(what))
}

/// A registry that gives everything for the token "a-token", which is to be had at `realm`; `{}` there is its own address.
fn for_a_token(
    stock: &Stock,
    realm: &str,
    at_home: impl Fn(&mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
) -> Liar {
    let (stock, realm) = (stock.clone(), realm.to_owned());
    Liar::start(move |request, stream| {
        if request.path.starts_with("/token") {
            return at_home(stream);
        }
        if is_told(request, "bearer a-token") {
            return stock.honest(request, stream);
        }
        let host = request.field("host").unwrap_or_default();
        let realm = realm.replace("{}", host);
        answer(
            stream,
            "401 Who",
            &format!("WWW-Authenticate: Bearer realm=\"{realm}\",service=\"it\"\r\n"),
            b"",
        )
    })
}

fn a_token(stream: &mut TcpStream) -> io::Result<()> {
    answer(stream, "200 OK", "", br#"{"access_token": "a-token"}"#)
}

#[test]
fn a_token_servers_host_is_told_only_the_password_that_is_for_it() {
    let Some(lab) = Lab::new() else { return };
    let stock = stock(&lab);
    let elsewhere = Liar::start(|_, stream| a_token(stream));
    // The same machine, but nobody could know that by the name.
    let there = elsewhere.address.replace("127.0.0.1", "localhost");
    let liar = for_a_token(&stock, &format!("http://{there}/token"), a_token);
    let name = liar.name("me/it:1");

    let file = log_in(&lab, &[(&liar.address, PASSWORD)]);
    let error = refused(&mut command(&lab, &["pull", &name]));
    let why = format!(
        "its tokens are from localhost, and the credentials from {} are not for that host (log in there too",
        file.display()
    );
    assert!(error.contains(&why), "{error}");
    assert!(elsewhere.requests().is_empty(), "{:?}", elsewhere.requests());
    assert!(liar.requests().iter().all(|request| !request.head.contains(PASSWORD)), "{:?}", liar.requests());
    assert_eq!(left(&lab), Vec::<PathBuf>::new());

    // Who has a password there too means that.
    log_in(&lab, &[(&liar.address, PASSWORD), (&there, OTHER)]);
    must(&lab, &["pull", &name]);
    let asked = elsewhere.requests();
    assert!(!asked.is_empty() && asked.iter().all(|it| is_told(it, &format!("basic {OTHER}"))), "{asked:?}");

    // And who has none asks as everybody may.
    log_in(&lab, &[]);
    must(&lab, &["pull", &name]);
    let asked = elsewhere.requests().split_off(asked.len());
    assert!(!asked.is_empty() && asked.iter().all(|it| it.field("authorization").is_none()));

    // At its own address the registry may know it.
    let own = for_a_token(&stock, "http://{}/token", a_token);
    log_in(&lab, &[(&own.address, PASSWORD)]);
    must(&lab, &["pull", &own.name("me/it:1")]);
    let asked = own.requests();
    assert!(
        asked.iter().any(|it| it.path.starts_with("/token") && is_told(it, &format!("basic {PASSWORD}")))
    );
}

#[test]
fn who_sends_us_on_with_our_password_is_not_followed() {
    let Some(lab) = Lab::new() else { return };
    let stock = stock(&lab);
    let elsewhere = Liar::start(|_, stream| a_token(stream));
    let there = elsewhere.address.replace("127.0.0.1", "localhost");
    let send_on = move |stream: &mut TcpStream| {
        answer(stream, "307 There", &format!("Location: http://{there}/token\r\n"), b"")
    };
    let realm = for_a_token(&stock, "http://{}/token", send_on.clone());
    let door = Liar::start(move |_, stream| send_on(stream));
    for (liar, why) in [(&realm, "asked for a token, answers 307"), (&door, "it sends us to another host")] {
        log_in(&lab, &[(&liar.address, PASSWORD)]);
        let error = refused(&mut command(&lab, &["pull", &liar.name("me/it:1")]));
        assert!(error.contains(why), "{error}");
    }
    assert!(elsewhere.requests().is_empty(), "{:?}", elsewhere.requests());
}

#[test]
fn what_is_no_token_is_refused_in_words_and_a_token_servers_trouble_is_not_ours() {
    let Some(lab) = Lab::new() else { return };
    let stock = stock(&lab);
    for (status, body, why) in [
        ("200 OK", "<html>", "answers what is none"),
        ("200 OK", "{}", "answers what is none"),
        ("200 OK", r#"{"token": ""}"#, "answers what is none"),
        ("200 OK", r#"{"token": "a\r\nHost: b"}"#, "answers what is none"),
        ("503 Later", "", "asked for a token, answers 503"),
        ("401 Who", "", "none are known (401"),
    ] {
        let liar =
            for_a_token(&stock, "http://{}/token", move |stream| answer(stream, status, "", body.as_bytes()));
        let error = refused(&mut command(&lab, &["pull", &liar.name("me/it:1")]));
        assert!(error.contains(why), "{status} {body}: {error}");
    }
}

#[test]
fn a_token_that_is_over_before_the_image_is_there_is_renewed() {
    let Some(lab) = Lab::new() else { return };
    let stock = stock(&lab);
    let given = AtomicUsize::new(0);
    let liar = Liar::start(move |request, stream| {
        let now = given.load(Ordering::Relaxed);
        if request.path.starts_with("/token") {
            given.store(now + 1, Ordering::Relaxed);
            let token = json!({ "token": format!("number-{}", now + 1), "expires_in": 1 });
            return answer(stream, "200 OK", "", token.to_string().as_bytes());
        }
        let host = request.field("host").unwrap_or_default();
        if !is_told(request, &format!("bearer number-{now}")) {
            let realm = format!("WWW-Authenticate: Bearer realm=\"http://{host}/token\"\r\n");
            return answer(stream, "401 Who", &realm, b"");
        }
        if request.path.contains("/manifests/") {
            // It takes its time, and then its token is over.
            std::thread::sleep(Duration::from_millis(1200));
            given.store(now + 100, Ordering::Relaxed);
        }
        stock.honest(request, stream)
    });
    must(&lab, &["pull", &liar.name("me/it:1")]);
    let tokens = liar.requests().iter().filter(|request| request.path.starts_with("/token")).count();
    assert_eq!(tokens, 2);
}

#[test]
fn what_is_on_this_host_is_not_asked_by_a_proxy() {
    let Some(lab) = Lab::new() else { return };
    let stock = stock(&lab);
    let proxy = Liar::start(|_, stream| answer(stream, "404 Not Found", "", b""));
    let liar = Liar::start(move |request, stream| stock.honest(request, stream));
    let mut pull = command(&lab, &["pull", &liar.name("me/it:1")]);
    pull.env("http_proxy", format!("http://{}", proxy.address)).env("no_proxy", "example.com");
    let output = pull.output().expect("it starts");
    assert!(output.status.success(), "{output:?}");
    assert!(proxy.requests().is_empty(), "{:?}", proxy.requests());
}

#[test]
fn who_was_let_in_is_not_sent_elsewhere_for_a_token_after_that() {
    let Some(lab) = Lab::new() else { return };
    let stock = stock(&lab);
    let elsewhere = Liar::start(|_, stream| a_token(stream));
    let (there, asked) = (elsewhere.address.clone(), AtomicUsize::new(0));
    let liar = Liar::start(move |request, stream| {
        if request.path != "/v2/" || asked.fetch_add(1, Ordering::Relaxed) == 0 {
            return stock.honest(request, stream);
        }
        let realm = format!("WWW-Authenticate: Bearer realm=\"http://{there}/inside\"\r\n");
        answer(stream, "401 Who", &realm, b"")
    });
    must(&lab, &["pull", &liar.name("me/it:1")]);
    assert!(elsewhere.requests().is_empty(), "{:?}", elsewhere.requests());
}
