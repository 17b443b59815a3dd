//! Benchmarks of the steps: indexing an archive, mounting it, reading through the mount, verifying it.
//!
//! Run `cargo bench`, or `cargo bench -- --quick` for one round instead of five. Candidates are
//! measured in turns, round by round, so that other load on the machine affects them alike; the
//! figures are medians. The archives are in the page cache. They take 1.4 GB in the directory for
//! temporary files and need 10 GB of free memory, otherwise the disk is measured. `unzip` and
//! `python3` must be installed.

mod archives;
mod indexing;
mod mounting;
mod server;
mod serving;
mod verifying;

use std::env;
use std::error::Error;
use std::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Numbers of members of the archives, in ascending order.
const SIZES: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// Bytes of data of each of these members.
const DATA_LEN: u64 = 8;

const MIB: f64 = (1 << 20) as f64;

fn main() -> Result<()> {
    // Cargo adds `--bench`, which is ignored.
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [first, reader, path] = &arguments[..]
        && first == indexing::ONE
    {
        return indexing::measure(reader, path.as_ref());
    }
    let quick = arguments.iter().any(|word| word == "--quick") || env::var_os("QUICK").is_some();
    let rounds = if quick { 1 } else { 5 };
    println!("medians of {rounds} rounds");
    let directory = tempfile::tempdir()?;
    let archives = SIZES.map(|members| (members, directory.path().join(format!("{members}.npz"))));
    for (members, path) in &archives {
        archives::write(path, *members, DATA_LEN)?;
    }
    indexing::bench(&archives, rounds)?;
    mounting::bench(&archives, rounds)?;
    mounting::bench_lengths(directory.path(), rounds)?;
    serving::bench(directory.path(), rounds)?;
    verifying::bench(directory.path(), rounds, quick)
}

/// Returns the result of `work` and its duration in seconds.
fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed().as_secs_f64())
}

fn verdict(what: &str, measured: f64, max: f64) {
    let verdict = if measured <= max { "met" } else { "MISSED" };
    println!("{what}: {measured:.2}, required at most {max}: {verdict}");
}

/// The samples of one quantity, one a round.
#[derive(Clone, Default)]
struct Samples(Vec<f64>);

impl Samples {
    fn push(&mut self, sample: f64) {
        self.0.push(sample);
    }

    fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }
}
