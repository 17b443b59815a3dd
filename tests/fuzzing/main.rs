//! The fuzz targets as ordinary tests: the checks of `fuzz/` run on its corpus and on a bounded number
//! of damaged archives and npy headers.

// Builds archives byte by byte; part of it is for the other tests only.
#[allow(dead_code)]
#[path = "../integration/fixture.rs"]
mod fixture;
mod header;
mod index;
mod mutate;
mod samples;

use std::fs;
use std::panic;
use std::path::Path;

use mutate::{Format, Random};

/// Returns the files of a corpus with their names, always in the same order.
fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let entries = fs::read_dir(directory.join(name)).expect("the corpus is there");
    let mut files: Vec<_> = entries
        .map(|entry| {
            let entry = entry.expect("directory is readable");
            let bytes = fs::read(entry.path()).expect("file is readable");
            (entry.file_name().display().to_string(), bytes)
        })
        .collect();
    files.sort();
    files
}

/// Runs `check` and prints the input where it fails.
fn check_named(check: fn(&[u8]), bytes: &[u8], name: impl FnOnce() -> String) {
    if let Err(failure) = panic::catch_unwind(|| check(bytes)) {
        eprintln!("{}: \"{}\"", name(), bytes.escape_ascii());
        panic::resume_unwind(failure);
    }
}

fn check_corpus(name: &str, check: fn(&[u8])) {
    let files = corpus(name);
    assert!(!files.is_empty());
    for (name, bytes) in files {
        check_named(check, &bytes, || name);
    }
}

/// Checks `rounds` damaged files. The damage of each round differs and is the same in every run.
fn check_damaged(files: &[Vec<u8>], rounds: u32, format: &Format, check: fn(&[u8])) {
    for seed in 0..rounds {
        let mut random = Random::new(seed);
        let mut bytes = random.pick(files).clone();
        let other = random.pick(files);
        mutate::damage(&mut bytes, other, format, &mut random);
        check_named(check, &bytes, || format!("seed {seed}"));
    }
}

fn contents(files: Vec<(String, Vec<u8>)>) -> impl Iterator<Item = Vec<u8>> {
    files.into_iter().map(|(_, bytes)| bytes)
}

#[test]
fn every_archive_of_the_corpus_is_refused_or_indexed_soundly() {
    check_corpus("index", index::check);
}

#[test]
fn every_npy_header_of_the_corpus_is_refused_or_read_soundly() {
    check_corpus("header", header::check);
}

#[test]
fn damaged_archives_are_refused_or_indexed_soundly() {
    let mut files = samples::archives();
    files.extend(contents(corpus("index")));
    check_damaged(&files, 100_000, &index::ARCHIVE, index::check);
}

#[test]
fn damaged_npy_headers_are_refused_or_read_soundly() {
    let mut files = samples::npy_headers();
    files.extend(contents(corpus("header")));
    check_damaged(&files, 50_000, &header::NPY_HEADER, header::check);
}

#[test]
fn archives_of_odd_names_make_sound_trees() {
    for seed in 0..2_000 {
        let bytes = samples::archive_of_odd_names(&mut Random::new(seed));
        check_named(index::check, &bytes, || format!("seed {seed}"));
    }
}

/// Without this, the tests above might damage archives that cannot be read in the first place.
#[test]
fn samples_are_sound_before_they_are_damaged() {
    for bytes in samples::archives() {
        let index = npzfs::zip::index(&bytes[..], bytes.len() as u64, 0);
        let members = index.expect("archive is sound").members;
        assert!(members.iter().any(|member| member.problem.is_none()));
        index::check(&bytes);
    }
    for bytes in samples::npy_headers() {
        assert!(npzfs::npy::NpyHeader::parse(&bytes).is_some());
        header::check(&bytes);
    }
}
