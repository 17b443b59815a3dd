//! Random damage that knows the format, so that it gets past the first few checks.

/// A xorshift generator: the same seed gives the same damage everywhere.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u32) -> Self {
        Self((u64::from(seed) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// Returns a number below `limit`, and 0 if the limit is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 16) % limit.max(1) as u64) as usize
    }

    pub fn chance(&mut self) -> bool {
        self.below(2) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// A file format, as far as the damage needs it.
pub struct Format {
    /// Whether a part of the file starts with these bytes.
    pub starts_part: fn(&[u8]) -> bool,
    /// Byte strings that occur in the format.
    pub tokens: &'static [&'static [u8]],
    /// Corrects the numbers that readers check first, so that they get to the rest.
    pub mend: fn(&mut [u8]),
}

/// Damages `bytes` in one to four ways; `other` is a file that parts may come from.
pub fn damage(bytes: &mut Vec<u8>, other: &[u8], format: &Format, random: &mut Random) {
    for _ in 0..=random.below(4) {
        damage_once(bytes, other, format, random);
    }
    if random.chance() {
        (format.mend)(bytes);
    }
}

fn damage_once(bytes: &mut Vec<u8>, other: &[u8], format: &Format, random: &mut Random) {
    let parts = parts(bytes, format);
    let len = bytes.len();
    match random.below(9) {
        0 => {
            let at = random.below(len);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        1..=3 => {
            let at = *random.pick(&parts) + random.below(60);
            let value = number(len, random).to_le_bytes();
            let width = *random.pick(&[1, 2, 4, 8]);
            if let Some(field) = bytes.get_mut(at..at + width) {
                field.copy_from_slice(&value[..width]);
            }
        }
        4 => {
            let token = *random.pick(format.tokens);
            let at = *random.pick(&parts) + random.below(60);
            if random.chance() {
                bytes.splice(at.min(len)..at.min(len), token.iter().copied());
            } else if let Some(room) = bytes.get_mut(at..at + token.len()) {
                room.copy_from_slice(token);
            }
        }
        5 => {
            bytes.drain(range(&parts, len, random));
        }
        6 => {
            let part = bytes[range(&parts, len, random)].to_vec();
            let at = *random.pick(&parts);
            bytes.splice(at..at, part);
        }
        7 => {
            // Swap two neighbours.
            let first = range(&parts, len, random);
            let next = parts.iter().find(|&&at| at > first.end);
            let second = next.copied().unwrap_or(len);
            bytes[first.start..second].rotate_left(first.len());
        }
        _ => {
            let theirs = self::parts(other, format);
            let part = &other[range(&theirs, other.len(), random)];
            let place = range(&parts, len, random);
            bytes.splice(place, part.iter().copied());
        }
    }
}

/// Returns the offsets of the parts, and of the file's start.
fn parts(bytes: &[u8], format: &Format) -> Vec<usize> {
    let starts = (1..bytes.len()).filter(|&at| (format.starts_part)(&bytes[at..]));
    std::iter::once(0).chain(starts).collect()
}

/// Returns the range of a part, or of some of its bytes.
fn range(parts: &[usize], len: usize, random: &mut Random) -> std::ops::Range<usize> {
    let at = random.below(parts.len());
    let (start, end) = (parts[at], parts.get(at + 1).copied().unwrap_or(len));
    if random.chance() {
        return start..end;
    }
    let start = start + random.below(end - start);
    start..(start + 1 + random.below(8)).min(end)
}

/// Returns a number at or next to a boundary.
fn number(len: usize, random: &mut Random) -> u64 {
    let anywhere = random.below(len) as u64;
    let edge = *random.pick(&[
        0,
        0x7F,
        0xFF,
        0xFFFF,
        0x7FFF_FFFF,
        0xFFFF_FFFF,
        1 << 63,
        u64::MAX,
        len as u64,
        anywhere,
    ]);
    edge.wrapping_add(random.below(3) as u64).wrapping_sub(1)
}
