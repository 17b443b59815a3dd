//! `npzfs mounts`: what is mounted, and what the processes behind the mounts tell of it.
//!
//! What they tell is checked like anything else that comes from outside: every user can mount a file
//! system that claims to be npzfs.

use std::ffi::OsStr;
use std::io::Write;
use std::iter;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use anstyle::Style;
use serde_json::{Map, Value, json};
use unicode_width::UnicodeWidthStr;

use crate::cli::MountsArgs;
use crate::commands::error::Error;
use crate::exit_status::{self, ExitStatus};
use crate::mount::error::{MountError, system};
use crate::mount::probe;
use crate::sys::file;
use crate::sys::mountinfo::{self, MountInfo, Place};
use crate::ui::color::{FAULT, HEADING, NOTE, SOUND};
use crate::ui::console::Console;
use crate::ui::human::{Escaped, Size, TerminalSafeJson};

/// How long to wait for answers, all told.
const TIMEOUT: Duration = Duration::from_secs(2);

// What a mount is called that does not tell anything.
const DEAD: &str = "dead";
const NOT_ANSWERING: &str = "not answering";
const NOT_PERMITTED: &str = "not permitted";
const COVERED: &str = "covered";

const COLUMNS: usize = 7;
/// The column of the state.
const STATE: usize = 3;

/// One line of the table.
type Row = [String; COLUMNS];

const HEADINGS: [&str; COLUMNS] = [
    "MOUNTPOINT",
    "ARCHIVE",
    "PID",
    "STATE",
    "MEMBERS",
    "SERVED",
    "LANES",
];

/// Prints all npzfs mounts that this process can see.
///
/// # Errors
/// [`MountError::System`] where the mount table cannot be read; [`Error::Output`].
pub fn run(arguments: &MountsArgs, console: &mut Console) -> Result<ExitStatus, Error> {
    let list = list(arguments.json)?;
    console.write_all(list.as_bytes()).map_err(Error::Output)?;
    console.flush().map_err(Error::Output)?;
    Ok(exit_status::DONE)
}

fn list(as_json: bool) -> Result<String, MountError> {
    let mut mounts = mountinfo::all().map_err(system("read /proc/self/mountinfo"))?;
    mounts.retain(MountInfo::is_npzfs);
    let answers = probe::probe_all(TIMEOUT, &mounts, ask).into_iter();
    let states = answers.map(|answer| answer.map_or(State::NotAnswering, State::new));
    let listed: Vec<_> = mounts.into_iter().zip(states).collect();
    Ok(shown(&listed, as_json))
}

/// As findmnt(8) does, a table without mounts has no heading either.
fn shown(listed: &[(MountInfo, State)], as_json: bool) -> String {
    if as_json {
        let objects = listed.iter().map(|(mount, state)| object(mount, state));
        let json = format!("{:#}\n", objects.collect::<Value>());
        return TerminalSafeJson(&json).to_string();
    }
    if listed.is_empty() {
        return String::new();
    }
    let heading = (HEADINGS.map(str::to_owned), [HEADING; COLUMNS]);
    let rows = listed.iter().map(|(mount, state)| {
        let mut styles = [Style::new(); COLUMNS];
        styles[STATE] = state.style();
        (row(mount, state), styles)
    });
    table(&iter::once(heading).chain(rows).collect::<Vec<_>>())
}

/// What can be known of a mount.
#[derive(Debug)]
enum State {
    Live(MountStats),
    /// The process behind it is gone.
    Dead,
    /// The process behind it does not answer, or nothing that makes sense.
    NotAnswering,
    /// It is another user's.
    NotPermitted,
    /// Something else is mounted over it.
    Covered,
}

/// What the process behind a mount tells.
#[derive(Debug)]
struct MountStats {
    pid: u64,
    stale: bool,
    members: u64,
    /// How many members are served in which way.
    lanes: Map<String, Value>,
    bytes_read: u64,
    uptime_seconds: u64,
}

/// What a mount tells, or in one word why it does not.
fn ask(mount: &MountInfo) -> Vec<u8> {
    let asked = Place::find(&mount.mount_point).and_then(|place| {
        if place.mount.id != mount.id {
            return Ok(COVERED.into());
        }
        file::getxattr(&place.pinned_path(), c"user.npzfs.stats")
    });
    asked.unwrap_or_else(|error| match error.raw_os_error() {
        Some(libc::ENOTCONN | libc::ECONNABORTED) => DEAD.into(),
        Some(libc::EACCES | libc::EPERM) => NOT_PERMITTED.into(),
        _ => NOT_ANSWERING.into(),
    })
}

impl State {
    /// Makes sense of what [`ask`] has found out.
    fn new(answer: Vec<u8>) -> Self {
        [Self::Dead, Self::NotPermitted, Self::Covered]
            .into_iter()
            .find(|state| state.name().as_bytes() == answer)
            .or_else(|| MountStats::parse(&answer).map(Self::Live))
            .unwrap_or(Self::NotAnswering)
    }

    fn told(&self) -> Option<&MountStats> {
        match self {
            Self::Live(told) => Some(told),
            _ => None,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Live(told) if told.stale => "stale",
            Self::Live(_) => "live",
            Self::Dead => DEAD,
            Self::NotAnswering => NOT_ANSWERING,
            Self::NotPermitted => NOT_PERMITTED,
            Self::Covered => COVERED,
        }
    }

    fn style(&self) -> Style {
        match self {
            Self::Live(told) if told.stale => FAULT,
            Self::Live(_) => SOUND,
            Self::Dead | Self::NotAnswering => FAULT,
            Self::NotPermitted | Self::Covered => NOTE,
        }
    }
}

impl MountStats {
    fn parse(stats: &[u8]) -> Option<Self> {
        let stats: Value = serde_json::from_slice(stats).ok()?;
        let number = |name: &str| stats.get(name)?.as_u64();
        let lanes = stats.get("lanes")?.as_object()?;
        if !lanes.values().all(Value::is_u64) {
            return None;
        }
        Some(Self {
            pid: number("pid")?,
            stale: stats.get("stale")?.as_bool()?,
            members: number("members")?,
            lanes: lanes.clone(),
            bytes_read: number("bytes_read")?,
            uptime_seconds: number("uptime_seconds")?,
        })
    }
}

/// A mount as programs take it. What is not known is null.
fn object(mount: &MountInfo, state: &State) -> Value {
    let told = state.told();
    json!({
        "archive": as_text(&mount.source),
        "mount_point": as_text(mount.mount_point.as_os_str()),
        "state": state.name(),
        "pid": told.map(|told| told.pid),
        "stale": told.map(|told| told.stale),
        "members": told.map(|told| told.members),
        "lanes": told.map(|told| &told.lanes),
        "bytes_read": told.map(|told| told.bytes_read),
        "uptime_seconds": told.map(|told| told.uptime_seconds),
    })
}

/// A path as it is, or with escapes where it is not UTF-8.
fn as_text(path: &OsStr) -> String {
    path.to_str()
        .map_or_else(|| escaped(path), ToOwned::to_owned)
}

fn escaped(path: &OsStr) -> String {
    Escaped(path.as_bytes()).to_string()
}

/// A mount as people take it. What is not known is a hyphen.
fn row(mount: &MountInfo, state: &State) -> Row {
    let told = |show: fn(&MountStats) -> String| state.told().map_or_else(|| "-".to_owned(), show);
    [
        escaped(mount.mount_point.as_os_str()),
        escaped(&mount.source),
        told(|told| told.pid.to_string()),
        state.name().to_owned(),
        told(|told| told.members.to_string()),
        told(|told| Size(told.bytes_read).to_string()),
        told(|told| {
            let lane = |(name, members): (&String, &Value)| {
                format!("{members} {}", Escaped(name.as_bytes()))
            };
            told.lanes.iter().map(lane).collect::<Vec<_>>().join(", ")
        }),
    ]
}

/// Lines with their columns one below the other, two blanks apart.
fn table(rows: &[(Row, [Style; COLUMNS])]) -> String {
    let mut widths = [0; COLUMNS];
    for (row, _) in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.width().max(*width);
        }
    }
    let mut text = String::new();
    for (row, styles) in rows {
        // Blanks are written only when something follows.
        let mut blanks = 0;
        for ((cell, style), width) in row.iter().zip(styles).zip(widths) {
            text += &format!("{:blanks$}{style}{cell}{style:#}", "");
            blanks = width - cell.width() + 2;
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &str = r#"{"pid":7,"stale":false,"members":3,"lanes":{"mapped":2,"unreadable":1},
        "bytes_read":1000,"uptime_seconds":5,"read":9}"#;

    fn mount() -> MountInfo {
        MountInfo {
            id: 36,
            parent: 35,
            device: (0, 98),
            mount_point: "/mnt/a\nb".into(),
            fs_type: "fuse.npzfs".into(),
            source: "/data/frame.npz".into(),
        }
    }

    #[test]
    fn what_a_process_tells_is_checked() {
        assert!(MountStats::parse(TOLD.as_bytes()).is_some());
        for (good, bad) in [
            ("7", "-7"),
            ("false", "0"),
            ("\"members\":3", "\"members\":\"\\u001b[2J\""),
            ("\"mapped\":2", "\"mapped\":[2]"),
            ("\"lanes\"", "\"others\""),
            ("}", ""),
        ] {
            let told = TOLD.replacen(good, bad, 1);
            assert!(MountStats::parse(told.as_bytes()).is_none(), "{told}");
        }
        assert!(MountStats::parse(b"\xff").is_none());
    }

    #[test]
    fn columns_are_one_below_the_other_and_names_escaped() {
        let told = MountStats::parse(TOLD.as_bytes()).unwrap();
        let listed = [(mount(), State::Live(told)), (mount(), State::Dead)];
        let table = shown(&listed, false);
        let dead = format!("/data/frame.npz  -    {FAULT}dead{FAULT:#}   -        -       -\n");
        assert!(table.ends_with(&dead), "{table:?}");
        assert_eq!(
            anstream::adapter::strip_str(&table).to_string(),
            "MOUNTPOINT  ARCHIVE          PID  STATE  MEMBERS  SERVED  LANES\n\
             /mnt/a\\nb   /data/frame.npz  7    live   3        1.0 kB  2 mapped, 1 unreadable\n\
             /mnt/a\\nb   /data/frame.npz  -    dead   -        -       -\n"
        );
    }

    #[test]
    fn without_mounts_there_is_no_table_and_an_empty_array() {
        assert_eq!(shown(&[], false), "");
        assert_eq!(shown(&[], true), "[]\n");
    }

    #[test]
    fn columns_are_as_wide_as_a_terminal_shows_them() {
        let mut wide = mount();
        wide.mount_point = "/mnt/漢字".into();
        let table = shown(&[(mount(), State::Dead), (wide, State::Dead)], false);
        let table = anstream::adapter::strip_str(&table).to_string();
        let starts = table
            .lines()
            .map(|line| line.split_at(line.find("/data").unwrap_or(12)).0);
        assert!(
            starts.map(UnicodeWidthStr::width).all(|width| width == 12),
            "{table}"
        );
    }

    #[test]
    fn characters_that_control_a_terminal_are_escaped_in_json_and_survive() {
        let mut odd = mount();
        odd.mount_point = "/mnt/\u{1b}\n\u{9b}31m\u{202e}ä𝄞".into();
        let json = shown(&[(odd.clone(), State::Dead)], true);
        let harmful =
            |character| character != '\n' && crate::ui::human::is_terminal_unsafe(character);
        assert!(!json.contains(harmful), "{json:?}");
        let read: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read[0]["mount_point"], odd.mount_point.to_str().unwrap());
    }

    #[test]
    fn what_is_not_known_is_null() {
        let object = object(&mount(), &State::NotPermitted);
        assert_eq!(object["mount_point"], "/mnt/a\nb");
        assert_eq!(object["state"], "not permitted");
        assert_eq!(object["pid"], Value::Null);
        assert_eq!(object.as_object().unwrap().len(), 9);
    }
}
