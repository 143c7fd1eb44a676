//! Registries: a real one, and one that misbehaves in every way.
#![cfg(feature = "registry")]

#[path = "../common/mod.rs"]
mod common;
mod ended;
mod entrance;
mod hostile;
#[path = "../image/layout.rs"]
#[allow(dead_code)] // The images' tests write more kinds of entries.
mod layout;
mod liar;
mod login;
mod push;
mod real;
mod server;
mod tls;
