//! Mounts as a JSON array, as `docs/mounts.schema.json` describes it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use serde_json::{Value, json};

use super::entry::{self, Entry};
use crate::ui::human::{Escaped, TerminalSafeJson};

/// Formats mounts as a JSON array with a line break at its end.
pub(super) fn format(entries: &[Entry]) -> String {
    let objects: Value = entries.iter().map(object).collect();
    TerminalSafeJson(&format!("{objects:#}\n")).to_string()
}

/// Returns a mount as a JSON object. Unknown values are null.
fn object(entry: &Entry) -> Value {
    let stats = entry.state.stats();
    json!({
        "archive": text(&entry.archive),
        "mount_point": text(entry.mount_point.as_os_str()),
        "state": entry::name(&entry.state),
        "pid": stats.and_then(|stats| stats.pid),
        "stale": stats.map(|stats| stats.stale),
        "members": stats.map(|stats| stats.members),
        "lanes": stats.map(|stats| &stats.lanes),
        "bytes_read": stats.map(|stats| stats.bytes_read),
        "uptime_seconds": stats.map(|stats| stats.uptime_seconds),
    })
}

/// Returns a path as it is, or with escapes if it is not UTF-8.
fn text(path: &OsStr) -> String {
    let escaped = || Escaped(path.as_bytes()).to_string();
    path.to_str().map_or_else(escaped, ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount::server::State;
    use crate::ui::human::is_terminal_unsafe;

    fn entry(mount_point: &str) -> Entry {
        Entry {
            mount_point: mount_point.into(),
            archive: "/data/frame.npz".into(),
            state: State::NotPermitted,
        }
    }

    #[test]
    fn without_mounts_the_array_is_empty() {
        assert_eq!(format(&[]), "[]\n");
    }

    #[test]
    fn control_characters_are_escaped_and_survive() {
        let mount_point = "/mnt/\u{1b}\n\u{9b}31m\u{202e}ä𝄞";
        let json = format(&[entry(mount_point)]);
        let is_unsafe = |character| character != '\n' && is_terminal_unsafe(character);
        assert!(!json.contains(is_unsafe), "{json:?}");
        let read: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read[0]["mount_point"], mount_point);
    }

    #[test]
    fn unknown_values_are_null() {
        let object = object(&entry("/mnt/a\nb"));
        assert_eq!(object["mount_point"], "/mnt/a\nb");
        assert_eq!(object["state"], "not permitted");
        assert_eq!(object["pid"], Value::Null);
        assert_eq!(object.as_object().unwrap().len(), 9);
    }
}
