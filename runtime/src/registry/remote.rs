//! One repository of a registry, as far as we talk to it: with deadlines, and with errors that say who did what.
//!
//! TLS, unless the registry is on this host, where nobody is between, or the caller wants it otherwise. A registry that
//! says nothing for a while is given up; one that is slow is not.
//!
//! Man page: the OCI distribution specification. Look at it: `strace -f -e trace=network tare-runtime pull NAME:TAG`

use std::fs::File;
use std::future::Future;
use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use oci_client::Client;
pub(crate) use oci_client::RegistryOperation;
use oci_client::client::{ClientConfig, ClientProtocol, LayerDescriptor, SizedStream};
use oci_client::errors::{DigestError, OciDistributionError};
use oci_client::secrets::RegistryAuth;
use oci_spec::distribution::Reference;
use reqwest::{Body, Url};
use tare_runtime::image::Piece;
use tokio::sync::Mutex;

use crate::credentials::{self, Credentials};
use crate::entrance::{Entrance, Wrong};
use crate::mount::{self, Mounted};
use crate::progress::Line;
use crate::refusal::Refusal;
use crate::transfer::Transfer;
use crate::{Failure, manifest};

/// Time to reach it at all.
const CONNECT: Duration = Duration::from_secs(10);
/// As much of a file is read at once.
const CHUNK: usize = 256 << 10;

/// What we are to whom we ask.
pub(crate) const USER_AGENT: &str = concat!("tare-runtime/", env!("CARGO_PKG_VERSION"));

/// See the file's head.
pub(crate) struct Remote {
    name: Reference,
    what: RegistryOperation,
    /// Without TLS.
    plain: bool,
    connect: Duration,
    credentials: Option<Credentials>,
    door: Mutex<Option<Door>>,
    idle: Duration,
    refusal: Refusal,
}

/// A way in, as long as it is open.
#[derive(Clone)]
struct Door {
    client: Client,
    /// For what the other does not ask as it is to be asked.
    http: reqwest::Client,
    auth: RegistryAuth,
    until: Option<Instant>,
}

impl Remote {
    /// The repository of `name`. Nothing is sent yet.
    ///
    /// # Errors
    /// What is wrong with the credentials' files.
    pub(crate) async fn new(
        name: &Reference,
        transfer: &Transfer,
        what: RegistryOperation,
    ) -> Result<Self, Failure> {
        // An error says that somebody else chose one already: nobody does.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let registry = name.resolve_registry().to_owned();
        let credentials = credentials::find(name).await?;
        let from = credentials.as_ref().map(|it| it.from.display().to_string());
        Ok(Self {
            plain: transfer.plain_http || is_here(&registry),
            connect: CONNECT.min(Duration::from_secs(transfer.timeout)),
            idle: Duration::from_secs(transfer.timeout),
            refusal: Refusal { registry, credentials: from },
            door: Mutex::new(None),
            name: name.clone(),
            what,
            credentials,
        })
    }

    /// Reaches the registry, and gets a token where it gives any.
    ///
    /// # Errors
    /// Why it cannot be reached, or that it refuses us.
    pub(crate) async fn greet(&self) -> Result<(), Failure> {
        self.door().await.map(drop)
    }

    /// Whom to ask. Tokens are good for minutes, and a large image takes longer; one that is soon over is renewed.
    async fn door(&self) -> Result<Door, Failure> {
        let mut door = self.door.lock().await;
        if let Some(open) = door.as_ref().filter(|door| door.until.is_none_or(|until| Instant::now() < until))
        {
            return Ok(open.clone());
        }
        let registry = self.name.resolve_registry();
        let entrance = Entrance {
            name: &self.name,
            plain: self.plain,
            here: is_here(registry),
            connect: self.connect,
            credentials: self.credentials.as_ref(),
        };
        let what = "a way in";
        let pass = match tokio::time::timeout(self.idle, entrance.pass(self.what)).await {
            Ok(Ok(pass)) => pass,
            Ok(Err(Wrong::Client(error))) => return Err(self.refusal.words(what, &error)),
            Ok(Err(Wrong::Told(why))) => return Err(self.refusal.told(what, &why)),
            Err(_) => return Err(self.refusal.silence(what, self.idle)),
        };
        let except = if self.plain { vec![registry.to_owned()] } else { Vec::new() };
        let config = ClientConfig {
            protocol: ClientProtocol::HttpsExcept(except),
            connect_timeout: Some(self.connect),
            user_agent: USER_AGENT,
            use_monolithic_push: true,
            ..ClientConfig::default()
        };
        let client = Client::try_from(config).map_err(|error| self.refusal.words("the client", &error))?;
        let http = reqwest::Client::builder().user_agent(USER_AGENT).connect_timeout(self.connect).build();
        let http = http.map_err(|error| self.refusal.words("the client", &error.into()))?;
        if !matches!(pass.auth, RegistryAuth::Anonymous) {
            // Who has nothing asks no more either; else it would, before each question, and go where it is sent.
            client.store_auth_if_needed(registry, &pass.auth).await;
        }
        let until = pass.good_for.map(|time| Instant::now() + time * 9 / 10);
        Ok(door.insert(Door { client, http, auth: pass.auth, until }).clone())
    }

    /// The manifest that this name leads to, as it is.
    pub(crate) async fn manifest(&self, name: &Reference) -> Result<Vec<u8>, Failure> {
        let what = name.digest().unwrap_or("its manifest");
        let Door { http, auth, .. } = self.door().await?;
        let which = name.digest().or(name.tag()).unwrap_or("latest");
        let url = self.url(&format!("manifests/{which}")).map_err(|why| self.refusal.told(what, &why))?;
        self.in_time(what, manifest::fetch(&http, &auth, url)).await
    }

    /// Something of the repository's.
    fn url(&self, what: &str) -> Result<Url, String> {
        let (registry, repository) = (self.name.resolve_registry(), self.name.repository());
        let scheme = if self.plain { "http" } else { "https" };
        Url::parse(&format!("{scheme}://{registry}/v2/{repository}/{what}"))
            .map_err(|error| error.to_string())
    }

    /// Begins to fetch a blob. Addresses that a manifest names beside the registry are not asked: that is how one is sent
    /// to places that only this host reaches.
    pub(crate) async fn blob(&self, digest: &str) -> Result<Blob<'_>, Failure> {
        let layer = LayerDescriptor { digest, urls: &None };
        let Door { client, .. } = self.door().await?;
        let stream = self.in_time(digest, client.pull_blob_stream(&self.name, &layer)).await?;
        Ok(Blob { stream, remote: self, digest: digest.to_owned() })
    }

    /// Whether it has this blob.
    pub(crate) async fn has(&self, digest: &str) -> Result<bool, Failure> {
        let Door { client, .. } = self.door().await?;
        self.in_time(digest, client.blob_exists(&self.name, digest)).await
    }

    /// Whether it has this blob in another of its repositories, and takes it from there: it need not, and then it is sent.
    pub(crate) async fn mount(&self, from: &Reference, digest: &str) -> Result<Mounted, Failure> {
        if from.registry() != self.name.registry() || from.repository() == self.name.repository() {
            return Ok(Mounted::Not);
        }
        let Door { http, auth, .. } = self.door().await?;
        let uploads = self.url("blobs/uploads/").map_err(|why| self.refusal.told(digest, &why))?;
        let mounting = mount::mount(&http, &auth, uploads, digest, from.repository());
        Ok(self.in_time(digest, mounting).await.unwrap_or(Mounted::Not))
    }

    /// Sends a blob from its file, to where that was begun, if it was. It is given up when nothing of it moves for a
    /// while.
    pub(crate) async fn put_blob(
        &self,
        piece: &Piece,
        line: Line,
        begun: Option<Url>,
    ) -> Result<(), Failure> {
        let wrong = |error: io::Error| format!("{}: {error}", piece.path.display());
        let mut file = File::open(&piece.path).map_err(wrong)?;
        let moved = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&moved);
        let mut next = move || {
            let mut bytes = vec![0; CHUNK];
            let count = file.read(&mut bytes)?;
            bytes.truncate(count);
            counted.fetch_add(count as u64, Ordering::Relaxed);
            line.more(count);
            Ok::<_, OciDistributionError>(bytes)
        };
        let chunks = std::iter::from_fn(move || match next() {
            Ok(bytes) if bytes.is_empty() => None,
            Ok(bytes) => Some(Ok(bytes.into())),
            Err(error) => Some(Err(error)),
        });
        let chunks = futures_util::stream::iter(chunks);
        let Door { client, http, auth, .. } = self.door().await?;
        let registry = self.url("").map_err(|why| self.refusal.told(&piece.digest, &why))?;
        let sending = async {
            let (digest, size) = (&piece.digest, piece.size);
            match begun {
                Some(place) => {
                    let bytes = Body::wrap_stream(chunks);
                    mount::upload(&http, &auth, (registry, place), (digest, size), bytes).await
                }
                None => client.push_blob_stream(&self.name, chunks, digest, Some(size)).await.map(drop),
            }
        };
        let mut sending = std::pin::pin!(sending);
        loop {
            let before = moved.load(Ordering::Relaxed);
            match tokio::time::timeout(self.idle, &mut sending).await {
                Ok(sent) => return sent.map_err(|error| self.refusal.words(&piece.digest, &error)),
                Err(_) if moved.load(Ordering::Relaxed) > before => {}
                Err(_) => return Err(self.refusal.silence(&piece.digest, self.idle)),
            }
        }
    }

    /// Sends a manifest, and sees that the name means it now.
    pub(crate) async fn put_manifest(
        &self,
        bytes: &[u8],
        media_type: &str,
        digest: &str,
    ) -> Result<(), Failure> {
        let what = "its manifest";
        let kind = media_type.parse().map_err(|_| format!("its manifest is of type {media_type:?}"))?;
        let Door { client, .. } = self.door().await?;
        self.in_time(what, client.push_manifest_raw(&self.name, bytes.to_vec(), kind)).await?;
        if self.manifest(&self.name).await? == bytes {
            return Ok(());
        }
        let registry = &self.refusal.registry;
        Err(format!(
            "the registry {registry} has made another manifest of it than that which was sent, {digest}"
        )
        .into())
    }

    async fn in_time<T>(
        &self,
        what: &str,
        work: impl Future<Output = Result<T, OciDistributionError>>,
    ) -> Result<T, Failure> {
        match tokio::time::timeout(self.idle, work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(self.refusal.words(what, &error)),
            Err(_) => Err(self.refusal.silence(what, self.idle)),
        }
    }
}

/// A blob on its way.
pub(crate) struct Blob<'a> {
    stream: SizedStream,
    remote: &'a Remote,
    digest: String,
}

impl Blob<'_> {
    /// The next bytes, `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<impl Deref<Target = [u8]> + use<>>, Failure> {
        let Remote { idle, refusal, .. } = self.remote;
        match tokio::time::timeout(*idle, self.stream.stream.next()).await {
            Ok(None) => Ok(None),
            Ok(Some(Ok(bytes))) => Ok(Some(bytes)),
            // At the end, if the digest is another one. Whoever receives looks too, and can say more.
            Ok(Some(Err(error))) if error.get_ref().is_some_and(|it| it.is::<DigestError>()) => Ok(None),
            Ok(Some(Err(error))) => Err(refusal.words(&self.digest, &error.into())),
            Err(_) => Err(refusal.silence(&self.digest, *idle)),
        }
    }
}

/// Whether it is on this host: a name that always means it, or an address of the loopback interface.
pub(crate) fn is_here(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    host == "localhost" || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_host_is_here() {
        for here in ["127.0.0.1", "127.9.9.9:5000", "localhost:1", "localhost"] {
            assert!(is_here(here), "{here}");
        }
        for elsewhere in
            ["10.0.0.1:5000", "localhost.example", "127.0.0.1.example:5000", "127.example", "128.0.0.1"]
        {
            assert!(!is_here(elsewhere), "{elsewhere}");
        }
    }
}
