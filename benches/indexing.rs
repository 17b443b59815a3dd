//! The time that indexing takes, compared with the crate `zip`.

use std::env;
use std::fs::File;
use std::hint::black_box;
use std::io::BufReader;
use std::mem;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use npzfs::tree::{Times, Tree};
use npzfs::zip::index;
use zip::ZipArchive;

use crate::{Result, Samples, timed, verdict};

/// The required time for the most members, as a multiple of that of the crate `zip`, which reads no
/// local header and checks nothing.
const RATIO_MAX: f64 = 1.5;

/// The candidates.
const READERS: [&str; 3] = ["zip", "zip+starts", "npzfs"];

/// The argument with which this program runs itself to measure one reader once.
pub const ONE: &str = "--one";

pub fn bench(archives: &[(u64, PathBuf)], rounds: usize) -> Result<()> {
    let mut times = vec![READERS.map(|_| Samples::default()); archives.len()];
    for _ in 0..rounds {
        for ((_, path), times) in archives.iter().zip(&mut times) {
            for (reader, times) in READERS.iter().zip(times) {
                times.push(in_own_process(reader, path)?);
            }
        }
    }
    println!("\nIndexing, in ms: the crate zip, the same and each member's data_start, npzfs");
    println!("  members         zip  zip+starts       npzfs  npzfs/zip  npzfs/zip+starts");
    let mut ratio = 0.;
    for ((members, _), times) in archives.iter().zip(&times) {
        let [zip, starts, npzfs] = times.each_ref().map(|time| time.median() * 1e3);
        ratio = npzfs / zip;
        let to_starts = npzfs / starts;
        println!("{members:9} {zip:11.2} {starts:11.2} {npzfs:11.2} {ratio:10.2} {to_starts:17.2}");
    }
    verdict("npzfs/zip with the most members", ratio, RATIO_MAX);
    Ok(())
}

/// Measures in a process of its own, as a mount is one: memory that the allocator keeps of one
/// archive changes the time of the next by as much as is to be measured.
fn in_own_process(reader: &str, path: &Path) -> Result<f64> {
    let output = Command::new(env::current_exe()?)
        .args([ONE, reader])
        .arg(path)
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("{reader}: {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// Prints how many seconds `reader` takes to index the archive at `path`.
pub fn measure(reader: &str, path: &Path) -> Result<()> {
    // Freeing the result is left to the end of the process and not measured.
    let (indexed, seconds) = match reader {
        "zip" => timed(|| open(path).map(mem::forget)),
        "zip+starts" => timed(|| open_with_starts(path).map(mem::forget)),
        "npzfs" => timed(|| tree(path).map(mem::forget)),
        _ => return Err(format!("no reader {reader}").into()),
    };
    indexed?;
    println!("{seconds}");
    Ok(())
}

fn open(path: &Path) -> Result<ZipArchive<BufReader<File>>> {
    Ok(ZipArchive::new(BufReader::new(File::open(path)?))?)
}

fn open_with_starts(path: &Path) -> Result<ZipArchive<BufReader<File>>> {
    let mut archive = open(path)?;
    for number in 0..archive.len() {
        black_box(archive.by_index_raw(number)?.data_start());
    }
    Ok(archive)
}

fn tree(path: &Path) -> Result<Tree> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let index = index(&file, metadata.len(), metadata.mtime());
    let index = index.map_err(|error| error.to_string())?;
    let tree = Tree::new(index, Times::from(&metadata)).map_err(|_| "too many members")?;
    Ok(tree)
}
