//! Values that have no record bytes get some: the events of depth `Item`, as the record of a given type.
//!
//! The type is kept, old packed ones too, so that a file that was read as text can be written as it was.
//! (What a target makes of it is decided in `write`, not here.) A value is held in memory until its last
//! event, because packed encodings and streams start with what is only known then. Layouts:
//! `codec/rdb/mod.rs`, `codec/rdb/decode/stream.rs`, and the views in `packed`.

mod packed;
mod stream;

use cairn_engine::base::num;
use cairn_engine::codec::rdb::encode::push_len;
use cairn_engine::codec::rdb::{
    ObjectType, StringForm, ValueEvent, Writer, WriterOptions, array_tag, container, module_opcode,
};
use cairn_engine::packed::listpack::ListpackBuf;

use packed::{intset, ziplist, zipmap};
use stream::Stream;

use ObjectType as T;

/// What a node of a list holds before another is begun, as servers have it by default; one element may
/// be larger.
const NODE_BYTES: usize = 8 << 10;
/// How the fields of a template are written where they stand in the record: as strings.
const TEMPLATE_STRINGS: u64 = 1;

/// Makes the payload of one record.
pub(super) struct Encoder {
    object: T,
    w: Writer<Vec<u8>>,
    declared: u64,
    form: Option<StringForm>,
    /// Elements, or fields and values in turn, or members and scores, of types that are written at the end.
    items: Vec<Vec<u8>>,
    /// Expiries of the fields in `items`; -1 for none.
    expiries: Vec<i64>,
    stream: Stream,
    template: u64,
}

/// Takes what cannot fail.
fn sure(result: Result<(), std::convert::Infallible>) {
    let Ok(()) = result;
}

impl Encoder {
    /// For a record of type `object` with that many elements (pairs of hashes and sorted sets). A string may
    /// have a form that it is to be stored in; a reference needs the id of its template.
    pub(super) fn new(object: T, declared: u64, form: Option<StringForm>, template: u64) -> Self {
        Self {
            object,
            w: Writer::new(Vec::new(), WriterOptions { compress: true, checksum: false }),
            declared,
            form,
            items: Vec::new(),
            expiries: Vec::new(),
            stream: Stream::default(),
            template,
        }
    }

    /// Takes the next event.
    ///
    /// # Errors
    /// Why a record of this type cannot hold it.
    pub(super) fn event(&mut self, event: &ValueEvent<'_>) -> Result<(), String> {
        let is_plain = matches!(self.object, T::List | T::Set | T::Hash | T::Zset | T::ZsetText);
        match *event {
            ValueEvent::Begin { .. } if is_plain => sure(self.w.len(self.declared)),
            ValueEvent::Begin { .. } | ValueEvent::BeginNodes { .. } => {}
            ValueEvent::String { bytes, .. } => self.string(bytes),
            ValueEvent::Element(bytes) if is_plain => sure(self.w.string(bytes)),
            ValueEvent::Element(bytes) => self.items.push(bytes.to_vec()),
            ValueEvent::Field { field, value, .. } if is_plain || self.object == T::PathHash => {
                sure(self.w.string(field));
                sure(self.w.string(value));
            }
            ValueEvent::Field { field, value, expire_at } => {
                self.items.push(field.to_vec());
                self.items.push(value.to_vec());
                self.expiries.push(expire_at.map_or(-1, |at| at.0));
            }
            ValueEvent::Member { member, score } => self.member(member, score),
            ValueEvent::BeginArray { declared, insert_index } => {
                sure(self.w.len(declared));
                sure(self.w.len(u64::from(insert_index.is_some())));
                if let Some(index) = insert_index {
                    sure(self.w.len(index));
                }
            }
            ValueEvent::ArrayElement { index, value } => {
                sure(self.w.len(index));
                match num::parse_i64(value) {
                    Some(number) => {
                        sure(self.w.len(array_tag::INT));
                        sure(self.w.raw(&number.to_le_bytes()));
                    }
                    None => {
                        sure(self.w.len(array_tag::STRING));
                        sure(self.w.string(value));
                    }
                }
            }
            ValueEvent::Path { path, declared } => {
                if self.declared > 0 {
                    // How many paths there are comes before the first.
                    sure(self.w.len(std::mem::take(&mut self.declared)));
                }
                sure(self.w.string(path));
                sure(self.w.len(declared));
            }
            ValueEvent::BeginModule { id } => sure(self.w.len(id)),
            ValueEvent::ModuleSigned(_)
            | ValueEvent::ModuleUnsigned(_)
            | ValueEvent::ModuleFloat(_)
            | ValueEvent::ModuleDouble(_)
            | ValueEvent::ModuleString(_) => {
                let mut out = Vec::new();
                push_module_value(&mut out, event);
                sure(self.w.raw(&out));
            }
            _ => self.stream.event(self.object, event)?,
        }
        Ok(())
    }

    fn string(&mut self, bytes: &[u8]) {
        match self.form {
            None => sure(self.w.string(bytes)),
            Some(StringForm::Raw) => {
                sure(self.w.len(bytes.len() as u64));
                sure(self.w.raw(bytes));
            }
            Some(StringForm::Lzf) => sure(self.w.blob(bytes)),
            Some(form) => {
                let number = num::parse_i64(bytes).unwrap_or(0);
                let (byte, width) = match form {
                    StringForm::Int8 => (0xc0, 1),
                    StringForm::Int16 => (0xc1, 2),
                    _ => (0xc2, 4),
                };
                sure(self.w.byte(byte));
                sure(self.w.raw(&number.to_le_bytes()[..width]));
            }
        }
    }

    fn member(&mut self, member: &[u8], score: f64) {
        match self.object {
            T::Zset => {
                sure(self.w.string(member));
                sure(self.w.double(score));
            }
            T::ZsetText => {
                sure(self.w.string(member));
                let mut text = Vec::new();
                match score {
                    f64::INFINITY => text.push(254),
                    f64::NEG_INFINITY => text.push(255),
                    _ => {
                        text.push(0);
                        num::push_f64_17g(&mut text, score);
                        // At most 24 characters.
                        text[0] = (text.len() - 1) as u8;
                    }
                }
                sure(self.w.raw(&text));
            }
            _ => {
                let mut text = Vec::new();
                num::push_f64_17g(&mut text, score);
                self.items.push(member.to_vec());
                self.items.push(text);
            }
        }
    }

    /// The payload.
    ///
    /// # Errors
    /// Why a record of this type cannot hold the value.
    pub(super) fn finish(mut self) -> Result<Vec<u8>, String> {
        match self.object {
            T::ListZiplist | T::HashZiplist => sure(self.w.blob(&ziplist(&self.items)?)),
            T::ZsetZiplist => {
                self.sort_members();
                sure(self.w.blob(&ziplist(&self.items)?));
            }
            T::HashZipmap => sure(self.w.blob(&zipmap(&self.items)?)),
            T::SetIntset => sure(self.w.blob(&intset(&self.items)?)),
            T::HashListpack | T::SetListpack => self.listpack(),
            T::ZsetListpack => {
                self.sort_members();
                self.listpack();
            }
            T::ListQuicklist => {
                let nodes = nodes_of(&self.items);
                sure(self.w.len(nodes.len() as u64));
                for node in nodes {
                    sure(self.w.blob(&ziplist(node)?));
                }
            }
            T::ListQuicklist2 => self.quicklist(),
            T::HashListpackEx | T::HashListpackExPreGa => self.listpack_with_expiries(),
            T::HashMetadata | T::HashMetadataPreGa | T::HashExpiry => self.fields_with_expiries(),
            T::HashTemplateListpack
            | T::HashTemplateListpackRef
            | T::HashTemplateArray
            | T::HashTemplateArrayRef => self.template(),
            T::Module => {
                let mut end = Vec::new();
                push_len(&mut end, module_opcode::EOF);
                sure(self.w.raw(&end));
            }
            // No path was there to write it.
            T::PathHash if self.w.offset() == 0 => sure(self.w.len(0)),
            T::StreamListpacks
            | T::StreamListpacks2
            | T::StreamListpacks3
            | T::StreamListpacks4
            | T::StreamListpacks5 => self.stream.write(self.object, &mut self.w)?,
            _ => {}
        }
        let Ok(payload) = self.w.into_drain();
        Ok(payload)
    }

    fn listpack(&mut self) {
        let mut listpack = ListpackBuf::new();
        self.items.iter().for_each(|item| listpack.push_back(item));
        sure(self.w.blob(listpack.as_bytes()));
    }

    /// Packed sorted sets are in order.
    fn sort_members(&mut self) {
        let mut members: Vec<(f64, Vec<u8>, Vec<u8>)> = Vec::new();
        let mut items = std::mem::take(&mut self.items).into_iter();
        while let (Some(member), Some(score)) = (items.next(), items.next()) {
            members.push((num::parse_f64(&score).unwrap_or(0.0), member, score));
        }
        members.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
        self.items = members.into_iter().flat_map(|(_, member, score)| [member, score]).collect();
    }

    fn quicklist(&mut self) {
        let nodes = nodes_of(&self.items);
        sure(self.w.len(nodes.len() as u64));
        for node in nodes {
            match node {
                [large] if large.len() > NODE_BYTES => {
                    sure(self.w.len(container::PLAIN));
                    sure(self.w.blob(large));
                }
                _ => {
                    let mut listpack = ListpackBuf::new();
                    node.iter().for_each(|item| listpack.push_back(item));
                    sure(self.w.len(container::PACKED));
                    sure(self.w.blob(listpack.as_bytes()));
                }
            }
        }
    }

    fn earliest(&self) -> u64 {
        let set = self.expiries.iter().filter_map(|at| u64::try_from(*at).ok());
        set.min().unwrap_or(0)
    }

    fn listpack_with_expiries(&mut self) {
        if self.object == T::HashListpackEx {
            sure(self.w.raw(&self.earliest().to_le_bytes()));
        }
        let mut fields: Vec<_> = self.items.chunks_exact(2).zip(&self.expiries).collect();
        // Servers keep them by expiry, those without one last.
        fields.sort_by_key(|(_, at)| u64::try_from(**at).unwrap_or(u64::MAX));
        let mut listpack = ListpackBuf::new();
        for (pair, at) in fields {
            listpack.push_back(&pair[0]);
            listpack.push_back(&pair[1]);
            listpack.push_back_int((*at).max(0));
        }
        sure(self.w.blob(listpack.as_bytes()));
    }

    fn fields_with_expiries(&mut self) {
        let earliest = self.earliest();
        if self.object == T::HashMetadata {
            sure(self.w.raw(&earliest.to_le_bytes()));
        }
        sure(self.w.len(self.expiries.len() as u64));
        for (pair, at) in self.items.chunks_exact(2).zip(&self.expiries) {
            let set = u64::try_from(*at).ok();
            match self.object {
                T::HashMetadata => sure(self.w.len(set.map_or(0, |at| at - earliest + 1))),
                T::HashMetadataPreGa => sure(self.w.len(set.unwrap_or(0))),
                _ => {}
            }
            sure(self.w.string(&pair[0]));
            sure(self.w.string(&pair[1]));
            if self.object == T::HashExpiry {
                sure(self.w.raw(&at.to_le_bytes()));
            }
        }
    }

    fn template(&mut self) {
        let pairs = self.items.chunks_exact(2);
        if matches!(self.object, T::HashTemplateListpack | T::HashTemplateArray) {
            sure(self.w.len(TEMPLATE_STRINGS));
            sure(self.w.len(pairs.len() as u64));
            pairs.clone().for_each(|pair| sure(self.w.string(&pair[0])));
        }
        match self.object {
            T::HashTemplateListpack | T::HashTemplateListpackRef => {
                let mut listpack = ListpackBuf::new();
                listpack.push_back_int(self.template.cast_signed());
                pairs.for_each(|pair| listpack.push_back(&pair[1]));
                sure(self.w.blob(listpack.as_bytes()));
            }
            _ => {
                if self.object == T::HashTemplateArrayRef {
                    sure(self.w.len(self.template));
                }
                pairs.for_each(|pair| sure(self.w.string(&pair[1])));
            }
        }
    }
}

/// Appends a value of a module with the opcode before it; nothing for other events.
pub(super) fn push_module_value(out: &mut Vec<u8>, event: &ValueEvent<'_>) {
    match *event {
        ValueEvent::ModuleSigned(value) => {
            push_len(out, module_opcode::SIGNED);
            push_len(out, value.cast_unsigned());
        }
        ValueEvent::ModuleUnsigned(value) => {
            push_len(out, module_opcode::UNSIGNED);
            push_len(out, value);
        }
        ValueEvent::ModuleFloat(value) => {
            push_len(out, module_opcode::FLOAT);
            out.extend_from_slice(&value.to_le_bytes());
        }
        ValueEvent::ModuleDouble(value) => {
            push_len(out, module_opcode::DOUBLE);
            out.extend_from_slice(&value.to_le_bytes());
        }
        ValueEvent::ModuleString(bytes) => {
            push_len(out, module_opcode::STRING);
            push_len(out, bytes.len() as u64);
            out.extend_from_slice(bytes);
        }
        _ => {}
    }
}

/// Elements of a list by node.
fn nodes_of(mut items: &[Vec<u8>]) -> Vec<&[Vec<u8>]> {
    let mut nodes = Vec::new();
    while !items.is_empty() {
        let mut bytes = 0_usize;
        let fits = |item: &&Vec<u8>| {
            bytes = bytes.saturating_add(item.len() + 11);
            bytes <= NODE_BYTES
        };
        let len = items.iter().take_while(fits).count().max(1);
        let (node, rest) = items.split_at(len);
        nodes.push(node);
        items = rest;
    }
    nodes
}
