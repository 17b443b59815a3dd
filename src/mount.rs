//! Where a mount goes, how it starts, and how it ends.

pub mod attach;
pub mod auto_unmount;
pub mod daemon;
pub mod error;
pub mod guard;
pub mod holders;
pub mod inherited_fd;
pub mod kernel_options;
pub mod mount_point;
pub mod probe;
pub mod unmount;
