//! The program `npzfs`.

fn main() {}
