//! The FUSE server: decodes the kernel's requests, and answers them from the [`Vfs`](crate::vfs).
//!
//! Nothing here may panic, since a dead worker thread would leave its client waiting, and no lock
//! is held while a reply is sent. A request that may wait for a disk or another machine is moved to
//! a pool, so that a few worker threads always serve the rest.
//!
//! This folder and `mount/session.rs` are the only users of the crate `fuser`.

#[macro_use]
mod read_only;

mod attr;
mod backing;
mod busy_poll;
mod config;
mod dispatch;
mod errno;
mod filesystem;
mod handles;
mod open;
mod open_pool;
mod prefetch;
mod read;
mod server;
mod stats;
mod xattr;

pub use backing::try_passthrough;
pub use busy_poll::PollConfig;
pub use config::{FuseConfig, Ownership};
pub use filesystem::Npzfs;
pub use prefetch::Prefetch;
