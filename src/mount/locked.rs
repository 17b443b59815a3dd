//! A mount that stays read-only, even if root remounts it.
//!
//! Root can make a mount writable behind the back of its server: `mount -i -o remount,rw` goes past
//! npzfs, and the kernel does not ask. Where files are opened without a request, a shared mapping
//! could then write into the pages that all clients read.
//!
//! The kernel refuses this if the mount has its read-only flag locked. It locks the flags of mounts
//! that it copies into a mount namespace of another user namespace (mount_namespaces(7)). So a
//! child process mounts in a namespace of its own, copies that into a second one, and sends a copy
//! of the locked mount, which is then attached at the mount point. It takes half a millisecond.
//! Where user namespaces are not to be had, the mount is not locked.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use nix::mount::MsFlags;
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use nix::sys::wait::waitpid;
use nix::unistd::ForkResult;
use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use crate::mount::descriptor;
use crate::sys::process;

/// A directory that is there on every system, to mount on in the child's namespace.
const SCRATCH: &str = "/proc";

/// The flags that are not locked: a bind mount by an older mount(8), or a container runtime, may
/// leave them out.
const NOT_LOCKED: MsFlags = MsFlags::MS_NOSUID
    .union(MsFlags::MS_NODEV)
    .union(MsFlags::MS_NOEXEC);

/// Mounts at `mount_point`, with `flags`, what `mount` mounts on the directory and with the flags
/// that it is called with.
///
/// # Errors
/// Those of unshare(2), mount(2), open_tree(2) and move_mount(2); then nothing is mounted.
pub fn mount(
    mount_point: &Path,
    flags: MsFlags,
    mount: impl FnOnce(&Path, MsFlags) -> nix::Result<()>,
) -> io::Result<()> {
    let (ours, theirs) = UnixStream::pair()?;
    match process::fork()? {
        ForkResult::Child => {
            drop(ours);
            // The caller must not have to wait for this process to close its standard output.
            let copied = process::detach().and_then(|()| copy_locked(flags, mount));
            if let Ok(copy) = copied {
                // On failure the parent finds the socket closed.
                let _ = send(&theirs, &copy);
            }
            std::process::exit(0)
        }
        ForkResult::Parent { child } => {
            drop(theirs);
            let copy = descriptor::receive(&ours);
            // It takes the kernel a while to clear the namespaces away.
            let reaper = thread::Builder::new().name("reaper".to_owned());
            reaper.spawn(move || waitpid(child, None))?;
            let copy = copy?.ok_or(io::ErrorKind::PermissionDenied)?;
            let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
            Ok(move_mount(&copy, "", CWD, mount_point, flags)?)
        }
    }
}

/// Mounts in a new mount namespace, and returns a copy of that from yet another one.
fn copy_locked(
    flags: MsFlags,
    mount: impl FnOnce(&Path, MsFlags) -> nix::Result<()>,
) -> io::Result<OwnedFd> {
    let scratch = Path::new(SCRATCH);
    let none: Option<&Path> = None;
    unshare(CloneFlags::CLONE_NEWNS)?;
    // Leaving the namespace would wait until it is cleared away, unless it is kept.
    let _namespace = File::open("/proc/self/ns/mnt")?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    nix::mount::mount(none, "/", none, private, none)?;
    mount(scratch, flags - NOT_LOCKED)?;
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
    let unlocked = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags;
    nix::mount::mount(none, scratch, none, unlocked, none)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    Ok(open_tree(CWD, scratch, flags)?)
}

fn send(socket: &UnixStream, descriptor: &OwnedFd) -> nix::Result<usize> {
    let descriptors = [descriptor.as_raw_fd()];
    let message = [ControlMessage::ScmRights(&descriptors)];
    let byte = [IoSlice::new(&[0])];
    sendmsg::<()>(socket.as_raw_fd(), &byte, &message, MsgFlags::empty(), None)
}
