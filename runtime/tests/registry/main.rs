//! Registries: a real one, and one that misbehaves in every way.
#![cfg(feature = "registry")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../image/layout.rs"]
#[allow(dead_code)] // The images' tests write more kinds of entries.
mod layout;
mod login;
mod real;
mod server;
