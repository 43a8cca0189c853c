//! A large table inside a value, for whoever asks the CPU ahead for what commands will look up there.
//!
//! Changes nothing but speed.

use crate::structure::fields::FieldTable;
use crate::structure::members::MemberTable;

use super::ValueRef;
use super::hash::HashRef;
use super::set::SetRef;
use super::zset::{ZsetRef, ZsetTree};

/// Smaller tables are in the CPU's caches anyway.
const LARGE: usize = 4096;

/// The table of a hash, a set or a sorted set that is large.
#[derive(Debug, Clone, Copy)]
pub enum LargeTable<'a> {
    /// Of a hash.
    Fields(&'a FieldTable),
    /// Of a set.
    Members(&'a MemberTable),
    /// Of a sorted set.
    Scores(&'a ZsetTree),
}

impl<'a> LargeTable<'a> {
    /// The table of a value, if it has one and it is large.
    #[must_use]
    pub fn of(value: ValueRef<'a>) -> Option<Self> {
        match value {
            ValueRef::Hash(HashRef::Table(table)) if table.len() >= LARGE => Some(Self::Fields(table)),
            ValueRef::Set(SetRef::Table(table)) if table.len() >= LARGE => Some(Self::Members(table)),
            ValueRef::Zset(ZsetRef::Tree(tree)) if tree.len() >= LARGE as u64 => Some(Self::Scores(tree)),
            _ => None,
        }
    }

    /// The hash of a field or member, for the other functions.
    #[must_use]
    pub fn hash(self, member: &[u8]) -> u64 {
        match self {
            Self::Fields(table) => table.hash(member),
            Self::Members(table) => table.hash(member),
            Self::Scores(tree) => tree.hash(member),
        }
    }

    /// Asks for the place of a hash: the first step.
    pub fn prefetch(self, hash: u64) {
        match self {
            Self::Fields(table) => table.prefetch(hash),
            Self::Members(table) => table.prefetch(hash),
            Self::Scores(tree) => tree.prefetch(hash),
        }
    }

    /// Asks for what is at the place of a hash: the second step, once the places have come.
    pub fn prefetch_item(self, hash: u64) {
        match self {
            Self::Fields(table) => table.prefetch_item(hash),
            Self::Members(table) => table.prefetch_item(hash),
            Self::Scores(tree) => tree.prefetch_leaf(hash),
        }
    }

    /// Asks for what the second step has led to, if there is more: the third step. Answers whether there is.
    pub fn prefetch_rest(self, hash: u64) -> bool {
        match self {
            Self::Fields(_) | Self::Members(_) => false,
            Self::Scores(tree) => {
                tree.prefetch_members(hash);
                true
            }
        }
    }
}
