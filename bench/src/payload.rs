//! The programs that every box runs, compiled by `build.rs` from `payload/` and embedded here.

use sha2::{Digest, Sha256};

/// The payload: a static ELF program for x86_64 Linux. Identical bytes under every contender; its
/// arguments and commands are described in `payload/payload.rs`.
pub static PAYLOAD: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/payload"));

/// The nano guest: a PVH kernel of a few instructions that speaks the payload's language on COM1, see
/// `payload/nano.rs`. The smallest virtual machine there is, and the probe of whether KVM works.
pub static NANO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/nano"));

/// SHA-256 of [`PAYLOAD`] in lower-case hexadecimal: what a result document says was run.
#[must_use]
pub fn sha256() -> String {
    Sha256::digest(PAYLOAD).iter().map(|byte| format!("{byte:02x}")).collect()
}
