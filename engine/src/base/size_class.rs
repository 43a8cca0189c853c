//! The sizes that an allocator gives memory in: what asks for less gets as much.

/// Rounds `bytes` up to the size class that the allocator would use anyway: steps of 8 to 64, of 16
/// to 128, then four classes for each doubling. jemalloc's classes with a quantum of 8; with one of
/// 16 the classes in between cost nothing more.
#[must_use]
pub const fn size_class(bytes: usize) -> usize {
    let step = match bytes {
        0..=64 => 8,
        65..=128 => 16,
        _ => 1usize << ((bytes - 1).ilog2() - 2),
    };
    (if bytes == 0 { 1 } else { bytes } + step - 1) & !(step - 1)
}
