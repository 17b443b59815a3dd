//! The damage of `make test`, as libFuzzer wants it.

use crate::mutate::{Format, Random, damage};

/// Damages the first `size` bytes of `data`, which has no room for more than it is long, and
/// returns how many bytes there are then. Often nothing is done, or nothing but mending, so that
/// libFuzzer's own mutations have their turn.
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
