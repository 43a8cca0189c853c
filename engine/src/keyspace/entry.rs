//! An entry: a key with its value and expiry, as one record.
//!
//! A small value is the record's payload, under its `InlineTag`; any other value is a `Box<Value>`
//! that the payload points to and the entry owns. Which one is decided here and nowhere else. A
//! boxed hash with expiring fields has a tag of its own, so that a sweep finds it without looking
//! into the box. Knows no databases and no time.
#![allow(unsafe_code)]

use std::fmt;
use std::ptr::NonNull;

use crate::base::time::UnixMs;
use crate::structure::hash::HashSeed;
use crate::structure::record::{Record, RecordRef, prefetch_bytes};
use crate::structure::table::{HashOf, Thin};
use crate::value::list::End;
use crate::value::{
    InlineTag, Limits, StringValue, Value, ValueRef, copy_int_bytes, int_bytes, int_from_bytes,
};

/// The longest string inside a record. Beyond it a second allocation no longer counts, and a record
/// that moves with each edit would.
pub const INLINE_STRING_MAX_BYTES: usize = 1024;
/// The longest packed collection inside a record: an edit copies it out and back.
pub const INLINE_PACKED_MAX_BYTES: usize = 512;

const BOXED: u8 = InlineTag::Boxed as u8;
/// A boxed hash with fields that may expire; `InlineTag` leaves this number free.
const BOXED_EXPIRING: u8 = 14;
const _: () = assert!(InlineTag::from_bits(BOXED_EXPIRING).is_none());

/// An owned entry; 8 bytes.
pub struct Entry(Record);

/// An entry to look at.
#[derive(Clone, Copy)]
pub struct EntryRef<'a>(RecordRef<'a>);

/// What a database counts of an entry.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Marks {
    pub(super) record_bytes: usize,
    pub(super) has_expiry: bool,
    pub(super) has_field_ttl: bool,
}

fn fits(tag: InlineTag, bytes: usize) -> bool {
    let most = match tag {
        InlineTag::Int | InlineTag::Str | InlineTag::StrRaw => INLINE_STRING_MAX_BYTES,
        _ => INLINE_PACKED_MAX_BYTES,
    };
    bytes <= most
}

fn ms(expire_at: Option<UnixMs>) -> Option<i64> {
    expire_at.map(|at| at.0)
}

impl Entry {
    /// An entry of any value.
    #[must_use]
    pub fn new(key: &[u8], value: Value, expire_at: Option<UnixMs>) -> Self {
        if let Some((tag, bytes)) = value.inline_form()
            && fits(tag, bytes.len())
        {
            return Self(Record::new(tag as u8, key, ms(expire_at), &bytes));
        }
        let tag = boxed_tag(&value);
        Self(Record::with_pointer(tag, key, ms(expire_at), Box::into_raw(Box::new(value)).cast()))
    }

    /// An entry of the value whose [`Value::inline_form`] this is.
    #[must_use]
    #[inline]
    pub fn inline(key: &[u8], tag: InlineTag, bytes: &[u8], expire_at: Option<UnixMs>) -> Self {
        if fits(tag, bytes.len()) {
            return Self(Record::new(tag as u8, key, ms(expire_at), bytes));
        }
        Self::new(key, Value::from_inline(tag, bytes), expire_at)
    }

    /// An entry of the string that SET stores for these bytes.
    #[must_use]
    #[inline]
    pub fn string(key: &[u8], bytes: &[u8], expire_at: Option<UnixMs>) -> Self {
        if is_surely_text(bytes) && fits(InlineTag::Str, bytes.len()) {
            return Self(Record::new(InlineTag::Str as u8, key, ms(expire_at), bytes));
        }
        Self::new(key, Value::String(StringValue::new(bytes)), expire_at)
    }

    /// The entry to look at.
    #[must_use]
    #[inline]
    pub fn view(&self) -> EntryRef<'_> {
        EntryRef(self.0.view())
    }

    fn boxed(&mut self) -> Option<&mut Value> {
        let record = self.0.view();
        // SAFETY: under these tags the payload is a pointer that `Box::into_raw` gave, which this
        // entry alone owns; `&mut self` is the only way to it.
        is_boxed(record.tag()).then(|| unsafe { &mut *record.pointer().cast::<Value>() })
    }

    /// Takes a boxed value out of the record, whose payload means nothing then.
    fn unbox(&mut self) -> Option<Box<Value>> {
        let record = self.0.view();
        if !is_boxed(record.tag()) {
            return None;
        }
        let at = record.pointer().cast::<Value>();
        self.0.set_tag(InlineTag::Str as u8);
        // SAFETY: under these tags the payload is a pointer that `Box::into_raw` gave, which this
        // entry alone owned; with the tag gone nobody takes it again.
        Some(unsafe { Box::from_raw(at) })
    }

    /// Takes out a value that takes long to drop, of more than `elements` elements; the record's payload
    /// means nothing then, and another one must be put in its place.
    pub(super) fn take_big(&mut self, elements: usize) -> Option<Box<Value>> {
        if self.view().effort() > elements { self.unbox() } else { None }
    }

    /// Puts a value in place of the one that is there, and leaves the expiry.
    fn store(&mut self, value: Value) {
        drop(self.unbox());
        match value.inline_form() {
            Some((tag, bytes)) if fits(tag, bytes.len()) => self.0.set_payload(tag as u8, &bytes),
            _ => {
                let tag = boxed_tag(&value);
                self.0.set_pointer(tag, Box::into_raw(Box::new(value)).cast());
            }
        }
    }

    /// Puts value and expiry in place of those that are there.
    pub fn replace(&mut self, value: Value, expire_at: Option<UnixMs>) {
        self.store(value);
        self.0.set_expiry(ms(expire_at));
    }

    /// Puts a string, as SET stores it, and an expiry in place of those that are there; in place when
    /// the size class stays.
    #[inline]
    pub fn replace_string(&mut self, bytes: &[u8], expire_at: Option<UnixMs>) {
        if is_surely_text(bytes) && fits(InlineTag::Str, bytes.len()) {
            drop(self.unbox());
            self.0.replace(InlineTag::Str as u8, bytes, ms(expire_at));
        } else {
            self.replace(Value::String(StringValue::new(bytes)), expire_at);
        }
    }

    /// As `replace_string`, if the bytes can be written over those of the string that is there and
    /// nothing that a database counts changes; answers whether they were.
    #[inline]
    pub(super) fn overwrite_string(&mut self, bytes: &[u8], expire_at: Option<UnixMs>) -> bool {
        !is_boxed(self.0.tag())
            && is_surely_text(bytes)
            && fits(InlineTag::Str, bytes.len())
            && self.0.view().tag() != InlineTag::HashListpackEx as u8
            && self.0.overwrite(InlineTag::Str as u8, bytes, ms(expire_at))
    }

    /// An entry of an integer that never expires.
    #[must_use]
    #[inline]
    pub fn int(key: &[u8], v: i64) -> Self {
        Self(Record::new(InlineTag::Int as u8, key, None, &int_bytes(v)))
    }

    /// Adds to the value if that is an integer and the sum takes as many bytes, so that nothing that a
    /// database counts changes; answers the sum. Otherwise nothing has changed.
    #[inline]
    pub(super) fn add_in_place(&mut self, by: i64) -> Option<i64> {
        if self.0.tag() != InlineTag::Int as u8 {
            return None;
        }
        let payload = self.0.payload_mut();
        let sum = int_from_bytes(payload).checked_add(by)?;
        let new = int_bytes(sum);
        let fits = payload.len() == new.len();
        if fits {
            copy_int_bytes(payload, &new);
        }
        fits.then_some(sum)
    }

    /// Puts an integer in the place of the value, and leaves the expiry.
    #[inline]
    pub fn store_int(&mut self, v: i64) {
        self.store(Value::String(StringValue::from_i64(v)));
    }

    /// Lets `change` edit the bytes of a string, which is first made as long as `len` wants it (it is
    /// told how long it is), with zero bytes; `change` is told the old length, too. Inside the record if
    /// the string stays short, else in its box. `None` if the value is no string.
    pub(super) fn edit_string<R>(
        &mut self,
        len: impl FnOnce(usize) -> usize,
        change: impl FnOnce(&mut [u8], usize) -> R,
    ) -> Option<R> {
        let ValueRef::String(text) = self.view().view() else { return None };
        let old = text.len();
        let new = len(old).max(old);
        let tag = self.0.tag();
        let is_text = tag == InlineTag::Str as u8 || tag == InlineTag::StrRaw as u8;
        if is_text && fits(InlineTag::StrRaw, new) {
            self.0.resize_payload(new);
            self.0.set_tag(InlineTag::StrRaw as u8);
            return Some(change(self.0.payload_mut(), old));
        }
        self.modify(|value| match value {
            Value::String(text) => Some(change(text.edit_to(new), old)),
            _ => None,
        })
    }

    /// Sets or removes the expiry.
    pub fn set_expire_at(&mut self, expire_at: Option<UnixMs>) {
        self.0.set_expiry(ms(expire_at));
    }

    /// Runs `change` on the value: in the box, or on a copy that is stored back. A boxed value that
    /// has become small moves into the record once it is well below the limit.
    pub fn modify<R>(&mut self, change: impl FnOnce(&mut Value) -> R) -> R {
        if self.boxed().is_some() {
            return self.modify_boxed(change);
        }
        let mut value = self.view().to_value();
        let answer = change(&mut value);
        self.store(value);
        answer
    }

    /// Adds elements at an end of a list of many nodes, which stays one. Its length then; `None` for any
    /// other value, which is as before.
    #[inline]
    pub(super) fn push_to_nodes(&mut self, end: End, items: &[&[u8]], limits: &Limits) -> Option<usize> {
        match self.boxed()? {
            Value::List(list) => list.push_to_nodes(end, items, limits),
            _ => None,
        }
    }

    /// As `modify`, for who removes the entry when the value is left empty, and is told so: a copy that is
    /// empty is not stored back. The copy is made in `room`, which comes back with other bytes in it.
    pub(super) fn modify_or_empty<R>(
        &mut self,
        room: &mut Vec<u8>,
        change: impl FnOnce(&mut Value) -> R,
    ) -> (R, bool) {
        if self.boxed().is_some() {
            let answer = self.modify_boxed(change);
            return (answer, self.view().is_empty());
        }
        let mut value = match InlineTag::from_bits(self.0.tag()) {
            Some(tag) if tag != InlineTag::Boxed => Value::from_inline_in(tag, self.0.payload(), room),
            _ => self.view().to_value(),
        };
        let answer = change(&mut value);
        let is_empty = value.is_empty();
        match value.inline_form() {
            Some((tag, bytes)) if fits(tag, bytes.len()) => {
                if !is_empty {
                    self.0.set_payload(tag as u8, &bytes);
                }
                if let Some(own) = value.into_room() {
                    *room = own;
                }
            }
            _ => {
                value.shrink();
                self.store(value);
            }
        }
        (answer, is_empty)
    }

    /// Runs `change` on a boxed value.
    fn modify_boxed<R>(&mut self, change: impl FnOnce(&mut Value) -> R) -> R {
        let value = self.boxed().expect("the caller has seen that the value is boxed");
        let answer = change(value);
        let is_small = value.inline_form().is_some_and(|(tag, bytes)| fits(tag, bytes.len() * 2));
        let tag = boxed_tag(value);
        if is_small {
            let value = self.unbox().expect("the value is boxed: it was changed in its box just above");
            self.store(*value);
        } else {
            self.0.set_tag(tag);
        }
        answer
    }

    /// The value, taken out.
    #[must_use]
    pub fn into_value(mut self) -> Value {
        self.unbox().map_or_else(|| self.view().to_value(), |value| *value)
    }

    /// The same value and expiry under another key.
    #[must_use]
    pub fn renamed(mut self, key: &[u8]) -> Self {
        let record = self.0.view();
        let (tag, expiry) = (record.tag(), record.expiry());
        match self.unbox() {
            Some(value) => Self(Record::with_pointer(tag, key, expiry, Box::into_raw(value).cast())),
            None => Self(Record::new(tag, key, expiry, self.0.payload())),
        }
    }
}

/// Whether no integer is written like this: a cheap look that spares most strings the parser.
#[inline]
fn is_surely_text(bytes: &[u8]) -> bool {
    const LONGEST_INTEGER: usize = 20;
    bytes.len() > LONGEST_INTEGER
        || !bytes.first().is_some_and(|&b| b.is_ascii_digit() || b == b'-')
        || !bytes.last().is_some_and(u8::is_ascii_digit)
}

#[inline]
fn is_boxed(tag: u8) -> bool {
    tag == BOXED || tag == BOXED_EXPIRING
}

fn boxed_tag(value: &Value) -> u8 {
    if has_field_ttl(value.view()) { BOXED_EXPIRING } else { BOXED }
}

fn has_field_ttl(value: ValueRef<'_>) -> bool {
    matches!(value, ValueRef::Hash(hash) if hash.has_expiries())
}

impl Drop for Entry {
    #[inline]
    fn drop(&mut self) {
        drop(self.unbox());
    }
}

impl<'a> EntryRef<'a> {
    /// The key.
    #[must_use]
    #[inline]
    pub fn key(self) -> &'a [u8] {
        self.0.key()
    }

    /// Whether this is the key.
    #[must_use]
    #[inline]
    pub fn is_key(self, sought: &[u8]) -> bool {
        self.0.is_key(sought)
    }

    /// When the key expires, if it does.
    #[must_use]
    #[inline]
    pub fn expire_at(self) -> Option<UnixMs> {
        self.0.expiry().map(UnixMs)
    }

    /// The integer that the value is, if it is kept as one.
    #[must_use]
    #[inline]
    pub fn as_int(self) -> Option<i64> {
        (self.0.tag() == InlineTag::Int as u8).then(|| int_from_bytes(self.0.payload()))
    }

    /// Whether the key's time has passed at `now`.
    #[must_use]
    #[inline]
    pub fn is_expired(self, now: UnixMs) -> bool {
        self.expire_at().is_some_and(|at| at.is_past(now))
    }

    /// The value to look at.
    #[must_use]
    #[inline]
    pub fn view(self) -> ValueRef<'a> {
        let tag = self.0.tag();
        match InlineTag::from_bits(tag) {
            Some(tag) if tag != InlineTag::Boxed => ValueRef::from_inline(tag, self.0.payload()),
            _ => self.boxed().expect("a tag that isn't inline is a box").view(),
        }
    }

    #[inline]
    fn boxed(self) -> Option<&'a Value> {
        // SAFETY: under these tags the payload is a pointer that `Box::into_raw` gave, which the
        // entry owns; it stays unchanged as long as the entry does, for 'a.
        is_boxed(self.0.tag()).then(|| unsafe { &*self.0.pointer().cast::<Value>() })
    }

    /// Whether the value is a collection that is empty.
    #[must_use]
    #[inline]
    pub fn is_empty(self) -> bool {
        self.boxed().map_or_else(|| self.view().is_empty(), Value::is_empty)
    }

    /// About how many allocations the value has: its elements, if each may be one.
    #[must_use]
    #[inline]
    pub fn effort(self) -> usize {
        self.boxed().map_or(1, Value::effort)
    }

    /// A copy of the value.
    #[must_use]
    pub fn to_value(self) -> Value {
        match InlineTag::from_bits(self.0.tag()) {
            Some(tag) if tag != InlineTag::Boxed => Value::from_inline(tag, self.0.payload()),
            _ => self.view().to_owned(),
        }
    }

    /// Whether the value is a hash with fields that expire.
    #[must_use]
    #[inline]
    pub fn has_field_ttl(self) -> bool {
        match self.0.tag() {
            BOXED_EXPIRING => true,
            tag if tag == InlineTag::HashListpackEx as u8 => has_field_ttl(self.view()),
            _ => false,
        }
    }

    /// Heap bytes of key and value, the record's own size class included.
    #[must_use]
    pub fn memory_bytes(self) -> usize {
        self.0.alloc_bytes() + self.boxed().map_or(0, |value| size_of::<Value>() + value.memory_bytes())
    }

    /// The tag, if the value is in a box.
    #[inline]
    pub(super) fn boxed_as(self) -> Option<u8> {
        Some(self.0.tag()).filter(|tag| is_boxed(*tag))
    }

    /// What `marks` would be if the value were in a box under `tag`.
    #[cold]
    pub(super) fn marks_boxed_as(self, tag: u8) -> Marks {
        Marks {
            record_bytes: self.0.alloc_bytes_with_pointer(),
            has_expiry: self.0.has_expiry(),
            has_field_ttl: tag == BOXED_EXPIRING,
        }
    }

    #[inline]
    pub(super) fn marks(self) -> Marks {
        Marks {
            record_bytes: self.0.alloc_bytes(),
            has_expiry: self.0.has_expiry(),
            has_field_ttl: self.has_field_ttl(),
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

impl fmt::Debug for EntryRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.key().escape_ascii().to_string())
            .field("expire_at", &self.expire_at())
            .field("value", &self.view())
            .finish()
    }
}

// SAFETY: an entry is a record, which is `Thin`; the methods are the record's, and the box that an
// entry may own moves with it.
unsafe impl Thin for Entry {
    type Ref<'a> = EntryRef<'a>;

    #[inline]
    fn into_raw(self) -> NonNull<u8> {
        let entry = std::mem::ManuallyDrop::new(self);
        // SAFETY: the entry isn't dropped, so its record is moved out of it and not copied.
        unsafe { std::ptr::read(&raw const entry.0) }.into_raw()
    }

    #[inline]
    unsafe fn from_raw(at: NonNull<u8>) -> Self {
        // SAFETY: the caller's promise is the one that `Record::from_raw` asks for.
        Self(unsafe { Record::from_raw(at) })
    }

    #[inline]
    unsafe fn view<'a>(at: NonNull<u8>) -> EntryRef<'a> {
        // SAFETY: the caller's promise is the one that `RecordRef::from_raw` asks for.
        EntryRef(unsafe { RecordRef::from_raw(at) })
    }

    #[inline]
    fn is_volatile(view: EntryRef<'_>) -> bool {
        view.0.has_expiry() || view.has_field_ttl()
    }

    #[inline]
    fn prefetch_body(view: EntryRef<'_>) {
        if is_boxed(view.0.tag()) {
            prefetch_bytes(view.0.pointer().cast(), size_of::<Value>());
        } else {
            let payload = view.0.payload();
            prefetch_bytes(payload.as_ptr(), payload.len());
        }
    }

    #[inline]
    fn prefetch_far(view: EntryRef<'_>) {
        /// What lies behind them is read in order, which the CPU sees by itself.
        const FIRST_BYTES: usize = 512;
        if is_boxed(view.0.tag())
            && let Some(bytes) = view.view().whole_bytes()
        {
            prefetch_bytes(bytes.as_ptr(), bytes.len().min(FIRST_BYTES));
        }
    }
}

/// Hashes entries by their keys.
impl HashOf<Entry> for HashSeed {
    #[inline]
    fn hash_of(&self, entry: EntryRef<'_>) -> u64 {
        self.hash(entry.key())
    }
}

#[cfg(test)]
mod tests;
