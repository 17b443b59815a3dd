//! The time that a mount takes to appear, and the memory of its server.

use std::path::{Path, PathBuf};

use crate::server::Mount;
use crate::{MIB, Result, Samples, archives, verdict};

/// The required private memory of the server for the most members, in bytes a member.
const MEMBER_MAX: f64 = 150.;

/// A mount takes a few milliseconds here, so there are more mounts than rounds.
const MOUNTS_A_ROUND: usize = 4;

pub fn bench(archives: &[(u64, PathBuf)], rounds: usize) -> Result<()> {
    let mut samples = vec![[(); 3].map(|()| Samples::default()); archives.len()];
    for _ in 0..rounds {
        for ((_, path), [seconds, anonymous, private]) in archives.iter().zip(&mut samples) {
            let mount = Mount::new(path)?;
            let memory = mount.memory()?;
            seconds.push(mount.seconds);
            anonymous.push(memory.anonymous);
            private.push(memory.private);
        }
    }
    println!("\nMounting: until npzfs mount returns, and the memory of the server");
    println!("  members          ms  RssAnon MiB  private MiB  added B/member  private B/member");
    let mut fewest = None;
    let mut private_each = 0.;
    for ((members, _), samples) in archives.iter().zip(&samples) {
        let count = *members as f64;
        let [seconds, anonymous, private] = samples.each_ref().map(Samples::median);
        let ms = seconds * 1e3;
        let (anonymous_mib, private_mib) = (anonymous / MIB, private / MIB);
        // Memory that each member adds to that of the smallest archive.
        let (fewer, less) = *fewest.get_or_insert((count, anonymous));
        let added = (anonymous - less) / (count - fewer).max(1.);
        private_each = private / count;
        println!(
            "{members:9} {ms:11.2} {anonymous_mib:12.2} {private_mib:12.2} {added:15.1} \
             {private_each:17.1}"
        );
    }
    verdict(
        "private bytes a member with the most members",
        private_each,
        MEMBER_MAX,
    );
    Ok(())
}

/// Mounts archives of different lengths: the time should not depend on it.
pub fn bench_lengths(directory: &Path, rounds: usize) -> Result<()> {
    let lengths = [("9 kB", 9_000), ("9 GB", 9_000_000_000)];
    let paths = lengths.map(|(name, _)| directory.join(name));
    for (path, (_, len)) in paths.iter().zip(lengths) {
        archives::write(path, 1, len)?;
    }
    let mut times = lengths.map(|_| Samples::default());
    for _ in 0..rounds * MOUNTS_A_ROUND {
        for (path, times) in paths.iter().zip(&mut times) {
            times.push(Mount::new(path)?.seconds);
        }
    }
    let [short, long] = times.map(|time| time.median() * 1e3);
    println!("\nMounting an archive of one member");
    println!("9 kB  {short:7.2} ms");
    println!("9 GB  {long:7.2} ms  {:.2} times as long", long / short);
    Ok(())
}
