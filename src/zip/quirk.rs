//! Quirks: deviations from the format that leave no doubt about any byte of a member. Such archives are
//! read, as NumPy, unzip and 7-Zip read them; `verify` notes the quirks.

use std::fmt;

/// A quirk of an archive as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveQuirk {
    /// Zeros follow the archive.
    ZeroPadding {
        /// Their number.
        len: u64,
    },
    /// A newline follows the archive.
    Newline,
    /// The end record counts the entries modulo 65,536, where a ZIP64 record should count them.
    EntryCountWrapped {
        /// Entries that the end record declares.
        declared: u64,
        /// Entries in the central directory.
        actual: u64,
    },
}

impl fmt::Display for ArchiveQuirk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZeroPadding { len: 1 } => f.write_str("a zero byte follows the archive"),
            Self::ZeroPadding { len } => write!(f, "{len} zero bytes follow the archive"),
            Self::Newline => f.write_str("a newline follows the archive"),
            Self::EntryCountWrapped { declared, actual } => write!(
                f,
                "the end record declares {declared} of {actual} entries: it counts modulo 65536, \
                 without ZIP64"
            ),
        }
    }
}

/// A quirk of one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberQuirk {
    /// The flag of a UTF-8 name is set in only one of the two headers. The name is ASCII.
    Utf8Flag,
    /// The local header lacks the CRC-32 or a size, although no data descriptor follows.
    LocalValueMissing,
    /// The central directory lists the member more than once, always with the same values.
    ListedTwice,
    /// The name comes from an Info-ZIP Unicode Path field and differs from that in the header.
    UnicodePath,
}

impl MemberQuirk {
    const ALL: [Self; 4] = [
        Self::Utf8Flag,
        Self::LocalValueMissing,
        Self::ListedTwice,
        Self::UnicodePath,
    ];
}

impl fmt::Display for MemberQuirk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Utf8Flag => "only one of its headers flags the name as UTF-8",
            Self::LocalValueMissing => {
                "the local header lacks the CRC-32 or a size: NumPy reads the member, but unzip and \
                 7-Zip do not"
            }
            Self::ListedTwice => "listed more than once in the central directory",
            Self::UnicodePath => {
                "named by its Unicode Path field, which Python reads from version 3.12 on"
            }
        })
    }
}

/// The quirks of one member: a set in one byte, since an archive may have millions of members.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemberQuirks(u8);

impl MemberQuirks {
    pub(super) fn insert(&mut self, quirk: MemberQuirk) {
        self.0 |= 1 << quirk as u8;
    }

    pub(super) fn extend(&mut self, others: Self) {
        self.0 |= others.0;
    }

    /// Iterates over the quirks.
    pub fn iter(self) -> impl Iterator<Item = MemberQuirk> {
        let quirks = MemberQuirk::ALL.into_iter();
        quirks.filter(move |&quirk| self.0 & 1 << quirk as u8 != 0)
    }
}
