//! npzfs mounts a NumPy `.npz` archive as a directory of `.npy` files, each one the archive's own
//! byte range.
//!
//! The data goes one way:
//!
//! bytes (`bytes`) -> members (`archive`, `member`) -> tree of inodes (`tree`) -> an open archive
//! (`volume`) -> what members are cloned or inflated to (`clone`, `inflate`) -> all that is mounted
//! (`catalog`) -> replies (`fuse`).
//!
//! A module on this way uses those before it and none behind it, but for `bytes`: it knows what an
//! extent of a `member` is, and implements the trait `archive::Source`, by which archives are read.
//! `decode`, which decompresses, reads by that trait, too. Beside the way stand `error`, which has a
//! variant for the failures of all modules, and what is used everywhere, such as `human` and `sys`.
//! Each subcommand is put together from these in a module of its name.
//!
//! This library is what the program `npzfs` is made of; it is no stable interface.

pub mod archive;
pub mod archive_file;
pub mod attach;
pub mod budget;
pub mod bytes;
pub mod catalog;
pub mod cgroup;
pub mod cli;
pub mod clone;
pub mod color;
pub mod completions;
pub mod daemon;
pub mod decode;
pub mod error;
pub mod forget;
pub mod frame;
pub mod fuse;
pub mod helper;
pub mod holders;
pub mod human;
pub mod inflate;
pub mod lane;
pub mod list;
pub mod logging;
pub mod map;
pub mod member;
pub mod mount;
pub mod mount_point;
pub mod mountinfo;
pub mod mounts;
pub mod names;
pub mod npy;
pub mod open_connection;
pub mod options;
pub mod output_file;
pub mod own_mount;
pub mod patience;
pub mod pool;
pub mod progress;
pub mod repack;
pub mod run;
pub mod settings;
pub mod sources;
pub mod stats;
mod sys;
pub mod tree;
pub mod umount;
pub mod verify;
pub mod volume;
pub mod watch;
pub mod xattr;
