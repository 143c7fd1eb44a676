//! A registry that a test writes: it answers each request with whatever bytes the test wants. The real one does not
//! misbehave.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// What came: method, path, and the whole head.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) head: String,
}

/// See the file's head. It ends with what it is.
pub(crate) struct Liar {
    pub(crate) address: String,
    requests: Arc<Mutex<Vec<Request>>>,
    over: Arc<AtomicBool>,
}

impl Liar {
    /// Listens, and answers by `answer`, which writes all of an answer; then the connection is closed.
    pub(crate) fn start(
        answer: impl Fn(&Request, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("address").to_string();
        let liar = Self { address, requests: Arc::default(), over: Arc::default() };
        let (requests, over, answer) = (Arc::clone(&liar.requests), Arc::clone(&liar.over), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(mut stream), requests, answer) = (stream, Arc::clone(&requests), Arc::clone(&answer))
                else {
                    return;
                };
                std::thread::spawn(move || {
                    let Some(request) = read(&mut stream) else { return };
                    requests.lock().expect("lock").push(request.clone());
                    // Whoever is answered may go before the end.
                    let _ = answer(&request, &mut stream);
                });
            }
        });
        liar
    }

    /// A full name in it.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// What was asked so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("lock").clone()
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(&self.address);
    }
}

fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    Some(Request { path: head.split(' ').nth(1)?.to_owned(), head })
}

impl Request {
    /// The value of a field of its head.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Reads what comes behind the head: who does not is gone before the other side has said all.
    pub(crate) fn body(&self, stream: &mut TcpStream) -> io::Result<Vec<u8>> {
        let length = self.field("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        stream.read_exact(&mut body).map(|()| body)
    }
}

/// An answer.
pub(crate) fn answer(stream: &mut TcpStream, status: &str, more: &str, body: &[u8]) -> io::Result<()> {
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{more}\r\n", body.len())?;
    stream.write_all(body)
}

/// A body without an end.
pub(crate) fn endless(stream: &mut TcpStream, status: &str) -> io::Result<()> {
    write!(stream, "HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")?;
    let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
    loop {
        stream.write_all(&chunk)?;
    }
}

/// Nothing more, until the other side goes.
pub(crate) fn silence(stream: &mut TcpStream) -> io::Result<()> {
    stream.read(&mut [0]).map(drop)
}

/// What an honest registry would have.
#[derive(Clone, Debug)]
pub(crate) struct Stock {
    pub(crate) manifest: Vec<u8>,
    pub(crate) blobs: BTreeMap<String, Vec<u8>>,
    /// The digest of the last layer.
    pub(crate) layer: String,
}

impl Stock {
    /// An image out of a layout.
    pub(crate) fn of(layout: &Path, manifest: &str) -> Self {
        let mut blobs = BTreeMap::new();
        for path in crate::common::entries(&layout.join("blobs/sha256")) {
            let name = path.file_name().expect("name").to_str().expect("utf-8");
            blobs.insert(format!("sha256:{name}"), fs::read(&path).expect("blob"));
        }
        let manifest = blobs.remove(manifest).expect("manifest");
        let parsed: serde_json::Value = serde_json::from_slice(&manifest).expect("json");
        let layers = parsed["layers"].as_array().expect("layers");
        let layer = layers.last().expect("a layer")["digest"].as_str().expect("digest").to_owned();
        Self { manifest, blobs, layer }
    }

    /// The same with another manifest.
    pub(crate) fn changed(&self, change: impl Fn(&mut serde_json::Value)) -> Self {
        let mut manifest = serde_json::from_slice(&self.manifest).expect("json");
        change(&mut manifest);
        Self { manifest: manifest.to_string().into_bytes(), ..self.clone() }
    }

    /// What an honest registry answers.
    pub(crate) fn honest(&self, request: &Request, stream: &mut TcpStream) -> io::Result<()> {
        let last = request.path.rsplit('/').next().unwrap_or_default();
        match self.blobs.get(last) {
            _ if request.path == "/v2/" => answer(stream, "200 OK", "", b"{}"),
            _ if request.path.contains("/manifests/") => {
                let kind = "Content-Type: application/vnd.oci.image.manifest.v1+json\r\n";
                answer(stream, "200 OK", kind, &self.manifest)
            }
            Some(blob) => answer(stream, "200 OK", "", blob),
            None => answer(stream, "404 Not Found", "", b""),
        }
    }
}
