//! A row an element: the contents of keys, flat.
//!
//! A string is one row, a list a row an element, a set a row a member, a hash a row a field, a sorted set a
//! row a member, a stream a row a field of an entry, an array a row an element, a path hash a row a
//! field of a path, a module value a row a value that the module wrote. Groups of streams are no elements. Rows go
//! on as they come: no value is kept.

use std::io;

use cairn_engine::base::num;
use cairn_engine::base::stream_id::StreamId;
use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::{Depth, Family, KeyHead, Sink, ValueEvent, module_name};

use crate::jsonl::function_name;
use crate::parallel::Worker;

/// An element of a key.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ElementRow<'a> {
    /// The database; -1 for a function library.
    pub db: i64,
    /// The key it belongs to.
    pub key: &'a [u8],
    /// What TYPE answers of it.
    pub type_name: &'a str,
    /// Its place in the key's value as the file has it, from 0 on; of an array, its index.
    pub index: u64,
    /// The entry of a stream that it belongs to.
    pub id: Option<StreamId>,
    /// The path of a path hash that it belongs to.
    pub path: Option<&'a [u8]>,
    /// The field of a hash, of a stream's entry; the member of a set, of a sorted set.
    pub field: Option<&'a [u8]>,
    /// The value of a string, of a field, of a list or array.
    pub value: Option<&'a [u8]>,
    /// The score of a member.
    pub score: Option<f64>,
    /// When a field expires on its own.
    pub expire_at: Option<UnixMs>,
}

/// Takes rows.
pub trait TakeElements {
    /// Takes the row of an element.
    ///
    /// # Errors
    /// Whatever writing says.
    fn take(&mut self, row: &ElementRow<'_>) -> io::Result<()>;

    /// No rows follow for now.
    ///
    /// # Errors
    /// Whatever writing says.
    fn flush(&mut self) -> io::Result<()>;
}

/// Makes the rows.
#[derive(Debug)]
pub struct ElementRows<T> {
    taker: T,
    db: i64,
    key: Vec<u8>,
    family: Family,
    module: [u8; 9],
    index: u64,
    path: Vec<u8>,
    number: Vec<u8>,
}

impl<T: TakeElements> ElementRows<T> {
    /// Gives rows to `taker`.
    pub fn new(taker: T) -> Self {
        Self {
            taker,
            db: 0,
            key: Vec::new(),
            family: Family::String,
            module: [0; 9],
            index: 0,
            path: Vec::new(),
            number: Vec::new(),
        }
    }

    /// Who took the rows.
    pub fn into_inner(self) -> T {
        self.taker
    }

    fn next_index(&mut self) -> u64 {
        let index = self.index;
        self.index += 1;
        index
    }

    fn give(&mut self, row: ElementRow<'_>) -> io::Result<()> {
        let type_name = match self.family {
            Family::Module => std::str::from_utf8(&self.module).unwrap_or_default(),
            family => family.name(),
        };
        self.taker.take(&ElementRow { db: self.db, key: &self.key, type_name, ..row })
    }

    /// A number of a module value.
    fn number(&mut self, push: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let mut text = std::mem::take(&mut self.number);
        text.clear();
        push(&mut text);
        let index = self.next_index();
        let given = self.give(ElementRow { index, value: Some(&text), ..ElementRow::default() });
        self.number = text;
        given
    }
}

impl<T: TakeElements> Sink for ElementRows<T> {
    type Error = io::Error;

    fn function(&mut self, _at: u64, code: &[u8]) -> io::Result<()> {
        let key = function_name(code);
        let row =
            ElementRow { db: -1, key, type_name: "function", value: Some(code), ..ElementRow::default() };
        self.taker.take(&row)
    }

    fn key(&mut self, head: &KeyHead<'_>) -> io::Result<Depth> {
        self.db = i64::try_from(head.db).unwrap_or(i64::MAX);
        self.key.clear();
        self.key.extend_from_slice(head.key);
        self.family = head.object.family();
        self.module = *b"module   ";
        self.index = 0;
        Ok(Depth::Item)
    }

    fn value(&mut self, event: ValueEvent<'_>) -> io::Result<()> {
        let none = ElementRow::default();
        match event {
            ValueEvent::String { bytes, .. } => self.give(ElementRow { value: Some(bytes), ..none }),
            ValueEvent::Element(bytes) => {
                let index = self.next_index();
                match self.family {
                    Family::Set => self.give(ElementRow { index, field: Some(bytes), ..none }),
                    _ => self.give(ElementRow { index, value: Some(bytes), ..none }),
                }
            }
            ValueEvent::Field { field, value, expire_at } => {
                let index = self.next_index();
                let path = std::mem::take(&mut self.path);
                let given = self.give(ElementRow {
                    index,
                    path: (self.family == Family::PathHash).then_some(&path),
                    field: Some(field),
                    value: Some(value),
                    expire_at,
                    ..none
                });
                self.path = path;
                given
            }
            ValueEvent::Member { member, score } => {
                let index = self.next_index();
                self.give(ElementRow { index, field: Some(member), score: Some(score), ..none })
            }
            ValueEvent::StreamEntry { id, fields } => {
                let index = self.next_index();
                let (pairs, _) = fields.as_chunks::<2>();
                pairs.iter().try_for_each(|[field, value]| {
                    let (field, value) = (Some(*field), Some(*value));
                    self.give(ElementRow { index, id: Some(id), field, value, ..none })
                })
            }
            ValueEvent::ArrayElement { index, value } => {
                self.give(ElementRow { index, value: Some(value), ..none })
            }
            ValueEvent::Path { path, .. } => {
                self.path.clear();
                self.path.extend_from_slice(path);
                Ok(())
            }
            ValueEvent::BeginModule { id } => {
                self.module = module_name(id).0;
                Ok(())
            }
            ValueEvent::ModuleSigned(n) => self.number(|text| num::push_i64(text, n)),
            ValueEvent::ModuleUnsigned(n) => self.number(|text| num::push_u64(text, n)),
            ValueEvent::ModuleFloat(n) => self.number(|text| num::push_f64_9g(text, f64::from(n))),
            ValueEvent::ModuleDouble(n) => self.number(|text| num::push_f64_17g(text, n)),
            ValueEvent::ModuleString(bytes) => {
                let index = self.next_index();
                self.give(ElementRow { index, value: Some(bytes), ..none })
            }
            _ => Ok(()),
        }
    }
}

impl<T: TakeElements> Worker for ElementRows<T> {
    fn finish(&mut self) -> io::Result<()> {
        self.taker.flush()
    }
}
