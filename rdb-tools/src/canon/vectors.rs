//! Vector sets as parts: a part an element, without the links of the graph.
//!
//! Two servers with the same elements have other graphs: the levels are random. The layout is in
//! `jsonl/module.rs`. Values are taken one by one; where one is not of the kind that the layout
//! has there, this and all that follow are taken as those of any module.

use cairn_engine::codec::rdb::ValueEvent;

use super::{Parts, Section, push_framed};
use crate::jsonl::module_name;

/// Identities of [`Section::VectorSet`].
pub(super) const DIMENSION: u8 = 0;
const QUANTISATION: u8 = 1;
const LINKS: u8 = 2;
const INPUT_DIMENSION: u8 = 3;
const MATRIX: u8 = 4;

const DEFAULT_LINKS: u64 = 16;
const QUANTISED_INT8: u64 = 1;
const HAS_MATRIX: u64 = 1;
const HAS_ATTRIBUTES: u64 = 2;

/// Where in the layout the next value stands.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// This is no vector set, or not laid out as one.
    #[default]
    Unknown,
    Dimension,
    Count,
    Configuration,
    Flags,
    InputDimension,
    Matrix,
    Name,
    Attributes,
    Vector,
    Numbers,
    /// This many numbers, of which the last is norm and range.
    Number(u64),
    End,
}

/// Takes vector sets apart.
#[derive(Debug, Default)]
pub(super) struct Vectors {
    next: Next,
    left: u64,
    quantisation: u64,
    flags: u64,
    name: Vec<u8>,
    attributes: Vec<u8>,
    vector: Vec<u8>,
    content: Vec<u8>,
}

impl Vectors {
    /// A module value of that type id starts.
    pub(super) fn begin(&mut self, id: u64) {
        const VERSION_BITS: u64 = 0x3ff;
        let is_known = module_name(id) == *b"vectorset" && id & VERSION_BITS == 0;
        self.next = if is_known { Next::Dimension } else { Next::Unknown };
    }

    /// Whether a vector set has been there from its start to its end.
    pub(super) fn is_whole(&self) -> bool {
        self.next == Next::End
    }

    /// Takes a value; false if it is none of a vector set.
    pub(super) fn event<P: Parts>(&mut self, event: &ValueEvent<'_>, out: &mut P) -> Result<bool, P::Error> {
        match (self.next, event) {
            (Next::Unknown, _) => return Ok(false),
            (_, ValueEvent::ModuleUnsigned(number)) => self.number(*number, out)?,
            (_, ValueEvent::ModuleSigned(number)) => self.number(number.cast_unsigned(), out)?,
            (_, ValueEvent::ModuleString(bytes)) => self.bytes(bytes, out)?,
            _ => self.next = Next::Unknown,
        }
        Ok(self.next != Next::Unknown)
    }

    fn number<P: Parts>(&mut self, number: u64, out: &mut P) -> Result<(), P::Error> {
        let mut fact = |which: u8, value: u64| out.part(Section::VectorSet, &[which], &value.to_be_bytes());
        self.next = match self.next {
            Next::Dimension => {
                fact(DIMENSION, number)?;
                Next::Count
            }
            Next::Count => {
                self.left = number;
                Next::Configuration
            }
            Next::Configuration => {
                self.quantisation = number & 0xff;
                fact(QUANTISATION, self.quantisation)?;
                let links = Some((number >> 8) & 0xffff).filter(|links| *links != 0);
                fact(LINKS, links.unwrap_or(DEFAULT_LINKS))?;
                Next::Flags
            }
            Next::Flags => {
                self.flags = number;
                if number & HAS_MATRIX != 0 { Next::InputDimension } else { self.next_element() }
            }
            Next::InputDimension => {
                fact(INPUT_DIMENSION, number)?;
                Next::Matrix
            }
            Next::Numbers if number == 0 => self.end_element(0, out)?,
            Next::Numbers => Next::Number(number),
            Next::Number(1) => self.end_element(number, out)?,
            Next::Number(left) => Next::Number(left - 1),
            _ => Next::Unknown,
        };
        Ok(())
    }

    fn bytes<P: Parts>(&mut self, bytes: &[u8], out: &mut P) -> Result<(), P::Error> {
        let keep = |place: &mut Vec<u8>| {
            place.clear();
            place.extend_from_slice(bytes);
        };
        self.next = match self.next {
            Next::Matrix => {
                out.part(Section::VectorSet, &[MATRIX], bytes)?;
                self.next_element()
            }
            Next::Name => {
                keep(&mut self.name);
                self.attributes.clear();
                if self.flags & HAS_ATTRIBUTES != 0 { Next::Attributes } else { Next::Vector }
            }
            Next::Attributes => {
                keep(&mut self.attributes);
                Next::Vector
            }
            Next::Vector => {
                keep(&mut self.vector);
                Next::Numbers
            }
            _ => Next::Unknown,
        };
        Ok(())
    }

    fn next_element(&self) -> Next {
        if self.left == 0 { Next::End } else { Next::Name }
    }

    /// `last` has the norm in its low half and, where vectors are of int8, their range in the other.
    fn end_element<P: Parts>(&mut self, last: u64, out: &mut P) -> Result<Next, P::Error> {
        let (norm, range) = (last as u32, (last >> 32) as u32);
        let range = if self.quantisation == QUANTISED_INT8 { range } else { 0 };
        self.content.clear();
        self.content.extend_from_slice(&norm.to_be_bytes());
        self.content.extend_from_slice(&range.to_be_bytes());
        push_framed(&mut self.content, &self.attributes);
        self.content.extend_from_slice(&self.vector);
        out.part(Section::Vector, &self.name, &self.content)?;
        self.left -= 1;
        Ok(self.next_element())
    }
}
