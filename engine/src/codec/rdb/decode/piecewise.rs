//! One value that comes in pieces: a decoder that can be put anywhere in a file, behind a key.
//!
//! Whoever has the undecoded bytes of a value, as depth `Raw` hands them on, can decode them here while
//! they come, at another depth, without having all of them at once.

use super::file::{refuse_pre_ga_module, unknown_type};
use super::value::Value;
use super::{ObjectType, Progress, Scratch, State, Templates, Version};
use crate::codec::rdb::error::{Doing, Error, Failure, Halt, Kind};
use crate::codec::rdb::event::{Depth, Sink};
use crate::codec::rdb::read::Cursor;

use std::sync::Arc;

/// Decodes values piece by piece, one after another. Only `Sink::value` is called.
///
/// Memory is bounded by hash templates and the scratch space of a compressed string.
#[derive(Debug)]
pub struct ValueDecoder {
    version: Version,
    templates: Templates,
    scratch: Scratch,
    value: Option<(Value, u8)>,
    offset: u64,
}

impl ValueDecoder {
    /// A decoder of values of a file of that version.
    #[must_use]
    pub fn new(version: Version) -> Self {
        Self { version, templates: Templates::new(), scratch: Scratch::default(), value: None, offset: 0 }
    }

    /// Takes note of a hash template that the file has defined.
    pub fn add_template(&mut self, id: u64, fields: &[Vec<u8>]) {
        self.templates.insert(id, Arc::new(fields.to_vec()));
    }

    /// Takes over what a file has defined so far.
    pub fn set_templates(&mut self, templates: &Templates) {
        self.templates.clone_from(templates);
    }

    /// A value of that type follows, the first byte of which is at `offset`. What is left of the last is
    /// forgotten.
    ///
    /// # Errors
    /// [`Error`] for a type that does not exist, or that nobody reads.
    pub fn begin(&mut self, type_byte: u8, depth: Depth, offset: u64) -> Result<(), Error> {
        self.offset = offset;
        self.scratch.trim();
        match ObjectType::from_byte(type_byte, self.version) {
            None => Err(error(offset, unknown_type(type_byte), type_byte)),
            Some(ObjectType::ModulePreGa) => Err(error(offset, refuse_pre_ga_module(type_byte), type_byte)),
            Some(object) => {
                self.value = Some((Value::new(object, depth), type_byte));
                Ok(())
            }
        }
    }

    /// Decodes every whole unit in `input`, which continues where `consumed` of the last call ended. Behind
    /// the end of the value nothing is consumed.
    ///
    /// # Errors
    /// [`Failure::Format`] with the offset and kind of a fault, or what the sink answered.
    pub fn advance<S: Sink>(&mut self, input: &[u8], sink: &mut S) -> Result<Progress, Failure<S::Error>> {
        let Some((value, type_byte)) = &mut self.value else {
            return Ok(Progress { consumed: 0, state: State::Done });
        };
        let mut cursor = Cursor::new(input, self.offset);
        // As with whole files, the insides are looked at where they are shown.
        let deep = false;
        let end = value.read(&mut cursor, &self.templates, deep, &mut self.scratch, sink);
        let consumed = cursor.unit;
        self.offset += consumed as u64;
        match end {
            Ok(()) => {
                self.value = None;
                Ok(Progress { consumed, state: State::Done })
            }
            Err(Halt::Short(end)) => {
                let at_least = end - consumed as u64;
                Ok(Progress { consumed, state: State::More { at_least } })
            }
            Err(Halt::Bad(at, kind)) => Err(Failure::Format(error(at, kind, *type_byte))),
            Err(Halt::Sink(error)) => Err(Failure::Sink(error)),
        }
    }
}

#[cold]
fn error(at: u64, kind: Kind, type_byte: u8) -> Error {
    let object = Some(type_byte);
    Error { at, kind, doing: Doing::ReadObjectValue, version: None, db: 0, key: None, object }
}
