//! What lab and keeper say to each other.

use serde::{Deserialize, Serialize};

use super::schedule::Schedule;

/// So many pings are told of in one message: it stays far below the longest that a socket takes.
pub const PIECE: usize = 1000;

/// What the lab asks for.
#[derive(Debug, Serialize, Deserialize)]
pub enum Order {
    /// Hold the channel of a box: its input and output come with the message, and a descriptor of its process
    /// where that is below another daemon. Answered by [`Word::Taken`] or [`Word::Refused`].
    Take {
        /// The box's number among all that are held, from 0.
        number: u32,
    },
    /// Ask the boxes on a schedule. Answered by [`Word::Pinged`] as often as needed, then [`Word::Done`].
    Keep(Schedule),
    /// Ask all boxes from this number on to exit.
    Leave {
        /// The first.
        from: u32,
    },
    /// Close the channels of all boxes from this number on.
    Forget {
        /// The first.
        from: u32,
    },
}

/// What became of one ping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pinged {
    /// Answered, so long after it was meant to leave, ns.
    After(u64),
    /// Never.
    Unanswered,
    /// Its box is gone.
    Gone,
    /// It could not be sent: in words.
    NotSent(String),
}

/// What a keeper says.
#[derive(Debug, Serialize, Deserialize)]
pub enum Word {
    /// It has set itself up.
    Hello,
    /// The channel is held.
    Taken,
    /// It is not: in words.
    Refused(String),
    /// The output of this box has ended although nobody asked it to exit.
    Lost(u32),
    /// The process of a box that another daemon started has ended; the last line that the box said.
    Ended(u32, String),
    /// What became of some pings.
    Pinged(Vec<(u32, Pinged)>),
    /// The schedule is done.
    Done(Done),
}

/// What is to say of a schedule that is done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// How much later than meant the keeper came to send a ping, at most, ns: its own share of a latency.
    pub late_ns: u64,
    /// Requests of the load that were sent.
    pub asked: u64,
    /// And those that were answered.
    pub served: u64,
    /// A line that nobody had asked for.
    pub strange: Option<String>,
}
