//! From a registry into the store: a manifest, and of what it names only what is not there.
//!
//! Man page: the OCI distribution specification, "Pull". Look at it: `tare-runtime pull NAME:TAG; tare-runtime images`

use futures_util::stream::{self, StreamExt, TryStreamExt};
use oci_spec::distribution::Reference;
use tare_runtime::image::{Arrival, Budget, Image, Missing, Store};

use crate::Failure;
use crate::progress::Progress;
use crate::remote::{RegistryOperation, Remote};
use crate::transfer::Transfer;

/// As many layers at once as other tools take: a registry far away sends one slowly.
const AT_ONCE: usize = 3;

/// Pulls, and returns the name with the digest of what it means now.
pub(crate) async fn pull(
    store: &Store,
    name: &str,
    budget: Budget,
    transfer: &Transfer,
) -> Result<String, Failure> {
    let mut arrival = store.arrival(name, budget)?;
    let name: Reference = arrival.name().parse()?;
    let remote = Remote::new(&name, transfer, RegistryOperation::Pull).await?;
    let progress = Progress::new();
    remote.greet().await?;
    let mut next = name.clone();
    while let Some(digest) = arrival.manifest(remote.manifest(&next).await?)? {
        next = name.clone_with_digest(digest);
    }
    let missing = arrival.missing()?;
    let fetching = missing.iter().map(|piece| fetch(&remote, &arrival, piece, &progress));
    stream::iter(fetching).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    let image = complete(arrival, &progress).await?;
    let tag = name.tag().map(|tag| format!(":{tag}")).unwrap_or_default();
    Ok(format!("{}/{}{tag}@{}", name.registry(), name.repository(), image.digest))
}

async fn fetch(
    remote: &Remote,
    arrival: &Arrival,
    piece: &Missing,
    progress: &Progress,
) -> Result<(), Failure> {
    let digest = piece.digest();
    let line = progress.bytes(&digest, piece.size);
    let mut receiving = arrival.receive(piece)?;
    let mut blob = remote.blob(&digest).await?;
    while let Some(bytes) = blob.next().await? {
        receiving.write(&bytes)?;
        line.more(bytes.len());
    }
    Ok(receiving.finish()?)
}

/// In a thread of its own, so that signals are heard.
async fn complete(arrival: Arrival, progress: &Progress) -> Result<Image, Failure> {
    let _line = progress.work("unpacking");
    Ok(tokio::task::spawn_blocking(move || arrival.complete()).await??)
}
