//! A blob that lies in another repository of the same registry is taken from there, and does not travel.
//!
//! A registry need not do that: it may not have it there any more, or our token is not for that repository. It then begins
//! an upload instead, and keeps what belongs to that until it has come or somebody ends it, which many registries never do
//! by themselves. The library that we use for all the rest forgets where that upload is and begins another one; so
//! the blob is asked for here, and sent where it is awaited. (To end it is no way: Debian's registry then keeps a part.)
//!
//! Man page: the OCI distribution specification, "Mounting a blob from another repository". Look at it: push an image
//! under the name of a second repository, `tare-runtime push HOST/one:1 HOST/two:1`

use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use reqwest::{Body, Client, StatusCode, Url};

use crate::manifest::{authorized, refusal};

/// What became of the question.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mounted {
    /// It is there now.
    There,
    /// An upload was begun here.
    Begun(Url),
    /// Neither.
    Not,
}

/// Asks for it, at the address where uploads begin.
///
/// # Errors
/// What is between us.
pub(crate) async fn mount(
    client: &Client,
    auth: &RegistryAuth,
    mut uploads: Url,
    digest: &str,
    from: &str,
) -> Result<Mounted, OciDistributionError> {
    uploads.query_pairs_mut().append_pair("mount", digest).append_pair("from", from);
    let asked = client.post(uploads).header(CONTENT_LENGTH, 0);
    let answer = authorized(asked, auth).send().await?;
    let place = answer.headers().get(LOCATION).and_then(|place| place.to_str().ok());
    Ok(match (answer.status(), place.map(|place| answer.url().join(place))) {
        (StatusCode::CREATED, _) => Mounted::There,
        (StatusCode::ACCEPTED, Some(Ok(place))) => Mounted::Begun(place),
        _ => Mounted::Not,
    })
}

/// Sends a blob to where an upload was begun. Where that is not the registry, it is told nothing of us.
///
/// # Errors
/// What the registry says instead of having it.
pub(crate) async fn upload(
    client: &Client,
    auth: &RegistryAuth,
    (registry, mut place): (Url, Url),
    (digest, size): (&str, u64),
    bytes: Body,
) -> Result<(), OciDistributionError> {
    place.query_pairs_mut().append_pair("digest", digest);
    let sent = client.put(place.clone()).header(CONTENT_LENGTH, size).body(bytes);
    let sent = sent.header(CONTENT_TYPE, "application/octet-stream");
    let sent = if place.origin() == registry.origin() { authorized(sent, auth) } else { sent };
    let answer = sent.send().await?;
    match answer.status() {
        StatusCode::CREATED => Ok(()),
        status => Err(refusal(status, &answer.bytes().await?, place)),
    }
}
