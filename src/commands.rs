//! The subcommands, each in a module of its name.

pub mod completions;
pub mod error;
pub mod list;
pub mod mount;
pub mod mount_helper;
pub mod mounts;
pub mod repack;
pub mod run;
pub mod status;
pub mod verify;
