//! Puts a FUSE connection at a mount point: by mount(2) where this process may, by fusermount3
//! where it may not.
//!
//! fuser could do this, but then it also unmounts, and its test whether its own mount is still
//! there is wrong in 0.18.0: it would unmount whatever was mounted at the same place afterwards.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, IoSliceMut, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::unistd::{getgid, getuid};

use crate::mount::error::{FuseError, MountError, MountPointError, system};
use crate::mount::kernel_options::{self, KernelOptions};
use crate::sys::file;
use crate::sys::mountinfo::FS_TYPE;
use crate::ui::human::Escaped;

/// What is mounted, and how.
#[derive(Debug)]
pub struct Attachment<'a> {
    /// What findmnt(8) shows as the source: the archive's absolute path.
    pub source: &'a Path,
    /// Whether users other than the one who mounts may come in.
    pub allow_other: bool,
    /// The kernel's options.
    pub kernel: &'a KernelOptions,
}

/// The setuid helper of the package fuse3, through which users mount.
pub const FUSERMOUNT: &str = "fusermount3";

impl Attachment<'_> {
    /// Mounts at `mount_point`, an absolute path without symbolic links, and returns the connection
    /// to the kernel, on which no request was read yet.
    ///
    /// # Errors
    /// [`MountError`]; then nothing is mounted.
    pub fn attach(&self, mount_point: &Path) -> Result<OwnedFd, MountError> {
        let device = match open_device() {
            Ok(device) => device,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(FuseError::NoDevice.into());
            }
            // fusermount3 can open it for users.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return self.by_fusermount(mount_point);
            }
            Err(error) => return Err(FuseError::Device(error).into()),
        };
        match self.by_kernel(&device, mount_point) {
            Ok(()) => Ok(device.into()),
            Err(Errno::EPERM) if !getuid().is_root() => self.by_fusermount(mount_point),
            Err(error) => Err(FuseError::Mount(error.into()).into()),
        }
    }

    fn by_kernel(&self, device: &File, mount_point: &Path) -> nix::Result<()> {
        let mut data = OsString::from(format!(
            "fd={},rootmode=40000,user_id={},group_id={},default_permissions",
            device.as_raw_fd(),
            getuid(),
            getgid(),
        ));
        self.add_data(&mut data);
        nix::mount::mount(
            Some(self.source),
            mount_point,
            Some(FS_TYPE),
            self.kernel.flags,
            Some(data.as_os_str()),
        )
    }

    fn by_fusermount(&self, mount_point: &Path) -> Result<OwnedFd, MountError> {
        let mut options = OsString::from(self.kernel.words().join(","));
        options.push(",default_permissions,subtype=npzfs,fsname=");
        options.push(kernel_options::escape(self.source.as_os_str()));
        self.add_data(&mut options);
        let (socket, theirs) = UnixStream::pair().map_err(system("run fusermount3"))?;
        let child = Command::new(FUSERMOUNT)
            .arg("-o")
            .arg(options)
            .arg("--")
            .arg(mount_point)
            // It sends the connection over the socket whose number it finds here.
            .env("_FUSE_COMMFD", "0")
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // What the terminal sends to npzfs must not end it half-way.
            .process_group(0)
            .spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(FuseError::NoFusermount.into());
            }
            Err(error) => return Err(system("run fusermount3")(error)),
        };
        let received = receive_descriptor(&socket);
        drop(socket);
        let mut said = Vec::new();
        if let Some(mut stderr) = child.stderr.take() {
            // Only words for an error message; without them it is a poorer one.
            let _ = stderr.read_to_end(&mut said);
        }
        child.wait().map_err(system("run fusermount3"))?;
        // Once it has sent the connection, the mount is there, however it ends.
        match received {
            Ok(Some(device)) => Ok(device),
            _ => Err(fusermount_error(mount_point, &said)),
        }
    }

    fn add_data(&self, options: &mut OsString) {
        let allow_other = self.allow_other.then_some(OsStr::new("allow_other"));
        let data = self.kernel.data.iter().map(OsString::as_os_str);
        for option in allow_other.into_iter().chain(data) {
            options.push(",");
            options.push(option);
        }
    }
}

fn fusermount_error(mount_point: &Path, said: &[u8]) -> MountError {
    let reason = fusermount_reason(said);
    if reason.contains("user_allow_other") {
        FuseError::AllowOther.into()
    } else if reason.contains("/dev/fuse") {
        FuseError::Device(io::ErrorKind::PermissionDenied.into()).into()
    } else if reason.contains("mountpoint") || reason.contains("mounting over") {
        MountPointError::Refused(reason).of(mount_point)
    } else {
        FuseError::Fusermount(reason).into()
    }
}

/// What fusermount3 gave as its reason, made safe for a terminal.
pub fn fusermount_reason(said: &[u8]) -> String {
    let line = said
        .split(|&byte| byte == b'\n')
        .rfind(|line| !line.is_empty());
    let line = line.unwrap_or(b"it gave no reason");
    let reason = line.strip_prefix(b"fusermount3: ").unwrap_or(line);
    Escaped(reason).to_string()
}

/// Opens the kernel's end of FUSE.
///
/// # Errors
/// Those of open(2).
pub fn open_device() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open("/dev/fuse")
}

fn receive_descriptor(socket: &UnixStream) -> nix::Result<Option<OwnedFd>> {
    let mut byte = [0];
    let mut buffers = [IoSliceMut::new(&mut byte)];
    let mut space = nix::cmsg_space!([std::os::fd::RawFd; 1]);
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
