//! npzfs mounts a NumPy `.npz` archive as a directory of `.npy` files, each one the archive's own
//! byte range.
//!
//! The layers, from the bytes of an archive to the commands. Each uses those above it and none below:
//!
//! - [`zip`]: the members of a ZIP archive, and where their bytes are;
//! - [`tree`]: members as files and directories, numbered as inodes;
//! - [`archive`]: an archive that is open, and the lane by which each member is served;
//! - [`inflate`]: compressed members, inflated once and kept within a limit;
//! - [`vfs`]: everything that is mounted, without FUSE: archives, folders, archives in archives;
//! - [`fuse`]: the answers to the kernel's requests;
//! - [`mount`]: where a mount goes, how it starts and how it ends;
//! - [`commands`]: the subcommands, and the [`cli`] that they are called by.
//!
//! Beside them stand [`npy`], which reads the headers of arrays, `sys`, which holds all system calls
//! that need `unsafe`, and [`ui`], which writes text for people.
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
