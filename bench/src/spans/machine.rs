//! What a virtual machine says of itself while it starts.
use super::Spans;
use crate::lab::Moments;
use crate::site::{Site, Start};

/// Hears it.
#[derive(Debug)]
pub struct Listener;

impl Listener {
    /// Opens.
    pub fn open(_: &Site, _: &Start) -> std::io::Result<Self> {
        Ok(Self)
    }

    /// The spans.
    pub fn spans(self, _: &Moments) -> Spans {
        Spans::new()
    }
}
