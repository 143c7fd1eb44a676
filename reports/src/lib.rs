//! A result document in; statistics, charts and one offline HTML page out. No Linux calls.
//!
//! ```text
//! result.json -- store --> Document -- stats, summary, reliability, audit --> text (terminal)
//!                                                                        \--> charts --> page (HTML)
//! ```
//!
//! Everything here is a pure function of the document: the same document gives the same page, byte for
//! byte, because every random choice is seeded by the run's seed.
#![forbid(unsafe_code)]

pub mod audit;
pub mod capacity;
pub mod charts;
pub mod claims;
pub mod curves;
pub mod density;
pub mod disk;
pub mod document;
mod error;
pub mod ladder;
pub mod lang;
pub mod memory;
pub mod merge;
pub mod merging;
pub mod network;
pub mod page;
pub mod power;
pub mod reliability;
pub mod sameness;
mod schema;
pub mod spans;
pub mod stats;
mod store;
pub mod summary;
pub mod text;
pub mod transfer;
pub mod units;

pub use document::Document;
pub use error::Error;
pub use lang::Lang;
pub use schema::schema;
pub use store::{check, read, write};
