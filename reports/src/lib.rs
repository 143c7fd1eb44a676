//! A result document in; statistics, charts and one offline HTML page out. No Linux calls.
#![forbid(unsafe_code)]

pub mod document;

pub use document::Document;
