//! A mount from its start to its end: the mount point, the connection to the kernel, the session, the
//! processes, and unmounting. It knows no command line.

pub(crate) mod attach;
pub(crate) mod auto_unmount;
pub(crate) mod connection;
pub(crate) mod daemon;
pub(crate) mod error;
pub(crate) mod fusermount;
pub(crate) mod guard;
pub(crate) mod holders;
pub(crate) mod inherited_fd;
pub(crate) mod kernel_options;
pub(crate) mod lifecycle;
pub(crate) mod mount_point;
pub(crate) mod probe;
pub(crate) mod session;
pub(crate) mod unmount;
