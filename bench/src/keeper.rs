//! Keepers: small processes that hold the channels of many boxes on the lab's behalf, and ask the boxes things on
//! a schedule.
//!
//! Why not the lab itself: a box's channel is two descriptors. With tens of thousands of boxes they would be more
//! than one process may have, and whoever forks from a table that long pays for each of its entries. So a
//! keeper gets the channel of a box that has said READY (`SCM_RIGHTS`, unix(7)), of at most [`BOXES`] each, and
//! neither lab nor spawner has a descriptor left for it.
//!
//! A keeper dies with the lab: the socket between them ends. The boxes then read the end of their input, and end.

pub mod client;
pub mod protocol;
pub mod schedule;
pub mod server;

/// The hidden first argument that turns the executable into a keeper.
pub const ARGUMENT: &str = "__keeper";

/// The most boxes that one keeper holds.
pub const BOXES: u32 = 2000;

/// Descriptors that a keeper needs for itself: its three standard ones, the socket, the epoll instance, the timer,
/// and room for a message with descriptors that is on its way.
const OWN: u64 = 12;

/// Descriptors that a box costs who holds its channel: an end of each of two pipes or FIFOs, and one to watch its process
/// by where a daemon is its parent.
#[must_use]
pub fn descriptors(is_served: bool) -> u64 {
    if is_served { 3 } else { 2 }
}

/// How many boxes a keeper may hold where a process may have so many descriptors, `each` of them for a box.
#[must_use]
pub fn capacity(descriptors: u64, each: u64) -> u32 {
    u32::try_from(descriptors.saturating_sub(OWN) / each.max(1)).unwrap_or(BOXES).clamp(1, BOXES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keeper_holds_what_its_descriptors_allow_and_never_more_than_the_design_says() {
        assert_eq!(capacity(20_000, 2), BOXES);
        assert_eq!(capacity(20_000, 3), BOXES);
        assert_eq!(capacity(64, 2), 26);
        assert_eq!(capacity(0, 2), 1, "the refusal is then the kernel's");
    }
}
