//! Asking for a manifest, with what opened the door and nothing else.
//!
//! The library that we use for all the rest begins this question with another one, for a way in, and goes wherever the
//! answer sends it: a registry that has let us in as anybody could still send us inside this host (see `entrance.rs`).
//!
//! Man page: the OCI distribution specification, "Pulling manifests". Look at it:
//! `curl -i -H 'Accept: application/vnd.oci.image.manifest.v1+json' http://HOST/v2/NAME/manifests/TAG`

use oci_client::errors::{DigestError, OciDistributionError, OciEnvelope};
use oci_client::manifest::{
    IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE,
    OCI_IMAGE_MEDIA_TYPE,
};
use oci_client::secrets::RegistryAuth;
use reqwest::header::{ACCEPT, HeaderMap};
use reqwest::{Client, RequestBuilder, StatusCode, Url};
use sha2::{Digest as _, Sha256};

/// What we understand.
const KINDS: [&str; 4] = [
    OCI_IMAGE_MEDIA_TYPE,
    IMAGE_MANIFEST_MEDIA_TYPE,
    OCI_IMAGE_INDEX_MEDIA_TYPE,
    IMAGE_MANIFEST_LIST_MEDIA_TYPE,
];
const DIGEST: &str = "Docker-Content-Digest";

/// The manifest at an address, as it is.
///
/// # Errors
/// What the registry says instead; it is another content than it says itself.
pub(crate) async fn fetch(
    client: &Client,
    auth: &RegistryAuth,
    url: Url,
) -> Result<Vec<u8>, OciDistributionError> {
    let asked = client.get(url.clone()).header(ACCEPT, KINDS.join(", "));
    let answer = authorized(asked, auth).send().await?;
    let (status, said) = (answer.status(), digest(answer.headers()));
    let bytes = answer.bytes().await?;
    if status != StatusCode::OK {
        return Err(refusal(status, &bytes, url));
    }
    let is: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let is = format!("sha256:{is}");
    match said.filter(|said| said.starts_with("sha256:") && *said != is) {
        Some(expected) => Err(DigestError::VerificationError { expected, actual: is }.into()),
        None => Ok(bytes.into()),
    }
}

/// A question with what opened the door.
pub(crate) fn authorized(asked: RequestBuilder, auth: &RegistryAuth) -> RequestBuilder {
    match auth {
        RegistryAuth::Bearer(token) => asked.bearer_auth(token),
        RegistryAuth::Basic(user, password) => asked.basic_auth(user, Some(password)),
        RegistryAuth::Anonymous => asked,
    }
}

/// What the registry says that it sends.
fn digest(headers: &HeaderMap) -> Option<String> {
    headers.get(DIGEST).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// What a registry says instead of what was asked for.
pub(crate) fn refusal(status: StatusCode, bytes: &[u8], url: Url) -> OciDistributionError {
    let (code, url) = (status.as_u16(), url.to_string());
    match serde_json::from_slice::<OciEnvelope>(bytes) {
        Ok(envelope) if status.is_client_error() && status != StatusCode::UNAUTHORIZED => {
            OciDistributionError::RegistryError { envelope, url }
        }
        _ => {
            let message = String::from_utf8_lossy(bytes).into_owned();
            OciDistributionError::ServerError { code, url, message }
        }
    }
}
