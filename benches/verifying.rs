//! The time that verifying an archive takes, compared with `unzip -t` and Python's `zipfile -t`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::{Result, Samples, timed, verdict};

/// The candidates, each of which must find the archive sound.
const PROGRAMS: [&[&str]; 3] = [
    &[env!("CARGO_BIN_EXE_npzfs"), "verify"],
    &["unzip", "-tqq"],
    &["python3", "-m", "zipfile", "-t"],
];

/// The required time, as a multiple of that of the faster one of the others.
const RATIO_MAX: f64 = 1.;

/// The shape of one archive.
struct Kind {
    name: &'static str,
    method: CompressionMethod,
    members: usize,
    /// Length of each member, in bytes.
    len: usize,
}

pub fn bench(directory: &Path, rounds: usize, quick: bool) -> Result<()> {
    let divisor = if quick { 8 } else { 1 };
    let kind = |name, method, members, len| Kind {
        name,
        method,
        members,
        len,
    };
    let (stored, deflated) = (CompressionMethod::Stored, CompressionMethod::Deflated);
    let kinds = [
        kind("8 stored members", stored, 8, (128 << 20) / divisor),
        kind("1 stored member", stored, 1, (1 << 30) / divisor),
        kind("8 deflated members", deflated, 8, (32 << 20) / divisor),
        kind("10,000 small members", stored, 10_000, 1000),
    ];
    println!("\nVerifying, in ms: npzfs verify, unzip -t, python3 -m zipfile -t");
    println!("                           MiB      npzfs      unzip    zipfile  npzfs/the faster");
    let mut worst = 0f64;
    for kind in &kinds {
        let path = directory.join("verified.zip");
        write(&path, kind)?;
        let mut times = PROGRAMS.map(|_| Samples::default());
        for _ in 0..rounds {
            for (program, times) in PROGRAMS.iter().zip(&mut times) {
                times.push(seconds(program, &path)?);
            }
        }
        std::fs::remove_file(&path)?;
        let [npzfs, unzip, zipfile] = times.each_ref().map(|time| time.median() * 1e3);
        let ratio = npzfs / unzip.min(zipfile);
        worst = worst.max(ratio);
        let (name, mib) = (kind.name, (kind.members * kind.len) >> 20);
        println!("{name:24} {mib:5} {npzfs:10.1} {unzip:10.1} {zipfile:10.1} {ratio:17.2}");
    }
    verdict("npzfs/the faster, at worst", worst, RATIO_MAX);
    Ok(())
}

fn seconds(program: &[&str], path: &Path) -> Result<f64> {
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).arg(path).stdout(Stdio::null());
    let (status, seconds) = timed(|| command.status());
    match status {
        Ok(status) if status.success() => Ok(seconds),
        Ok(status) => Err(format!("{}: {status}", program[0]).into()),
        Err(error) => Err(format!("{}: {error}", program[0]).into()),
    }
}

/// Returns 64-bit numbers below 2^16, which compress well.
fn write(path: &Path, kind: &Kind) -> Result<()> {
    let mut state = 1u64;
    let numbers = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state & 0xFFFF
    });
    let contents: Vec<u8> = numbers
        .take(kind.len / 8)
        .flat_map(u64::to_le_bytes)
        .collect();
    let options = SimpleFileOptions::default().compression_method(kind.method);
    let mut archive = ZipWriter::new(BufWriter::new(File::create_new(path)?));
    for number in 0..kind.members {
        archive.start_file(format!("arr_{number}"), options)?;
        archive.write_all(&contents)?;
    }
    // Otherwise it would be written back to the disk during a measurement.
    Ok(archive.finish()?.into_inner()?.sync_all()?)
}
