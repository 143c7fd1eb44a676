//! From the store to a registry: what it lacks of the blobs, and then the manifest, which makes an image of them.
//!
//! Man page: the OCI distribution specification, "Push". Look at it: `tare-runtime push LOCAL REMOTE`, and once more

use futures_util::stream::{self, StreamExt, TryStreamExt};
use oci_spec::distribution::Reference;
use tare_runtime::image::{Piece, Store};

use crate::Failure;
use crate::mount::Mounted;
use crate::progress::Progress;
use crate::remote::{RegistryOperation, Remote};
use crate::transfer::Transfer;

/// As many blobs at once as when they are fetched.
const AT_ONCE: usize = 3;

/// Pushes, and returns the name with the digest of what it means now.
pub(crate) async fn push(
    store: &Store,
    local: &str,
    remote: &str,
    transfer: &Transfer,
) -> Result<String, Failure> {
    let image = store.departure(local)?;
    let name: Reference = remote.parse()?;
    if name.digest().is_some() {
        return Err("a digest is not given, it is computed: push under a tag".into());
    }
    let from: Reference = image.name.parse()?;
    let remote = Remote::new(&name, transfer, RegistryOperation::Push).await?;
    let progress = Progress::new();
    remote.greet().await?;
    let sending = image.pieces.iter().map(|piece| send(&remote, &from, piece, &progress));
    stream::iter(sending).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    remote.put_manifest(&image.manifest, &image.media_type, &image.digest).await?;
    let tag = name.tag().map(|tag| format!(":{tag}")).unwrap_or_default();
    Ok(format!("{}/{}{tag}@{}", name.registry(), name.repository(), image.digest))
}

/// Sends a blob, unless it is there or lies in another repository of the same registry.
async fn send(remote: &Remote, from: &Reference, piece: &Piece, progress: &Progress) -> Result<(), Failure> {
    if remote.has(&piece.digest).await? {
        return Ok(());
    }
    let begun = match remote.mount(from, &piece.digest).await? {
        Mounted::There => return Ok(()),
        Mounted::Begun(place) => Some(place),
        Mounted::Not => None,
    };
    let line = progress.bytes(&piece.digest, piece.size);
    remote.put_blob(piece, line, begun).await
}
