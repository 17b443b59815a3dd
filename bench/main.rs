//! What npzfs costs: to index an archive, to mount it, to read through the mount.
//!
//! `cargo bench`, or `cargo bench -- --quick` for one round instead of five. What is compared is
//! measured in turns, round by round, so that whatever else the machine does hits all alike; the
//! figures are medians. Archives are in the page cache. They take 0.3 GB in the directory for
//! temporary files, and the page cache should have room for 9 GB, or reading is bound by the disk.

mod archives;
mod server;

use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use npzfs::archive;
use npzfs::tree::Tree;
use server::Mount;
use zip::ZipArchive;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Numbers of members, the smallest first: what a server needs anyway is told from it.
const SIZES: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// Bytes of data of each of many members.
const SMALL: u64 = 8;
/// Length of the member that is read through a mount, npy header included.
const LARGE: u64 = 4 << 30;
/// Lengths of archives between which the time to mount should not differ.
const LENGTHS: [u64; 2] = [9_000, 9_000_000_000];
const READ_LEN: usize = 1 << 20;

/// What is required of an archive of a million members: time to index in that of the crate `zip`.
const INDEXING_MAX: f64 = 1.5;
/// What is required there of the server's private memory, in bytes a member.
const MEMBER_MAX: f64 = 150.;
/// What is required of the server's anonymous memory when it has served [`LARGE`], in MiB.
const SERVED_MAX: f64 = 32.;

const MIB: f64 = (1 << 20) as f64;

fn main() -> Result<()> {
    let quick = env::args().any(|argument| argument == "--quick");
    let rounds = if quick { 1 } else { 5 };
    let directory = tempfile::tempdir()?;
    let mut archives = Vec::new();
    for members in SIZES {
        let path = directory.path().join(format!("{members}.npz"));
        archives::write(&path, members, SMALL)?;
        archives.push(path);
    }
    println!("medians of {rounds} rounds");
    indexing(&archives, rounds)?;
    mounting(&archives, rounds)?;
    serving(directory.path(), rounds)?;
    lengths(directory.path(), rounds)
}

fn indexing(archives: &[PathBuf], rounds: usize) -> Result<()> {
    let mut times = vec![[const { Samples::new() }; 3]; SIZES.len()];
    for _ in 0..rounds {
        for (path, [crate_zip, with_starts, npzfs]) in archives.iter().zip(&mut times) {
            let (opened, seconds) = timed(|| open(path));
            drop(opened?);
            crate_zip.push(seconds);
            let (opened, seconds) = timed(|| open_with_starts(path));
            drop(opened?);
            with_starts.push(seconds);
            let (tree, seconds) = timed(|| tree(path));
            drop(tree?);
            npzfs.push(seconds);
        }
    }
    println!(
        "\nIndexing, in ms: the crate zip, the same and where each member's data starts, npzfs"
    );
    println!("  members         zip  zip+starts       npzfs   npzfs/zip  npzfs/zip+starts");
    let mut ratio = 0.;
    for (members, times) in SIZES.iter().zip(&times) {
        let [crate_zip, with_starts, npzfs] = times.each_ref().map(|time| time.median() * 1e3);
        ratio = npzfs / crate_zip;
        println!(
            "{members:9} {crate_zip:11.2} {with_starts:11.2} {npzfs:11.2} {ratio:11.2} {:17.2}",
            npzfs / with_starts,
        );
    }
    verdict("npzfs/zip at the most members", ratio, INDEXING_MAX);
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
    let index = archive::index(&file, metadata.len(), metadata.mtime());
    let index = index.map_err(|defect| defect.to_string())?;
    Ok(Tree::new(index, metadata.mtime()).map_err(|_| "too many members")?)
}

fn mounting(archives: &[PathBuf], rounds: usize) -> Result<()> {
    let mut samples = vec![[const { Samples::new() }; 3]; SIZES.len()];
    for _ in 0..rounds {
        for (path, [time, anonymous, private]) in archives.iter().zip(&mut samples) {
            let mount = Mount::new(path)?;
            let memory = mount.memory()?;
            time.push(mount.seconds);
            anonymous.push(memory.anonymous);
            private.push(memory.private);
        }
    }
    println!("\nMounting: until npzfs mount returns, and the memory of the process that serves");
    println!("  members          ms  RssAnon MiB  private MiB  RssAnon/member  private/member");
    let mut base = (0., 0.);
    let mut private_each = 0.;
    for (members, samples) in SIZES.iter().zip(&samples) {
        let members = *members as f64;
        let [seconds, anonymous, private] = samples.each_ref().map(Samples::median);
        private_each = private / members;
        // What each member adds to the smallest archive.
        let each = match base {
            (0., _) => "-".to_owned(),
            (fewer, less) => format!("{:.1} B", (anonymous - less) / (members - fewer)),
        };
        if base.0 == 0. {
            base = (members, anonymous);
        }
        println!(
            "{members:9} {:11.2} {:12.2} {:12.2} {each:>15} {private_each:13.1} B",
            seconds * 1e3,
            anonymous / MIB,
            private / MIB,
        );
    }
    verdict(
        "private bytes a member at the most members",
        private_each,
        MEMBER_MAX,
    );
    Ok(())
}

fn serving(directory: &Path, rounds: usize) -> Result<()> {
    let path = directory.join("large.npz");
    archives::write(&path, 1, LARGE - archives::NPY_HEADER_LEN)?;
    // Else the first round alone would fill the page cache.
    read(&path)?;
    let [mut direct, mut cold, mut warm, mut before, mut after] = [const { Samples::new() }; 5];
    for _ in 0..rounds {
        direct.push(read(&path)?);
        let mount = Mount::new(&path)?;
        before.push(mount.memory()?.anonymous / MIB);
        let member = mount.path().join("arr_0.npy");
        cold.push(read(&member)?);
        warm.push(read(&member)?);
        after.push(mount.memory()?.anonymous / MIB);
    }
    fs::remove_file(path)?;
    let [direct, cold, warm] = [direct, cold, warm].map(|rate| rate.median());
    println!("\nServing a member of 4 GiB in reads of 1 MiB");
    println!("  archive itself     {direct:7.2} GB/s");
    println!(
        "  mount, first time  {cold:7.2} GB/s  {:5.2} of the archive itself",
        cold / direct
    );
    println!(
        "  mount, again       {warm:7.2} GB/s  {:5.2}",
        warm / direct
    );
    println!("  RssAnon before     {:7.2} MiB", before.median());
    println!("  RssAnon after      {:7.2} MiB", after.median());
    verdict("MiB of RssAnon after", after.median(), SERVED_MAX);
    Ok(())
}

/// Reads a file from end to end; returns the rate in GB/s.
fn read(path: &Path) -> Result<f64> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; READ_LEN];
    let mut len = 0;
    let (read, seconds) = timed(|| -> Result<()> {
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(()),
                read => len += read as u64,
            }
        }
    });
    read?;
    if len < LARGE {
        return Err(format!("{}: ends after {len} bytes", path.display()).into());
    }
    Ok(len as f64 / seconds / 1e9)
}

fn lengths(directory: &Path, rounds: usize) -> Result<()> {
    let mut times = [const { Samples::new() }; LENGTHS.len()];
    let paths = LENGTHS.map(|len| directory.join(format!("{len}-bytes.npz")));
    for (path, len) in paths.iter().zip(LENGTHS) {
        archives::write(path, 1, len)?;
    }
    for _ in 0..rounds {
        for (path, times) in paths.iter().zip(&mut times) {
            times.push(Mount::new(path)?.seconds);
        }
    }
    let [short, long] = times.map(|time| time.median() * 1e3);
    println!("\nMounting an archive of one member");
    println!("  9 kB  {short:7.2} ms");
    println!("  9 GB  {long:7.2} ms  {:5.2} times as long", long / short);
    Ok(())
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed().as_secs_f64())
}

fn verdict(what: &str, measured: f64, max: f64) {
    let verdict = if measured <= max { "met" } else { "MISSED" };
    println!("  required: {what} at most {max}; measured: {measured:.2}; {verdict}");
}

/// The same quantity, measured again and again.
#[derive(Clone)]
struct Samples(Vec<f64>);

impl Samples {
    const fn new() -> Self {
        Self(Vec::new())
    }

    fn push(&mut self, sample: f64) {
        self.0.push(sample);
    }

    fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }
}
