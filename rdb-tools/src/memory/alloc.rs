//! What an allocation takes: the allocator's size classes, and the strings that servers keep in them.
//!
//! jemalloc hands memory out in classes of four to a doubling. Servers that are built with their own
//! copy of it have classes 8 bytes apart at the lower end, those that use a distribution's library have
//! them 16 apart. Behaviour: valkey src/sds.c for the strings, `deps/jemalloc` for the classes.

use clap::ValueEnum;

/// Which jemalloc a server is linked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Allocator {
    /// The one in the server's own source tree
    #[default]
    Bundled,
    /// The library of a Linux distribution
    System,
}

impl Allocator {
    /// The bytes that an allocation of `bytes` takes.
    #[inline]
    #[must_use]
    pub fn class(self, bytes: u64) -> u64 {
        const FINE_UP_TO: u64 = 64;
        const EVEN_UP_TO: u64 = 128;
        let step = match bytes {
            0..=8 => 8,
            9..=FINE_UP_TO if self == Self::Bundled => 8,
            9..=EVEN_UP_TO => 16,
            _ => 1 << ((bytes - 1).ilog2() - 2),
        };
        bytes.max(1).next_multiple_of(step)
    }
}

/// What an sds string of `len` bytes takes in front of them.
#[must_use]
pub(super) fn sds_header(len: u64) -> u64 {
    match len {
        0..=0x1f => 1,
        0x20..=0xff => 3,
        0x100..=0xffff => 5,
        0x1_0000..=0xffff_ffff => 9,
        _ => 17,
    }
}

/// The same in Valkey 8.1 and later, which leave room for the header in the limits.
#[must_use]
pub(super) fn roomy_sds_header(len: u64) -> u64 {
    match len {
        0..=0x1f => 1,
        0x20..=0xfc => 3,
        0xfd..=0xfffa => 5,
        0xfffb..=0xffff_fff6 => 9,
        _ => 17,
    }
}

/// The bytes of an sds string as it is embedded somewhere: header, content, end.
#[must_use]
pub(super) fn embedded_sds(len: u64) -> u64 {
    roomy_sds_header(len) + len + 1
}

/// The header of an sds string with an allocation of its own: an empty one is made to grow.
fn own_header(len: u64, header: fn(u64) -> u64) -> u64 {
    if len == 0 { 3 } else { header(len) }
}

impl Allocator {
    /// The allocation of an sds string in Redis.
    #[inline]
    pub(super) fn sds(self, len: u64) -> u64 {
        self.class(own_header(len, sds_header) + len + 1)
    }

    /// The same in Valkey.
    #[inline]
    pub(super) fn roomy_sds(self, len: u64) -> u64 {
        self.class(own_header(len, roomy_sds_header) + len + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::Allocator;

    #[test]
    fn classes_are_those_of_jemalloc() {
        let bundled = [(0, 8), (8, 8), (9, 16), (17, 24), (57, 64), (65, 80), (113, 128), (129, 160)];
        let system = [(1, 8), (9, 16), (17, 32), (33, 48), (65, 80), (129, 160), (513, 640), (536, 640)];
        let both = [(4097, 5120), (16385, 20480), (1 << 20, 1 << 20), ((1 << 20) + 1, 5 << 18)];
        for (bytes, class) in bundled.into_iter().chain(both) {
            assert_eq!(Allocator::Bundled.class(bytes), class, "{bytes}");
        }
        for (bytes, class) in system.into_iter().chain(both) {
            assert_eq!(Allocator::System.class(bytes), class, "{bytes}");
        }
    }
}
