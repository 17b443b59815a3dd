//! A mount from its start to its end: the mount point, the connection to the kernel, the session, the
//! processes, and unmounting. It knows no command line.

pub mod attach;
pub mod auto_unmount;
pub mod connection;
pub mod copies;
pub mod daemon;
mod descriptor;
pub mod error;
pub mod fusermount;
pub mod guard;
pub mod holders;
pub mod inherited_fd;
pub mod kernel_options;
pub mod lifecycle;
mod locked;
pub mod mount_point;
pub mod probe;
pub mod server;
pub mod session;
pub mod unmount;
