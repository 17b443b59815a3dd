//! The requests that would change something, all of which fail with EROFS.
//!
//! They only arrive if another program has made the mount, or root has made it writable: otherwise
//! the kernel refuses them by itself.

/// Defines the methods of [`fuser::Filesystem`] for requests that would change something.
macro_rules! refuse_writes {
    () => {
        refuse_writes! {
            setattr(
                INodeNo, Option<u32>, Option<u32>, Option<u32>, Option<u64>,
                Option<fuser::TimeOrNow>, Option<fuser::TimeOrNow>, Option<SystemTime>,
                Option<FileHandle>, Option<SystemTime>, Option<SystemTime>, Option<SystemTime>,
                Option<fuser::BsdFileFlags>,
            ) -> ReplyAttr;
            mknod(INodeNo, &OsStr, u32, u32, u32,) -> ReplyEntry;
            mkdir(INodeNo, &OsStr, u32, u32,) -> ReplyEntry;
            unlink(INodeNo, &OsStr,) -> ReplyEmpty;
            rmdir(INodeNo, &OsStr,) -> ReplyEmpty;
            symlink(INodeNo, &OsStr, &Path,) -> ReplyEntry;
            rename(INodeNo, &OsStr, INodeNo, &OsStr, fuser::RenameFlags,) -> ReplyEmpty;
            link(INodeNo, INodeNo, &OsStr,) -> ReplyEntry;
            create(INodeNo, &OsStr, u32, u32, i32,) -> fuser::ReplyCreate;
            setxattr(INodeNo, &OsStr, &[u8], i32, u32,) -> ReplyEmpty;
            removexattr(INodeNo, &OsStr,) -> ReplyEmpty;
        }
    };
    ($($name:ident($($argument:ty,)*) -> $reply:ty;)*) => {
        $(fn $name(&self, _req: &Request, $(_: $argument,)* reply: $reply) {
            reply.error(errno::READ_ONLY);
        })*
    };
}
