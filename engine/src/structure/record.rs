//! Record: a key, a small payload and perhaps an expiry, in one allocation behind one thin pointer.
//!
//! Layout, alignment 1, little-endian:
//! `head u8 | key_len 1 or 4 | payload_len 1, 2, 4 or 8 | expiry i64 if any | key | payload`.
//! `head`: bits 0-3 the owner's tag, bit 4 "has expiry", bit 5 "key_len takes 4 bytes", bits 6-7
//! the width of payload_len. The expiry slot exists exactly when there is an expiry, so the size
//! follows from the bytes and nothing else is stored: no reference count, no access clock, nothing
//! that a reader would dirty.
//!
//! The block asked from the allocator is rounded up to a size class (jemalloc's classes, which
//! cost nothing there), and an edit stays in place as long as the class stays. Knows no types: what
//! a tag or a payload means is the owner's. The truth about the bytes is this file alone.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::fmt;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use crate::base::size_class::size_class;

const TAG: u8 = 0x0f;
const HAS_EXPIRY: u8 = 0x10;
const WIDE_KEY: u8 = 0x20;
const PAYLOAD_WIDTH_SHIFT: u32 = 6;
const EXPIRY_BYTES: usize = 8;
const POINTER_BYTES: usize = size_of::<*mut ()>();

/// The bytes in front of the key, by the upper half of `head`.
const HEADER_BYTES: [u8; 16] = {
    let mut table = [0u8; 16];
    let mut i = 0;
    while i < 16 {
        let head = (i as u8) << 4;
        let expiry = if head & HAS_EXPIRY != 0 { EXPIRY_BYTES as u8 } else { 0 };
        let key = if head & WIDE_KEY != 0 { 4 } else { 1 };
        table[i] = 1 + key + (1 << (head >> PAYLOAD_WIDTH_SHIFT)) + expiry;
        i += 1;
    }
    table
};

/// An owned record; 8 bytes, and so is an `Option` of it.
pub struct Record(NonNull<u8>);

/// A borrowed record: a copy of the pointer, with the lifetime of whoever owns the record.
#[derive(Clone, Copy)]
pub struct RecordRef<'a> {
    at: NonNull<u8>,
    owner: PhantomData<&'a [u8]>,
}

// SAFETY: a record is plain bytes that it alone owns; a payload that holds a pointer is the business
// of the owner, who needs `unsafe` of its own to follow it.
unsafe impl Send for Record {}
// SAFETY: as above; `&Record` only reads.
unsafe impl Sync for Record {}
// SAFETY: as above; a `RecordRef` only reads.
unsafe impl Send for RecordRef<'_> {}
// SAFETY: as above.
unsafe impl Sync for RecordRef<'_> {}

/// The numbers that fix where everything is.
#[derive(Clone, Copy)]
struct Shape {
    head: u8,
    key_len: usize,
    payload_len: usize,
}

impl Shape {
    fn new(tag: u8, key_len: usize, has_expiry: bool, payload_len: usize) -> Self {
        assert!(tag <= TAG, "a record's tag has four bits");
        assert!(u32::try_from(key_len).is_ok(), "a record's key is shorter than 4 GiB");
        let mut head = tag;
        if has_expiry {
            head |= HAS_EXPIRY;
        }
        if key_len > usize::from(u8::MAX) {
            head |= WIDE_KEY;
        }
        let width = match payload_len {
            0..=0xff => 0,
            0x100..=0xffff => 1,
            0x1_0000..=0xffff_ffff => 2,
            _ => 3,
        };
        Self { head: head | width << PAYLOAD_WIDTH_SHIFT, key_len, payload_len }
    }

    fn key_at(self) -> usize {
        usize::from(HEADER_BYTES[usize::from(self.head >> 4)])
    }

    fn payload_at(self) -> usize {
        self.key_at() + self.key_len
    }

    fn layout(self) -> Layout {
        let bytes = self
            .payload_at()
            .checked_add(self.payload_len)
            .filter(|&n| n <= isize::MAX as usize / 2)
            .expect("a record's bytes fit the address space");
        Layout::from_size_align(size_class(bytes), 1).expect("the bound above leaves room to round up")
    }

    /// Writes everything in front of the key.
    ///
    /// # Safety
    /// `at` must be valid for writes of `self.key_at()` bytes.
    unsafe fn write_header(self, at: NonNull<u8>, expiry: Option<i64>) {
        debug_assert_eq!(expiry.is_some(), self.head & HAS_EXPIRY != 0);
        // SAFETY: every write ends at or before `key_at`, which the caller vouches for. The lengths
        // fit their widths because `new` chose the widths by them.
        unsafe {
            let mut p = at.as_ptr();
            p.write(self.head);
            p = p.add(1);
            if self.head & WIDE_KEY == 0 {
                p.write(self.key_len as u8);
                p = p.add(1);
            } else {
                p.cast::<[u8; 4]>().write((self.key_len as u32).to_le_bytes());
                p = p.add(4);
            }
            match self.head >> PAYLOAD_WIDTH_SHIFT {
                0 => p.write(self.payload_len as u8),
                1 => p.cast::<[u8; 2]>().write((self.payload_len as u16).to_le_bytes()),
                2 => p.cast::<[u8; 4]>().write((self.payload_len as u32).to_le_bytes()),
                _ => p.cast::<[u8; 8]>().write((self.payload_len as u64).to_le_bytes()),
            }
            if let Some(expiry) = expiry {
                let slot = at.as_ptr().add(self.key_at() - EXPIRY_BYTES);
                slot.cast::<[u8; 8]>().write(expiry.to_le_bytes());
            }
        }
    }
}

fn allocate(layout: Layout) -> NonNull<u8> {
    // SAFETY: `size_class` never answers 0, so the layout has a size.
    let raw = unsafe { alloc(layout) };
    NonNull::new(raw).unwrap_or_else(|| handle_alloc_error(layout))
}

impl Record {
    /// A record of `key` and `payload`; one allocation.
    ///
    /// # Panics
    /// If `tag` is over 15 or the key is 4 GiB or longer.
    #[must_use]
    #[inline]
    pub fn new(tag: u8, key: &[u8], expiry: Option<i64>, payload: &[u8]) -> Self {
        let shape = Shape::new(tag, key.len(), expiry.is_some(), payload.len());
        let at = allocate(shape.layout());
        // SAFETY: the block is at least `payload_at + payload_len` long and new, so it overlaps
        // neither argument.
        unsafe {
            shape.write_header(at, expiry);
            ptr::copy_nonoverlapping(key.as_ptr(), at.as_ptr().add(shape.key_at()), key.len());
            ptr::copy_nonoverlapping(payload.as_ptr(), at.as_ptr().add(shape.payload_at()), payload.len());
        }
        Self(at)
    }

    /// A record whose payload is the pointer `owned`, as `RecordRef::pointer` gives it back.
    /// Dropping the record does not follow it.
    #[must_use]
    pub fn with_pointer(tag: u8, key: &[u8], expiry: Option<i64>, owned: *mut ()) -> Self {
        let mut record = Self::new(tag, key, expiry, &[0; POINTER_BYTES]);
        record.write_pointer(owned);
        record
    }

    /// The borrowed view, which has all the readers.
    #[must_use]
    #[inline]
    pub fn view(&self) -> RecordRef<'_> {
        RecordRef { at: self.0, owner: PhantomData }
    }

    /// The key.
    #[must_use]
    #[inline]
    pub fn key(&self) -> &[u8] {
        self.view().key()
    }

    /// The payload.
    #[must_use]
    #[inline]
    pub fn payload(&self) -> &[u8] {
        self.view().payload()
    }

    /// The owner's tag, 0 to 15.
    #[must_use]
    #[inline]
    pub fn tag(&self) -> u8 {
        self.view().tag()
    }

    /// The expiry, if there is one.
    #[must_use]
    #[inline]
    pub fn expiry(&self) -> Option<i64> {
        self.view().expiry()
    }

    /// The bytes that the allocation takes.
    #[must_use]
    #[inline]
    pub fn alloc_bytes(&self) -> usize {
        self.view().alloc_bytes()
    }

    /// The payload, to be overwritten without changing its length.
    #[must_use]
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let shape = self.view().shape();
        // SAFETY: the block holds `payload_len` initialised bytes from `payload_at` on, and `&mut
        // self` is the only way to them.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_ptr().add(shape.payload_at()), shape.payload_len) }
    }

    /// Changes the tag alone.
    ///
    /// # Panics
    /// If `tag` is over 15.
    pub fn set_tag(&mut self, tag: u8) {
        assert!(tag <= TAG, "a record's tag has four bits");
        // SAFETY: the first byte is the head, and `&mut self` owns it.
        unsafe { self.0.write(self.0.read() & !TAG | tag) };
    }

    /// Sets, changes or (with `None`) removes the expiry. Changing one is a write of 8 bytes; setting
    /// or removing moves the bytes behind it, in place when the size class stays.
    pub fn set_expiry(&mut self, expiry: Option<i64>) {
        let old = self.view().shape();
        let shape = Shape::new(old.head & TAG, old.key_len, expiry.is_some(), old.payload_len);
        self.reshape(shape, expiry);
    }

    /// Replaces tag and payload, in place when the size class stays.
    pub fn set_payload(&mut self, tag: u8, payload: &[u8]) {
        let expiry = self.expiry();
        let old = self.view().shape();
        self.reshape(Shape::new(tag, old.key_len, expiry.is_some(), payload.len()), expiry);
        self.write_payload(payload);
    }

    /// Replaces tag, payload and expiry, in place when the size class stays.
    #[inline]
    pub fn replace(&mut self, tag: u8, payload: &[u8], expiry: Option<i64>) {
        let old = self.view().shape();
        self.reshape(Shape::new(tag, old.key_len, expiry.is_some(), payload.len()), expiry);
        self.write_payload(payload);
    }

    /// Puts tag, payload and expiry in place of those that are there if that moves nothing: the payload
    /// is as long as the old one, and the expiry was there or wasn't as it is now. Answers whether it
    /// did.
    #[inline]
    pub fn overwrite(&mut self, tag: u8, payload: &[u8], expiry: Option<i64>) -> bool {
        assert!(tag <= TAG, "a record's tag has four bits");
        let shape = self.view().shape();
        if shape.payload_len != payload.len() || (shape.head & HAS_EXPIRY != 0) != expiry.is_some() {
            return false;
        }
        let at = self.0.as_ptr();
        // SAFETY: the head, the expiry's slot (which is there, as just checked) and the payload are
        // inside the block, which `&mut self` owns, so the argument can't overlap it.
        unsafe {
            at.write(shape.head & !TAG | tag);
            if let Some(expiry) = expiry {
                at.add(shape.key_at() - EXPIRY_BYTES).cast::<[u8; 8]>().write(expiry.to_le_bytes());
            }
            ptr::copy_nonoverlapping(payload.as_ptr(), at.add(shape.payload_at()), payload.len());
        }
        true
    }

    /// Makes the pointer `owned` the payload, under `tag`.
    pub fn set_pointer(&mut self, tag: u8, owned: *mut ()) {
        self.set_payload(tag, &[0; POINTER_BYTES]);
        self.write_pointer(owned);
    }

    /// Cuts the payload to `len` bytes, or extends it with zeros.
    pub fn resize_payload(&mut self, len: usize) {
        let expiry = self.expiry();
        let old = self.view().shape();
        self.reshape(Shape::new(old.head & TAG, old.key_len, expiry.is_some(), len), expiry);
        if len > old.payload_len {
            let at = self.view().shape().payload_at();
            // SAFETY: `reshape` made room for `len` bytes of payload, and kept only the first ones.
            unsafe { ptr::write_bytes(self.0.as_ptr().add(at + old.payload_len), 0, len - old.payload_len) };
        }
    }

    fn write_payload(&mut self, payload: &[u8]) {
        let shape = self.view().shape();
        assert_eq!(shape.payload_len, payload.len(), "the shape was made for this payload");
        // SAFETY: the block has room for `payload_len` bytes from `payload_at` on, and `&mut self`
        // owns it, so the argument can't overlap it. Not through `payload_mut`: bytes of a longer
        // payload aren't initialised yet.
        unsafe {
            let to = self.0.as_ptr().add(shape.payload_at());
            ptr::copy_nonoverlapping(payload.as_ptr(), to, payload.len());
        }
    }

    fn write_pointer(&mut self, owned: *mut ()) {
        let shape = self.view().shape();
        assert_eq!(shape.payload_len, POINTER_BYTES, "the payload is one pointer");
        // SAFETY: the payload is as long as a pointer, and the write needs no alignment. Written as
        // a pointer and not as bytes so that it keeps its provenance.
        unsafe { self.0.as_ptr().add(shape.payload_at()).cast::<*mut ()>().write_unaligned(owned) };
    }

    /// Gives the record `shape`, keeping its key and the common prefix of the payload. Bytes of a
    /// longer payload are left for the caller to write.
    fn reshape(&mut self, shape: Shape, expiry: Option<i64>) {
        let old = self.view().shape();
        debug_assert_eq!(old.key_len, shape.key_len);
        let (old_layout, layout) = (old.layout(), shape.layout());
        let kept = shape.key_len + old.payload_len.min(shape.payload_len);
        let (from, to) = (old.key_at(), shape.key_at());
        // SAFETY: `kept` bytes from the old `key_at` on are initialised, and both the old and the
        // new block have room for them behind their `key_at`. The old block was allocated with
        // `old.layout()`, as every block is with its shape's. `realloc` is used only when nothing
        // moves inside the block; it keeps the bytes up to the shorter size.
        unsafe {
            if old_layout == layout {
                if from != to {
                    ptr::copy(self.0.as_ptr().add(from), self.0.as_ptr().add(to), kept);
                }
            } else if from == to {
                let raw = realloc(self.0.as_ptr(), old_layout, layout.size());
                self.0 = NonNull::new(raw).unwrap_or_else(|| handle_alloc_error(layout));
            } else {
                let new = allocate(layout);
                ptr::copy_nonoverlapping(self.0.as_ptr().add(from), new.as_ptr().add(to), kept);
                dealloc(self.0.as_ptr(), old_layout);
                self.0 = new;
            }
            shape.write_header(self.0, expiry);
        }
    }

    /// Gives up the record as its address, without freeing it.
    #[must_use]
    #[inline]
    pub fn into_raw(self) -> NonNull<u8> {
        let at = self.0;
        std::mem::forget(self);
        at
    }

    /// Takes back what `into_raw` gave up.
    ///
    /// # Safety
    /// `at` must come from `into_raw`, and nothing else may own or borrow that record.
    #[must_use]
    #[inline]
    pub unsafe fn from_raw(at: NonNull<u8>) -> Self {
        Self(at)
    }
}

impl Drop for Record {
    #[inline]
    fn drop(&mut self) {
        let layout = self.view().shape().layout();
        // SAFETY: the record owns the block, which was allocated with the layout of its shape.
        unsafe { dealloc(self.0.as_ptr(), layout) };
    }
}

impl Clone for Record {
    /// A second record of equal bytes; an owned pointer in it would be shared, which is the owner's
    /// to see to.
    fn clone(&self) -> Self {
        let layout = self.view().shape().layout();
        let shape = self.view().shape();
        let at = allocate(layout);
        // SAFETY: the source holds that many initialised bytes, the new block as many at least.
        unsafe {
            ptr::copy_nonoverlapping(self.0.as_ptr(), at.as_ptr(), shape.payload_at() + shape.payload_len);
        }
        Self(at)
    }
}

impl<'a> RecordRef<'a> {
    /// The record at `at`.
    ///
    /// # Safety
    /// `at` must be the address of a live record that nobody changes or frees during `'a`.
    #[must_use]
    #[inline]
    pub unsafe fn from_raw(at: NonNull<u8>) -> Self {
        Self { at, owner: PhantomData }
    }

    #[inline]
    fn head(self) -> u8 {
        // SAFETY: a record has at least its head.
        unsafe { self.at.read() }
    }

    #[inline]
    fn shape(self) -> Shape {
        let head = self.head();
        // SAFETY: the head says how wide the lengths behind it are, and they are always there.
        unsafe {
            let p = self.at.as_ptr().add(1);
            let (key_len, p) = if head & WIDE_KEY == 0 {
                (usize::from(p.read()), p.add(1))
            } else {
                (u32::from_le_bytes(p.cast::<[u8; 4]>().read()) as usize, p.add(4))
            };
            let payload_len = match head >> PAYLOAD_WIDTH_SHIFT {
                0 => usize::from(p.read()),
                1 => usize::from(u16::from_le_bytes(p.cast::<[u8; 2]>().read())),
                2 => u32::from_le_bytes(p.cast::<[u8; 4]>().read()) as usize,
                _ => u64::from_le_bytes(p.cast::<[u8; 8]>().read()) as usize,
            };
            Shape { head, key_len, payload_len }
        }
    }

    #[inline]
    fn bytes(self, at: usize, len: usize) -> &'a [u8] {
        // SAFETY: the callers pass ranges of the shape; those bytes are initialised, and whoever
        // made this view promised that nobody changes them during 'a.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr().add(at), len) }
    }

    /// The key.
    #[must_use]
    #[inline]
    pub fn key(self) -> &'a [u8] {
        let head = self.head();
        let key_len = if head & WIDE_KEY == 0 {
            // SAFETY: the narrow key length is the byte behind the head.
            usize::from(unsafe { self.at.add(1).read() })
        } else {
            self.shape().key_len
        };
        self.bytes(usize::from(HEADER_BYTES[usize::from(head >> 4)]), key_len)
    }

    /// The payload.
    #[must_use]
    #[inline]
    pub fn payload(self) -> &'a [u8] {
        let shape = self.shape();
        self.bytes(shape.payload_at(), shape.payload_len)
    }

    /// The owner's tag, 0 to 15.
    #[must_use]
    #[inline]
    pub fn tag(self) -> u8 {
        self.head() & TAG
    }

    /// Whether there is an expiry.
    #[must_use]
    #[inline]
    pub fn has_expiry(self) -> bool {
        self.head() & HAS_EXPIRY != 0
    }

    /// The expiry, if there is one.
    #[must_use]
    #[inline]
    pub fn expiry(self) -> Option<i64> {
        let head = self.head();
        if head & HAS_EXPIRY == 0 {
            return None;
        }
        let at = usize::from(HEADER_BYTES[usize::from(head >> 4)]) - EXPIRY_BYTES;
        let slot = self.bytes(at, EXPIRY_BYTES).first_chunk().expect("the slot is 8 bytes long");
        Some(i64::from_le_bytes(*slot))
    }

    /// The pointer that is the payload (`Record::with_pointer`, `set_pointer`).
    ///
    /// # Panics
    /// If the payload isn't as long as a pointer.
    #[must_use]
    #[inline]
    pub fn pointer(self) -> *mut () {
        let shape = self.shape();
        assert_eq!(shape.payload_len, POINTER_BYTES, "the payload is one pointer");
        // SAFETY: the payload is as long as a pointer, and the read needs no alignment.
        unsafe { self.at.as_ptr().add(shape.payload_at()).cast::<*mut ()>().read_unaligned() }
    }

    /// The bytes that the allocation takes.
    #[must_use]
    #[inline]
    pub fn alloc_bytes(self) -> usize {
        self.shape().layout().size()
    }

    /// The bytes that the allocation would take with a pointer as its payload.
    #[must_use]
    pub fn alloc_bytes_with_pointer(self) -> usize {
        let Shape { head, key_len, .. } = self.shape();
        Shape::new(head & TAG, key_len, head & HAS_EXPIRY != 0, POINTER_BYTES).layout().size()
    }

    /// Whether this is the key. Most keys are short: they are compared here and not in a call.
    #[must_use]
    #[inline]
    pub fn is_key(self, sought: &[u8]) -> bool {
        let key = self.key();
        if key.len() != sought.len() {
            return false;
        }
        // The two parts overlap, or meet.
        match key.len() {
            4..8 => are_ends_equal::<4>(key, sought),
            8..=16 => are_ends_equal::<8>(key, sought),
            17..=32 => are_ends_equal::<16>(key, sought),
            _ => key == sought,
        }
    }

    /// Asks the CPU for the record's first cache line.
    #[inline]
    pub fn prefetch(self) {
        prefetch(self.at.as_ptr());
    }
}

/// Whether two strings have the same first and the same last `N` bytes; false if they are shorter.
#[inline]
fn are_ends_equal<const N: usize>(a: &[u8], b: &[u8]) -> bool {
    match (a.first_chunk::<N>(), a.last_chunk::<N>(), b.first_chunk::<N>(), b.last_chunk::<N>()) {
        (Some(a_first), Some(a_last), Some(b_first), Some(b_last)) => a_first == b_first && a_last == b_last,
        _ => false,
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

impl fmt::Debug for RecordRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("tag", &self.tag())
            .field("key", &self.key().escape_ascii().to_string())
            .field("expiry", &self.expiry())
            .field("payload_len", &self.payload().len())
            .finish()
    }
}

/// Asks the CPU for the cache lines of a record's header and key, which may straddle two.
#[inline]
pub(crate) fn prefetch_key(at: *const u8) {
    const USUAL_BYTES: usize = 25;
    prefetch_bytes(at, USUAL_BYTES);
}

/// Asks the CPU for the cache lines of the `bytes` from `at` on.
#[inline]
pub(crate) fn prefetch_bytes(at: *const u8, bytes: usize) {
    const LINE_BYTES: usize = 64;
    // Not `step_by`, which costs more than the requests.
    let mut offset = 0;
    while offset < bytes {
        prefetch(at.wrapping_add(offset));
        offset += LINE_BYTES;
    }
    // The bytes seldom begin where a line does, so they may end in one line more.
    prefetch(at.wrapping_add(bytes.saturating_sub(1)));
}

/// Asks the CPU to fetch the cache line of `at`; a hint, which any address may be given to.
#[inline]
pub(crate) fn prefetch(at: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing that the program can see and never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    {
        // SAFETY: a prefetch reads nothing that the program can see and never faults.
        unsafe {
            std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) at, options(nostack, readonly, preserves_flags));
        }
    }
    #[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    let _ = at;
}

#[cfg(test)]
mod tests;
