//! Wrappers of the operating system, and all `unsafe` code of npzfs: the system calls for which
//! neither the standard library nor `nix` has a safe form.

pub mod buffer;
pub mod cgroup;
pub mod file;
pub mod memory;
pub mod mountinfo;
pub mod process;
pub mod sync;
pub mod terminal;
pub mod thread_pool;
pub mod time;
