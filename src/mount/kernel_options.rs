//! The options behind `-o`, as mount(8) and fstab(5) spell them.
//!
//! mount(2) wants some of them as flags and others as text, and fusermount3 wants words. Options
//! that cannot be kept are refused, rather than dropped in silence.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use nix::mount::MsFlags;

/// The flags of every npzfs mount. It is read-only, and has neither set-user-id files nor devices.
const ALWAYS: MsFlags = MsFlags::MS_RDONLY
    .union(MsFlags::MS_NOSUID)
    .union(MsFlags::MS_NODEV);

/// The options of a mount for the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelOptions {
    /// The flags of mount(2).
    pub flags: MsFlags,
    /// The options that mount(2) takes as text.
    pub data: Vec<OsString>,
    /// Whether the mount may hide files at the mount point.
    pub nonempty: bool,
}

impl Default for KernelOptions {
    fn default() -> Self {
        Self {
            flags: ALWAYS | MsFlags::MS_NOEXEC,
            data: Vec::new(),
            nonempty: false,
        }
    }
}

/// The effect of an option on the flags.
enum Effect {
    Set(MsFlags),
    Clear(MsFlags),
    Refuse(&'static str),
}

fn effect(option: &str) -> Option<Effect> {
    use Effect::{Clear, Refuse, Set};
    Some(match option {
        "ro" | "nosuid" | "nodev" => Set(ALWAYS),
        "noexec" => Set(MsFlags::MS_NOEXEC),
        "exec" => Clear(MsFlags::MS_NOEXEC),
        "noatime" => Set(MsFlags::MS_NOATIME),
        "atime" => Clear(MsFlags::MS_NOATIME),
        "nodiratime" => Set(MsFlags::MS_NODIRATIME),
        "diratime" => Clear(MsFlags::MS_NODIRATIME),
        "relatime" => Set(MsFlags::MS_RELATIME),
        "norelatime" => Clear(MsFlags::MS_RELATIME),
        "strictatime" => Set(MsFlags::MS_STRICTATIME),
        "nostrictatime" => Clear(MsFlags::MS_STRICTATIME),
        "sync" => Set(MsFlags::MS_SYNCHRONOUS),
        "async" => Clear(MsFlags::MS_SYNCHRONOUS),
        "dirsync" => Set(MsFlags::MS_DIRSYNC),
        // Options for fstab, for features that npzfs does not have, or for what it always does.
        "defaults"
        | "auto"
        | "noauto"
        | "nofail"
        | "_netdev"
        | "user"
        | "nouser"
        | "users"
        | "nousers"
        | "owner"
        | "noowner"
        | "group"
        | "nogroup"
        | "silent"
        | "loud"
        | "mand"
        | "nomand"
        | "iversion"
        | "noiversion"
        | "lazytime"
        | "nolazytime"
        | "symfollow"
        | "nosymfollow"
        | "default_permissions" => Set(MsFlags::empty()),
        "rw" => Refuse("an archive is never written through a mount"),
        "suid" => Refuse("an archive has no set-user-id files to honour"),
        "dev" => Refuse("an archive has no devices to open"),
        "remount" => Refuse("unmount, and mount anew with other options"),
        _ => return None,
    })
}

/// The options that the kernel takes as text, up to their equals sign.
const DATA: [&str; 5] = [
    "max_read=",
    "context=",
    "fscontext=",
    "defcontext=",
    "rootcontext=",
];

/// Comments in fstab, and notes of mount(8) for umount(8).
const COMMENTS: [&str; 6] = ["x-", "X-", "comment=", "user=", "helper=", "uhelper="];

/// Options that mount(8) passes to its helpers without having been given them. They are defaults of
/// other file systems, so they ask for nothing here.
pub const DEFAULTS_ELSEWHERE: [&str; 3] = ["rw", "suid", "dev"];

/// The reason why an option is rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// No such option exists.
    Unknown(String),
    /// npzfs cannot do what it asks for.
    Refused {
        /// The option, with its value.
        option: String,
        /// The reason.
        reason: &'static str,
    },
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(option) => write!(f, "unknown mount option '{}'", option.escape_debug()),
            Self::Refused { option, reason } => write!(f, "'{option}' is refused: {reason}"),
        }
    }
}

impl KernelOptions {
    /// Adds an option. Of two that contradict each other the later one counts.
    ///
    /// # Errors
    /// [`Rejection`].
    pub fn apply(&mut self, option: &OsStr) -> Result<(), Rejection> {
        let text = option.to_string_lossy();
        if text == "nonempty" {
            self.nonempty = true;
            return Ok(());
        }
        if DATA.iter().any(|prefix| text.starts_with(prefix)) {
            // The kernel takes a comma for the end of an option, except between double quotes.
            if text.contains(',') && !is_quoted(&text) {
                return Err(Rejection::Refused {
                    option: text.into_owned(),
                    reason: "a comma needs double quotes around",
                });
            }
            self.data.push(option.to_owned());
            return Ok(());
        }
        if COMMENTS.iter().any(|prefix| text.starts_with(prefix)) {
            return Ok(());
        }
        match effect(&text) {
            Some(Effect::Set(flags)) => self.flags |= flags,
            Some(Effect::Clear(flags)) => self.flags &= !flags,
            Some(Effect::Refuse(reason)) => {
                let option = text.into_owned();
                return Err(Rejection::Refused { option, reason });
            }
            None => return Err(Rejection::Unknown(text.into_owned())),
        }
        Ok(())
    }

    /// Returns the flags as options of fusermount3. It does not know all of them, but the missing ones
    /// are about access times, which a read-only mount does not have.
    pub fn words(&self) -> Vec<&'static str> {
        [
            (MsFlags::MS_RDONLY, "ro"),
            (MsFlags::MS_NOSUID, "nosuid"),
            (MsFlags::MS_NODEV, "nodev"),
            (MsFlags::MS_NOEXEC, "noexec"),
            (MsFlags::MS_NOATIME, "noatime"),
            (MsFlags::MS_SYNCHRONOUS, "sync"),
            (MsFlags::MS_DIRSYNC, "dirsync"),
        ]
        .into_iter()
        .filter(|&(flag, _)| self.flags.contains(flag))
        .map(|(_, word)| word)
        .collect()
    }
}

/// Whether the value of an option is in double quotes and contains none.
fn is_quoted(option: &str) -> bool {
    option
        .split_once("=\"")
        .and_then(|(_, value)| value.strip_suffix('"'))
        .is_some_and(|value| !value.contains('"'))
}

/// Splits a list of options at its commas. A backslash escapes a comma or another backslash. Empty
/// options are dropped.
pub fn split(list: &OsStr) -> Vec<OsString> {
    let mut options = vec![Vec::new()];
    let mut bytes = list.as_bytes().iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b',' => {
                options.push(Vec::new());
                continue;
            }
            b'\\' => bytes
                .next_if(|&next| matches!(next, b',' | b'\\'))
                .unwrap_or(byte),
            _ => byte,
        };
        if let Some(option) = options.last_mut() {
            option.push(byte);
        }
    }
    options.retain(|option| !option.is_empty());
    options.into_iter().map(OsString::from_vec).collect()
}

/// Escapes commas and backslashes in an option, for a list of options.
pub fn escape(value: &OsStr) -> OsString {
    let mut escaped = Vec::with_capacity(value.len());
    for &byte in value.as_bytes() {
        if matches!(byte, b',' | b'\\') {
            escaped.push(b'\\');
        }
        escaped.push(byte);
    }
    OsString::from_vec(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(list: &str) -> Result<KernelOptions, String> {
        let mut options = KernelOptions::default();
        for option in split(OsStr::new(list)) {
            let applied = options.apply(&option);
            applied.map_err(|rejection| rejection.to_string())?;
        }
        Ok(options)
    }

    #[test]
    fn by_default_a_mount_is_ro_nosuid_nodev_noexec() {
        let words = KernelOptions::default().words();
        assert_eq!(words, ["ro", "nosuid", "nodev", "noexec"]);
    }

    #[test]
    fn of_contradicting_options_the_last_one_counts() {
        let words = |list| applied(list).unwrap().words();
        assert_eq!(words("exec,noatime"), ["ro", "nosuid", "nodev", "noatime"]);
        assert_eq!(words("exec,noexec"), ["ro", "nosuid", "nodev", "noexec"]);
        let options = applied("nonempty,max_read=4096,,x-systemd.automount").unwrap();
        assert!(options.nonempty);
        assert_eq!(options.data, ["max_read=4096"]);
    }

    #[test]
    fn options_that_cannot_be_kept_are_refused_with_a_reason() {
        assert_eq!(
            applied("rw").unwrap_err(),
            "'rw' is refused: an archive is never written through a mount"
        );
        for option in ["suid", "dev", "remount"] {
            let refused = applied(option).unwrap_err();
            assert!(refused.starts_with(&format!("'{option}' is refused: ")));
        }
        assert_eq!(
            applied("no\tsuch").unwrap_err(),
            "unknown mount option 'no\\tsuch'"
        );
    }

    #[test]
    fn a_backslash_escapes_a_comma_in_an_option() {
        assert_eq!(
            split(OsStr::new(r"log=/a\,b,ro,,c\\,\d")),
            [r"log=/a,b", "ro", r"c\", r"\d"]
        );
        let path = OsStr::new(r"/a,b\c");
        assert_eq!(split(&escape(path)), [path]);
    }
}
