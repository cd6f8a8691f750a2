//! Memory that was needed once.

/// Gives freed memory back to the kernel (`malloc_trim(3)`), as far as the allocator can. It walks
/// the heap: some milliseconds after something large, not for every day.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes no pointer and keeps the allocator's own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}
