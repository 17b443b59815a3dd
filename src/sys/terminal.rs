//! The size of a terminal.
#![allow(unsafe_code)]

use std::mem;
use std::os::fd::AsRawFd;

/// Returns the width of a terminal in columns, or `None` where the terminal does not report one.
pub fn terminal_width(terminal: &impl AsRawFd) -> Option<usize> {
    // SAFETY: `winsize` is a plain C struct, for which all zeroes are a valid value.
    let mut size: libc::winsize = unsafe { mem::zeroed() };
    // SAFETY: the pointer is to a live, exclusively borrowed `winsize`, which is what this request
    // fills in.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &mut size) };
    (result == 0 && size.ws_col > 0).then_some(size.ws_col.into())
}
