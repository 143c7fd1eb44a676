//! The spawner: a small process that starts every box on the lab's behalf.
//!
//! Why not the lab itself: the cost of a fork grows with the parent's open descriptors and mapped pages
//! (10,000 descriptors: about 1 ms), and that cost would be charged to whatever is measured. The spawner
//! holds a handful of descriptors for ever. It is also the subreaper (prctl(2), PR_SET_CHILD_SUBREAPER) of
//! everything it starts, so detached boxes become its children when their runtime exits, and it sees each
//! process end, with its exit status and the CPU time it used (wait4(2)).
//!
//! A request that starts something has the box's three standard descriptors attached.

pub mod client;
pub mod protocol;
pub mod server;

/// The hidden first argument that turns the executable into the spawner.
pub const ARGUMENT: &str = "__spawner";

/// Becomes the spawner or a [keeper](crate::keeper) and never returns, when this process was started as one.
///
/// Every executable that opens a [`crate::lab::Lab`] on itself calls this first in `main`, before it starts
/// threads or opens files.
pub fn become_if_asked() {
    let Some(argument) = std::env::args_os().nth(1) else { return };
    if argument == ARGUMENT {
        std::process::exit(server::main());
    }
    if argument == crate::keeper::ARGUMENT {
        std::process::exit(crate::keeper::server::main());
    }
}
