//! The FUSE side of a mount: answers the kernel's requests from the [`Vfs`](crate::vfs).
//!
//! This folder is the only adapter to the crate `fuser`, beside `mount/session.rs`.

#[macro_use]
mod read_only;

mod backing;
mod busy_poll;
mod config;
mod dispatch;
mod filesystem;
mod handles;
pub mod invalidate;
mod open_pool;
mod prefetch;
mod server;
mod stats;
mod xattr;

pub use busy_poll::PollConfig;
pub use config::{FuseConfig, Ownership};
pub use filesystem::{Npzfs, try_passthrough};
pub use prefetch::Prefetch;
