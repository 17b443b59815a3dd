//! The headers of `.npy` files: NumPy's `numpy.lib.format`, versions 1.0 to 3.0.
//!
//! A header is a Python dictionary literal, from which NumPy makes a dtype and a shape. npzfs reads it
//! to tell clients what an array is, and to check how long its data must be; it serves the bytes of a
//! file whatever its header says. A header is untrusted input: existing parsers allocate memory or
//! recurse as it demands, so this one bounds its length and depth.

mod descr;
mod dtype;
mod header;
mod literal;
mod typestr;

pub use dtype::Items;
pub use header::{FIRST_READ, HEADER_MAX, NpyHeader, data_offset, has_magic};
