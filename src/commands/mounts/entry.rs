//! A mount that is listed.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::mount::copies::{self, Namespace};
use crate::mount::error::{MountError, system};
use crate::mount::server::{self, State, Target};
use crate::sys::mountinfo::{self, MountInfo};

/// A mount that is listed.
#[derive(Debug)]
pub(super) struct Entry {
    /// The path at which it is mounted. It leads through `/proc` where that is in another mount
    /// namespace.
    pub(super) mount_point: PathBuf,
    /// The source: the archive's path.
    pub(super) archive: OsString,
    pub(super) state: State,
}

impl Entry {
    /// Finds all npzfs mounts, and asks their servers, which may take up to `timeout`. A mount of
    /// another mount namespace is listed if there is no copy of it here.
    pub(super) fn find_all(timeout: Duration) -> Result<Vec<Self>, MountError> {
        let here = mountinfo::all().map_err(system("read /proc/self/mountinfo"))?;
        let here = here.into_iter().filter(MountInfo::is_npzfs);
        let mut mounts: Vec<_> = here
            .map(|mount| (mount.mount_point.clone(), mount))
            .collect();
        let mut known: HashSet<_> = mounts.iter().map(|(_, mount)| mount.device).collect();
        for namespace in copies::other_namespaces() {
            mounts.extend(of_namespace(&namespace, &mut known));
        }
        let target = |(path, mount): &(PathBuf, MountInfo)| Target {
            path: path.clone(),
            id: mount.id,
        };
        let targets: Vec<_> = mounts.iter().map(target).collect();
        let states = server::probe_all(&targets, timeout);
        let entries = mounts.into_iter().zip(states);
        let entries = entries.map(|((mount_point, mount), state)| Self {
            mount_point,
            archive: mount.source,
            state,
        });
        Ok(entries.collect())
    }
}

/// Returns the mounts of a namespace whose devices are not `known` yet.
fn of_namespace(
    namespace: &Namespace,
    known: &mut HashSet<(u32, u32)>,
) -> Vec<(PathBuf, MountInfo)> {
    let mounts = namespace.mounts.iter().filter(|mount| mount.is_npzfs());
    let unknown = mounts.filter(|mount| known.insert(mount.device));
    let mount = |mount: &MountInfo| (namespace.path(&mount.mount_point), mount.clone());
    unknown.map(mount).collect()
}

/// Returns the name of a state, as programs and people see it.
pub(super) fn name(state: &State) -> &'static str {
    match state {
        State::Live(stats) if stats.stale => "stale",
        State::Live(_) => "live",
        State::Dead => "dead",
        State::NotAnswering | State::Unclear => "not answering",
        State::NotPermitted => "not permitted",
        State::Covered => "covered",
    }
}
