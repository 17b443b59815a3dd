//! The last line of the table.

use std::fmt;

use super::row::Row;
use crate::ui::human::Size;

/// What is counted over all rows.
#[derive(Default)]
pub(super) struct Totals {
    members: u64,
    directories: u64,
    hidden: u64,
    unreadable: u64,
    size_bytes: u64,
}

impl Totals {
    pub(super) fn add(&mut self, row: &Row<'_>) {
        self.members += 1;
        self.size_bytes = self.size_bytes.saturating_add(row.member.size);
        match row.lane {
            Some(_) => {}
            None if row.path.is_none() => self.hidden += 1,
            None if row.is_directory() => self.directories += 1,
            None => self.unreadable += 1,
        }
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.members == 1 { "" } else { "s" };
        write!(f, "{} member{plural}", self.members)?;
        let directories = match self.directories {
            1 => "directory",
            _ => "directories",
        };
        let counts = [
            (self.directories, directories),
            (self.hidden, "hidden"),
            (self.unreadable, "cannot be read"),
        ];
        let mut before = " (";
        for (count, what) in counts {
            if count > 0 {
                write!(f, "{before}{count} {what}")?;
                before = ", ";
            }
        }
        let after = if before == ", " { ")" } else { "" };
        write!(f, "{after}, {} in members", Size(self.size_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_counts_above_zero_are_shown() {
        let mut totals = Totals {
            members: 1,
            size_bytes: 1200,
            ..Totals::default()
        };
        assert_eq!(totals.to_string(), "1 member, 1.2 kB in members");
        totals.hidden = 2;
        assert_eq!(totals.to_string(), "1 member (2 hidden), 1.2 kB in members");
        totals.members = 9;
        totals.unreadable = 3;
        assert_eq!(
            totals.to_string(),
            "9 members (2 hidden, 3 cannot be read), 1.2 kB in members"
        );
    }
}
