//! Fuzzes the index of an archive and the tree that is built from it.

#![no_main]

mod in_place;
#[path = "../../tests/fuzzing/index.rs"]
mod index;
#[path = "../../tests/fuzzing/mutate.rs"]
mod mutate;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|bytes: &[u8]| index::check(bytes));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let size = fuzzer_mutate(data, size, max_size);
    in_place::damage_in_place(data, size, seed, &index::ARCHIVE)
});
