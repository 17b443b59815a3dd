//! The speed at which a long member is read through a mount, and the memory of the server after that.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::server::Mount;
use crate::{MIB, Result, Samples, archives, timed, verdict};

/// Length of the member, npy header included.
const LEN: u64 = 4 << 30;
const READ_LEN: usize = 1 << 20;

/// The required anonymous memory of the server after the reads, in MiB.
const SERVED_MAX: f64 = 32.;

pub fn bench(directory: &Path, rounds: usize) -> Result<()> {
    let path = directory.join("long.npz");
    archives::write(&path, 1, LEN - archives::NPY_HEADER_LEN)?;
    // Read once into the page cache, so that the first round is like the others.
    read(&path)?;
    let [mut direct, mut cold, mut warm] = [(); 3].map(|()| Samples::default());
    let [mut before, mut after, mut mapped] = [(); 3].map(|()| Samples::default());
    for _ in 0..rounds {
        direct.push(read(&path)?);
        let mount = Mount::new(&path)?;
        before.push(mount.memory()?.anonymous / MIB);
        let member = mount.path().join("arr_0.npy");
        cold.push(read(&member)?);
        warm.push(read(&member)?);
        let memory = mount.memory()?;
        after.push(memory.anonymous / MIB);
        mapped.push(memory.mapped / MIB);
    }
    let [direct, cold, warm] = [direct, cold, warm].map(|rate| rate.median());
    let [before, after, mapped] = [before, after, mapped].map(|mib| mib.median());
    println!("\nServing a member of 4 GiB in reads of 1 MiB");
    println!("the archive itself  {direct:8.2} GB/s");
    println!(
        "mount, first time   {cold:8.2} GB/s, {:.2} of that",
        cold / direct
    );
    println!(
        "mount, again        {warm:8.2} GB/s, {:.2} of that",
        warm / direct
    );
    println!("RssAnon before      {before:8.2} MiB");
    println!("RssAnon after       {after:8.2} MiB");
    println!("RssFile after       {mapped:8.2} MiB, page cache that is only mapped");
    verdict("MiB of RssAnon after it", after, SERVED_MAX);
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
    if len < LEN {
        return Err(format!("{}: ends after {len} bytes", path.display()).into());
    }
    Ok(len as f64 / seconds / 1e9)
}
