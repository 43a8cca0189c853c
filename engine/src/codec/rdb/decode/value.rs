//! A value as a sequence of units: which state follows which, whatever the depth.

use super::stream::StreamState;
use super::template::TemplateState;
use super::{ObjectType, Scratch, Templates};
use crate::codec::rdb::error::Halt;
use crate::codec::rdb::event::{Depth, Sink, ValueEvent};
use crate::codec::rdb::read::Cursor;

/// Where in a value the next unit stands.
#[derive(Debug)]
pub(super) struct Value {
    pub(super) object: ObjectType,
    pub(super) depth: Depth,
    pub(super) step: Step,
}

/// What is left of a value.
#[derive(Debug)]
pub(super) enum Step {
    Begin,
    /// This many elements, pairs, nodes.
    Items {
        left: u64,
        earliest: u64,
    },
    Paths {
        paths: u64,
        paths_left: u64,
        fields_left: u64,
    },
    Array {
        left: u64,
    },
    Stream(Box<StreamState>),
    Module,
    Template(TemplateState),
}

/// What the units of a value may use.
pub(super) struct Room<'d> {
    pub(super) templates: &'d Templates,
    pub(super) scratch: &'d mut Scratch,
    /// Events are wanted.
    pub(super) emit: bool,
    /// The insides are to be looked at, if only to validate them.
    pub(super) look: bool,
    /// Packed encodings are to be taken apart.
    pub(super) items: bool,
}

impl Value {
    pub(super) fn new(object: ObjectType, depth: Depth) -> Self {
        Self { object, depth, step: Step::Begin }
    }

    /// Reads on to the end of the value; at `Raw` hands on what was consumed of it.
    pub(super) fn read<S: Sink>(
        &mut self,
        cur: &mut Cursor<'_>,
        templates: &Templates,
        deep: bool,
        scratch: &mut Scratch,
        sink: &mut S,
    ) -> Result<(), Halt<S::Error>> {
        let emit = matches!(self.depth, Depth::Packed | Depth::Item);
        let items = self.depth == Depth::Item;
        let mut room = Room { templates, scratch, emit, look: emit || deep, items };
        let from = cur.unit;
        let end = self.units(cur, &mut room, sink);
        if self.depth == Depth::Raw && cur.unit > from {
            let piece = cur.between(from, cur.unit);
            sink.value(ValueEvent::Raw(piece)).map_err(Halt::Sink)?;
        }
        end
    }

    fn units<S: Sink>(
        &mut self,
        cur: &mut Cursor<'_>,
        room: &mut Room<'_>,
        sink: &mut S,
    ) -> Result<(), Halt<S::Error>> {
        if matches!(self.step, Step::Begin) {
            match self.begin(cur, room, sink)? {
                None => return Ok(()),
                Some(step) => self.step = step,
            }
        }
        match &mut self.step {
            Step::Begin => Ok(()),
            Step::Items { left, earliest } => {
                super::collection::items(self.object, left, *earliest, cur, room, sink)
            }
            Step::Paths { paths, paths_left, fields_left } => {
                super::collection::paths(*paths, paths_left, fields_left, cur, room, sink)
            }
            Step::Stream(stream) => stream.read(self.object, cur, room, sink),
            Step::Array { left } => super::array::elements(left, cur, room, sink),
            Step::Module => super::module::values(cur, room, sink),
            Step::Template(template) => template.read(cur, room, sink),
        }
    }

    /// Reads what comes before the elements; `None` if that was the whole value.
    fn begin<S: Sink>(
        &mut self,
        cur: &mut Cursor<'_>,
        room: &mut Room<'_>,
        sink: &mut S,
    ) -> Result<Option<Step>, Halt<S::Error>> {
        use ObjectType as T;
        match self.object {
            T::String => super::collection::string(cur, room, sink).map(|()| None),
            T::HashZipmap
            | T::ListZiplist
            | T::SetIntset
            | T::ZsetZiplist
            | T::HashZiplist
            | T::HashListpack
            | T::ZsetListpack
            | T::SetListpack
            | T::HashListpackExPreGa
            | T::HashListpackEx => super::packed::whole(self.object, cur, room, sink).map(|()| None),
            T::List
            | T::Set
            | T::ZsetText
            | T::Zset
            | T::Hash
            | T::ListQuicklist
            | T::ListQuicklist2
            | T::HashMetadataPreGa
            | T::HashMetadata
            | T::HashExpiry => super::collection::begin(self.object, cur, room, sink).map(Some),
            T::PathHash => {
                let paths = cur.len()?;
                cur.commit();
                if room.emit {
                    sink.value(ValueEvent::Begin { declared: paths }).map_err(Halt::Sink)?;
                }
                Ok(Some(Step::Paths { paths, paths_left: paths, fields_left: 0 }))
            }
            T::StreamListpacks
            | T::StreamListpacks2
            | T::StreamListpacks3
            | T::StreamListpacks4
            | T::StreamListpacks5 => {
                let state = StreamState::begin(cur, room, sink)?;
                Ok(Some(Step::Stream(Box::new(state))))
            }
            T::Module => super::module::begin(cur, room, sink).map(|()| Some(Step::Module)),
            // Refused where its type byte was read.
            T::ModulePreGa => Ok(None),
            T::Array => super::array::begin(cur, room, sink).map(Some),
            T::HashTemplateListpack
            | T::HashTemplateListpackRef
            | T::HashTemplateArray
            | T::HashTemplateArrayRef => {
                let state = TemplateState::begin(self.object, cur, room, sink)?;
                Ok(state.map(Step::Template))
            }
        }
    }
}
