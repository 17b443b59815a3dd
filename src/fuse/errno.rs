//! Every error number that a mount answers with, and the one for each error of the layers below.

use fuser::Errno;

use super::xattr::XattrError;
use crate::archive::Archive;
use crate::archive::error::ReadError;
use crate::tree::Ino;
use crate::ui::human::error_text;
use crate::vfs::VfsError;
use crate::zip::{MemberError, MemberErrorKind};

/// A request that would change something.
pub(super) const READ_ONLY: Errno = Errno::EROFS;

/// The kernel can do without this type of request, and does not send it again.
pub(super) const NOT_NEEDED: Errno = Errno::ENOSYS;

/// An ioctl: Python's `open()` asks whether each file is a terminal.
pub(super) const NOT_A_TERMINAL: Errno = Errno::ENOTTY;

/// A name that no member is shown under, since it is too long.
pub(super) const NAME_TOO_LONG: Errno = Errno::ENAMETOOLONG;

/// A directory that is opened or read as a file.
pub(super) const IS_A_DIRECTORY: Errno = Errno::EISDIR;

/// A READ without the handle that its file needs.
pub(super) const NOT_OPEN: Errno = Errno::EBADF;

/// A member that could not be inflated.
pub(super) const NOT_INFLATED: Errno = Errno::EIO;

/// An extended attribute that the inode does not have.
pub(super) const NO_ATTRIBUTE: Errno = Errno::NO_XATTR;

/// An extended attribute outside `user.`, such as an access control list. This answer keeps ls(1)
/// from asking for the same attribute of each file.
pub(super) const NO_SUCH_NAMESPACE: Errno = Errno::EOPNOTSUPP;

/// A buffer that is too small for an extended attribute.
pub(super) const BUFFER_TOO_SMALL: Errno = Errno::ERANGE;

/// Returns the error number for a failed request.
pub(super) fn of_vfs(error: &VfsError) -> Errno {
    match error {
        // The kernel looks up the path again.
        VfsError::Gone => Errno::ESTALE,
        VfsError::NotADirectory => Errno::ENOTDIR,
        VfsError::Archive => Errno::EIO,
        VfsError::Folder(error) => error.raw_os_error().map_or(Errno::EIO, Errno::from_i32),
    }
}

/// Returns the error number for an extended attribute that cannot be read, and logs the reason.
pub(super) fn of_xattr(error: &XattrError) -> Errno {
    match error {
        XattrError::Vfs(error) => of_vfs(error),
        XattrError::Read {
            archive,
            ino,
            error,
        } => of_read(archive, *ino, error),
    }
}

/// Returns the error number for a member that cannot be read at all, and logs the reason.
pub(super) fn of_member(archive: &Archive, ino: Ino, error: &MemberError) -> Errno {
    archive.log_once(ino, error);
    match error.kind() {
        MemberErrorKind::Damaged => Errno::EIO,
        MemberErrorKind::Unsupported => Errno::EOPNOTSUPP,
        MemberErrorKind::Encrypted => Errno::EACCES,
    }
}

/// Returns the error number for a failed read, and logs the reason; that an archive has changed is
/// logged where it is found.
pub(super) fn of_read(archive: &Archive, ino: Ino, error: &ReadError) -> Errno {
    if let ReadError::Io(error) = error {
        archive.log_once(ino, &error_text(error));
    }
    Errno::EIO
}
