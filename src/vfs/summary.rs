//! The line that a mount is announced with: `7 members, 1.2 GB`.

use std::fmt;
use std::path::Path;

use crate::archive::Archive;
use crate::archive::error::{OpenError, OpenErrorKind};
use crate::tree::Tree;
use crate::ui::human::Size;

/// The number and the size of what is mounted.
#[derive(Debug, Default)]
pub struct Summary {
    archives: u64,
    folders: u64,
    members: u64,
    unreadable: u64,
    /// The length of all members that can be read.
    len_bytes: u64,
}

impl Summary {
    /// Counts an archive.
    pub(super) fn of(tree: &Tree) -> Self {
        let mut summary = Self {
            archives: 1,
            ..Self::default()
        };
        for member in tree.files() {
            summary.members += 1;
            match member.problem {
                Some(_) => summary.unreadable += 1,
                None => summary.len_bytes = summary.len_bytes.saturating_add(member.size),
            }
        }
        summary
    }

    /// Counts a folder, without what is in it.
    pub(super) fn of_folder() -> Self {
        Self {
            folders: 1,
            ..Self::default()
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.archives += other.archives;
        self.folders += other.folders;
        self.members += other.members;
        self.unreadable += other.unreadable;
        self.len_bytes = self.len_bytes.saturating_add(other.len_bytes);
    }

    /// Refuses an archive of which no member can be read, or not all if that is `strict`.
    pub(super) fn check(
        &self,
        path: &Path,
        archive: &Archive,
        strict: bool,
    ) -> Result<(), OpenError> {
        if self.unreadable == 0 || !strict && self.unreadable < self.members {
            return Ok(());
        }
        let mut files = archive.tree.files();
        let first = files.find_map(|member| Some((member, member.problem.as_deref()?)));
        first.map_or(Ok(()), |(member, error)| {
            let kind = OpenErrorKind::Unreadable {
                member: archive.tree.name_of(member).to_vec(),
                error: error.clone(),
                strict,
            };
            Err(kind.of(path))
        })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |number: u64, what: &str| match number {
            0 => None,
            1 => Some(format!("1 {what}")),
            _ => Some(format!("{number} {what}s")),
        };
        if self.archives + self.folders > 1 {
            let parts = [
                count(self.archives, "archive"),
                count(self.folders, "folder"),
            ];
            f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))?;
        } else if self.folders > 0 {
            f.write_str("a folder")?;
        }
        if self.archives == 0 {
            return Ok(());
        }
        if self.archives + self.folders > 1 {
            f.write_str(", ")?;
        }
        let members = count(self.members, "member");
        f.write_str(members.as_deref().unwrap_or("0 members"))?;
        if self.unreadable > 0 {
            write!(f, " ({} cannot be read)", self.unreadable)?;
        }
        write!(f, ", {}", Size(self.len_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_counts_unreadable_members() {
        let summary = |archives, folders, members, unreadable, len_bytes| {
            let summary = Summary {
                archives,
                folders,
                members,
                unreadable,
                len_bytes,
            };
            summary.to_string()
        };
        assert_eq!(summary(1, 0, 7, 0, 1_234_567_890), "7 members, 1.2 GB");
        assert_eq!(summary(1, 0, 1, 0, 128), "1 member, 128 B");
        assert_eq!(summary(1, 0, 0, 0, 0), "0 members, 0 B");
        assert_eq!(
            summary(1, 0, 3, 2, 5000),
            "3 members (2 cannot be read), 5.0 kB"
        );
        assert_eq!(
            summary(2, 1, 9, 0, 5000),
            "2 archives, 1 folder, 9 members, 5.0 kB"
        );
        assert_eq!(summary(0, 1, 0, 0, 0), "a folder");
        assert_eq!(summary(0, 2, 0, 0, 0), "2 folders");
    }
}
