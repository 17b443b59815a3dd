//! The random damage of `make test` as a custom mutator for libFuzzer.

use crate::mutate::{Format, Random, damage};

/// Damages the first `size` bytes of `data` and returns the new size, which is at most the length of
/// `data`. Often it does nothing, or only corrects numbers, so that libFuzzer's own mutations are
/// tried.
pub fn damage_in_place(data: &mut [u8], size: usize, seed: u32, format: &Format) -> usize {
    let mut random = Random::new(seed);
    let mut bytes = data[..size].to_vec();
    match random.below(4) {
        0 => return size,
        1 => (format.mend)(&mut bytes),
        _ => damage(&mut bytes, &data[..size], format, &mut random),
    }
    bytes.truncate(data.len());
    data[..bytes.len()].copy_from_slice(&bytes);
    bytes.len()
}
