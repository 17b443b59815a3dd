//! npzfs mounts a NumPy `.npz` archive as a directory of `.npy` files, each one the archive's own
//! byte range.
//!
//! The layers, from the bytes of an archive to the commands. Each uses those above it and none below:
//!
//! - [`zip`]: the members of a ZIP archive and their extents;
//! - [`tree`]: members as files and directories, with inode numbers;
//! - `archive`: an open archive, and the lane by which each member is served;
//! - `inflate`: compressed members, inflated once and kept within a limit;
//! - `vfs`: everything that is mounted, without FUSE: archives, folders, archives in archives;
//! - `fuse`: the answers to the kernel's requests;
//! - `mount`: mount points, connections, sessions, and unmounting;
//! - [`commands`]: the subcommands; their arguments are defined in [`cli`].
//!
//! Beside them stand [`npy`], the headers of arrays, `sys`, the operating system and all `unsafe`
//! code, and [`ui`], text for people.
//!
//! This library is the inside of the program `npzfs`, not a stable interface.

pub mod zip;

pub mod tree;

mod archive;
mod inflate;
mod vfs;

mod fuse;
mod mount;

pub mod cli;
pub mod commands;

pub mod exit_status;
pub mod extent;
pub mod npy;
mod sys;
pub mod ui;
