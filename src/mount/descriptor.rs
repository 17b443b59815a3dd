//! A descriptor that another process sends over a socket.

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

use crate::sys::file;

/// Receives one descriptor; `None` if the other process closes the socket without sending any.
///
/// # Errors
/// Those of recvmsg(2).
pub fn receive(socket: &UnixStream) -> nix::Result<Option<OwnedFd>> {
    let mut byte = [0];
    let mut buffers = [IoSliceMut::new(&mut byte)];
    let mut space = nix::cmsg_space!([RawFd; 1]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = loop {
        match recvmsg::<()>(socket.as_raw_fd(), &mut buffers, Some(&mut space), flags) {
            Err(Errno::EINTR) => {}
            received => break received?,
        }
    };
    for content in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(descriptors) = content
            && let [descriptor] = descriptors[..]
        {
            return Ok(Some(file::own_received(descriptor)));
        }
    }
    Ok(None)
}
