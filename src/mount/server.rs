//! The server of a mount: whether it answers, and what it says of itself.
//!
//! Every user can mount a file system that claims to be npzfs, so an answer is checked like any other
//! input.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::mount::probe;
use crate::sys::file;
use crate::sys::mountinfo::Pin;
use crate::sys::process;

// Answers of the process that asks, in place of the server's.
const DEAD: &[u8] = b"dead";
const NOT_PERMITTED: &[u8] = b"not permitted";
const COVERED: &[u8] = b"covered";

/// A mount whose server is asked.
#[derive(Debug)]
pub struct Target {
    /// A path to the mount point.
    pub path: PathBuf,
    /// The mount ID.
    pub id: u64,
}

/// The state of a mount.
#[derive(Debug)]
pub enum State {
    /// The server answers.
    Live(MountStats),
    /// The server has ended: ENOTCONN, "Transport endpoint is not connected".
    Dead,
    /// The server does not answer.
    NotAnswering,
    /// The mount is another user's, and the kernel does not pass the request on.
    NotPermitted,
    /// Another mount is on top of it.
    Covered,
    /// The answer is not one of npzfs.
    Unclear,
}

/// The answer of a server.
#[derive(Debug)]
pub struct MountStats {
    /// The number of the server's process; `None` if it is in a PID namespace that cannot be seen.
    pub pid: Option<u32>,
    /// Whether an archive has changed since it was mounted.
    pub stale: bool,
    /// The number of members.
    pub members: u64,
    /// The number of members of each lane.
    pub lanes: Map<String, Value>,
    /// The number of bytes that were read from the server.
    pub bytes_read: u64,
    /// The time since the mount was made.
    pub uptime_seconds: u64,
}

/// Asks the servers of all targets at once, and returns the states in the order of the targets.
pub fn probe_all(targets: &[Target], timeout: Duration) -> Vec<State> {
    let answers = probe::probe_all(timeout, targets, ask).into_iter();
    answers.map(State::parse).collect()
}

fn ask(target: &Target) -> Vec<u8> {
    let answer = Pin::new(&target.path).and_then(|pin| {
        if pin.mount_id()? != target.id {
            return Ok(COVERED.to_vec());
        }
        file::getxattr(&pin.path(), c"user.npzfs.stats")
    });
    answer.unwrap_or_else(|error| match error.raw_os_error() {
        // ECONNABORTED if it ended while it was being asked.
        Some(libc::ENOTCONN | libc::ECONNABORTED) => DEAD.to_vec(),
        Some(libc::EACCES | libc::EPERM) => NOT_PERMITTED.to_vec(),
        _ => error.to_string().into_bytes(),
    })
}

impl State {
    fn parse(answer: Option<Vec<u8>>) -> Self {
        match answer.as_deref() {
            None => Self::NotAnswering,
            Some(DEAD) => Self::Dead,
            Some(NOT_PERMITTED) => Self::NotPermitted,
            Some(COVERED) => Self::Covered,
            Some(stats) => MountStats::parse(stats).map_or(Self::Unclear, Self::Live),
        }
    }

    /// Returns the answer of the server, if it has answered.
    pub fn stats(&self) -> Option<&MountStats> {
        match self {
            Self::Live(stats) => Some(stats),
            _ => None,
        }
    }
}

impl MountStats {
    /// Parses the value of `user.npzfs.stats`.
    pub fn parse(stats: &[u8]) -> Option<Self> {
        let stats: Value = serde_json::from_slice(stats).ok()?;
        let number = |name: &str| stats.get(name)?.as_u64();
        let lanes = stats.get("lanes")?.as_object()?;
        if !lanes.values().all(Value::is_u64) {
            return None;
        }
        let pid = u32::try_from(number("pid")?).ok()?;
        Some(Self {
            pid: number("pid_namespace").and_then(|namespace| process::find_pid(pid, namespace)),
            stale: stats.get("stale")?.as_bool()?,
            members: number("members")?,
            lanes: lanes.clone(),
            bytes_read: number("bytes_read")?,
            uptime_seconds: number("uptime_seconds")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_not_one_of_npzfs_is_unclear() {
        let namespace = process::pid_namespace().unwrap();
        let stats = format!(
            r#"{{"pid":7,"pid_namespace":{namespace},"stale":false,"members":3,
            "lanes":{{"mapped":2,"unreadable":1}},"bytes_read":1000,"uptime_seconds":5,"read":9}}"#
        );
        assert_eq!(MountStats::parse(stats.as_bytes()).unwrap().pid, Some(7));
        for (good, bad) in [
            ("7", "-7"),
            ("7", "4294967296"),
            ("false", "0"),
            ("\"members\":3", "\"members\":\"\\u001b[2J\""),
            ("\"mapped\":2", "\"mapped\":[2]"),
            ("\"lanes\"", "\"others\""),
            ("}", ""),
        ] {
            let stats = stats.replacen(good, bad, 1);
            let state = State::parse(Some(stats.clone().into_bytes()));
            assert!(matches!(state, State::Unclear), "{stats}");
        }
        assert!(matches!(
            State::parse(Some(b"\xff".to_vec())),
            State::Unclear
        ));
    }
}
