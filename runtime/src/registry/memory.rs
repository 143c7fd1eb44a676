//! A stranger's answer without an end must not fill the host's memory.
//!
//! Blobs go to files as they come, within what was promised of them. But manifests, tokens and error messages are
//! gathered in memory by the library below us, however long they are. So somebody looks how large we have become, and
//! stops the work: it is in the same thread, so that what fills the memory lets it look.
//!
//! Man page: proc(5), "statm". Look at it: `grep VmHWM /proc/$(pgrep tare-runtime-re)/status`

use std::time::Duration;

use crate::Failure;

/// Ten times what is needed. Unpacking is counted too: it takes 32 MiB at most, for zstd.
const MOST: u64 = 128 << 20;
const PAGE: u64 = 4096;
/// In this time a registry on the same host sends some ten megabytes.
const LOOK: Duration = Duration::from_millis(10);

/// Returns when this process has become too large.
pub(crate) async fn exceeded() -> Failure {
    loop {
        tokio::time::sleep(LOOK).await;
        match resident() {
            Ok(bytes) if bytes <= MOST => {}
            Ok(_) => {
                let most = MOST >> 20;
                return format!("the registry's answer has no end: more than {most} MiB of it, stopped")
                    .into();
            }
            Err(error) => return format!("/proc/self/statm: {error}").into(),
        }
    }
}

fn resident() -> std::io::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages = text.split(' ').nth(1).and_then(|field| field.parse::<u64>().ok());
    pages.map(|pages| pages * PAGE).ok_or_else(|| std::io::Error::other("no number of pages in it"))
}
