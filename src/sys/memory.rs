//! Settings of the memory allocator.
#![allow(unsafe_code)]

/// Limits glibc to two allocation arenas. With an arena for each thread, each one keeps as much
/// freed memory as its thread ever used.
pub fn limit_arenas() {
    #[cfg(target_env = "gnu")]
    // SAFETY: a setting of the allocator, which takes any number.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}

/// Returns freed memory to the operating system. After millions of small allocations the allocator
/// may otherwise keep all of it.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: touches nothing that is allocated.
    unsafe {
        libc::malloc_trim(0);
    }
}
