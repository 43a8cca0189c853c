//! What differs, as text for people and as JSON lines for machines.

use std::io::{self, Write};

use cairn_engine::codec::rdb::Family;

use super::details::{Pair, Pairs};
use super::digest::Scope;
use super::join::{Change, Class, Counts, ExpiryRules};
use super::lists::{Step, steps};
use super::show::{self, Fact};
use super::survey::Facts;
use crate::canon::Section;
use crate::json;
use crate::output::Shown;

/// Told of every key that is not the same, in order.
pub trait Report {
    /// A key; what is in it is the next of `pairs`, up to its rank. Answers what it turned out to be: a
    /// key about which there was doubt may be the same.
    ///
    /// # Errors
    /// Of writing, and of temporary files.
    fn change(&mut self, change: &Change, rank: u64, pairs: &mut Pairs) -> io::Result<Option<Class>>;

    /// All keys have been there.
    ///
    /// # Errors
    /// Of writing.
    fn end(&mut self, counts: &Counts) -> io::Result<()>;
}

/// Lists are compared by their elements, and not by their places, up to this many and this much.
const LIST_ELEMENTS: u64 = 50_000;
const LIST_BYTES: u64 = 4 << 20;

/// Whether a key is a list on both sides, and small enough to be compared as one.
#[must_use]
pub fn is_small_list(change: &Change) -> bool {
    let is_small = |facts: &Facts| {
        facts.family == Family::List
            && facts.content.elements <= LIST_ELEMENTS
            && facts.content.bytes <= LIST_BYTES
    };
    change.a.as_ref().is_some_and(is_small) && change.b.as_ref().is_some_and(is_small)
}

/// Elements of a list, whole.
type Elements = Vec<Vec<u8>>;

/// The elements of a small list on both sides. Parts that are no elements go to `other`.
///
/// # Errors
/// Of temporary files, and those of `other`.
pub fn both_lists(
    rank: u64,
    pairs: &mut Pairs,
    mut other: impl FnMut(&Pair) -> io::Result<()>,
) -> io::Result<(Elements, Elements)> {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    let mut pair = Pair::default();
    while pairs.next(rank, &mut pair)? {
        if pair.section() == Section::Element {
            a.append(&mut pair.a);
            b.append(&mut pair.b);
        } else {
            other(&pair)?;
        }
    }
    Ok((a, b))
}

/// Which parts count as different.
#[derive(Debug, Clone, Copy, Default)]
pub struct Differing {
    /// How exact expiries are.
    pub expiry: ExpiryRules,
    /// Lists are bags.
    pub ignore_order: bool,
}

impl Differing {
    /// Whether a part is different on the two sides.
    #[must_use]
    pub fn is_different(&self, pair: &Pair) -> bool {
        if pair.is_same() {
            return false;
        }
        if let (Section::FieldTtl, [a], [b]) = (pair.section(), &pair.a[..], &pair.b[..]) {
            let ms = |bytes: &[u8]| bytes.first_chunk().map_or(0, |ms| i64::from_be_bytes(*ms));
            return ms(a).abs_diff(ms(b)) > self.expiry.tolerance_ms;
        }
        true
    }
}

/// Readable text, a line a key and one for each part that differs.
#[derive(Debug)]
pub struct Text<W> {
    out: W,
    differing: Differing,
    /// Parts told for each key; `None` for keys alone.
    limit: Option<u64>,
    /// Bytes around the first difference of long values.
    context: usize,
    told: u64,
    more: u64,
}

impl<W: Write> Text<W> {
    /// Text to `out`; `limit` parts a key, `None` for keys alone, and `context` bytes around a difference.
    pub fn new(out: W, differing: Differing, limit: Option<u64>, context: usize) -> Self {
        Self { out, differing, limit, context, told: 0, more: 0 }
    }

    fn head(&mut self, mark: char, change: &Change) -> io::Result<()> {
        (self.told, self.more) = (0, 0);
        let (scope, name) = (change.scope, Shown(&change.name));
        match scope {
            Scope::Functions => write!(self.out, "{mark} function library \"{name}\"")?,
            Scope::ModuleAux => write!(self.out, "{mark} module data \"{name}\"")?,
            Scope::Db(db) => {
                let family = |facts: &Option<Facts>| facts.as_ref().map(|facts| facts.family.name());
                match (family(&change.a), family(&change.b)) {
                    (Some(a), Some(b)) if a != b => write!(self.out, "{mark} db {db} {a} -> {b} \"{name}\"")?,
                    (a, b) => {
                        write!(self.out, "{mark} db {db} {} \"{name}\"", a.or(b).unwrap_or_default())?;
                    }
                }
            }
        }
        Ok(())
    }

    fn line(&mut self, text: &str) -> io::Result<()> {
        let Some(limit) = self.limit else { return Ok(()) };
        if self.told >= limit {
            self.more += 1;
            return Ok(());
        }
        self.told += 1;
        writeln!(self.out, "    {text}")
    }

    fn pair(&mut self, pair: &Pair) -> io::Result<()> {
        let section = pair.section();
        let mut label = match section {
            Section::Text => String::new(),
            _ => format!("{} ", show::name(section)),
        };
        Fact::List(show::identity(section, pair.identity())).push_text(&mut label);
        let label = label.trim_end();
        if section == Section::BagElement {
            return self.line(&format!("~ {label}: {} -> {} times", pair.a.len(), pair.b.len()));
        }
        if let ([a], [b]) = (&pair.a[..], &pair.b[..])
            && a.len().max(b.len()) > self.context.saturating_mul(2)
            && matches!(section, Section::Text | Section::Element | Section::Field | Section::ArrayElement)
        {
            let label = if label.is_empty() { String::new() } else { format!("{label}: ") };
            return self.line(&format!("~ {label}{}", self.around(a, b)));
        }
        let side = |contents: &[Vec<u8>]| {
            let facts: Vec<_> = contents
                .iter()
                .flat_map(|content| show::content(section, pair.identity(), content))
                .collect();
            let mut text = String::new();
            for (i, (name, fact)) in facts.iter().enumerate() {
                if i > 0 {
                    text.push_str(", ");
                }
                if facts.len() > 1 {
                    text.push_str(&name.replace('_', " "));
                    text.push(' ');
                }
                fact.push_text(&mut text);
            }
            text
        };
        let (a, b) = (side(&pair.a), side(&pair.b));
        let colon = if label.is_empty() || (a.is_empty() && b.is_empty()) { "" } else { ": " };
        match (pair.a.is_empty(), pair.b.is_empty()) {
            (false, true) => self.line(&format!("- {label}{colon}{a}")),
            (true, false) => self.line(&format!("+ {label}{colon}{b}")),
            _ => self.line(&format!("~ {label}{colon}{a} -> {b}")),
        }
    }

    /// Two long values: their lengths, and what is around the first byte that differs.
    fn around(&self, a: &[u8], b: &[u8]) -> String {
        let at = a.iter().zip(b).take_while(|(a, b)| a == b).count();
        let part = |bytes: &[u8]| {
            let from = at.saturating_sub(self.context / 2).min(bytes.len());
            let to = at.saturating_add(self.context).min(bytes.len());
            let dots = |more: bool| if more { "..." } else { "" };
            format!("{}\"{}\"{}", dots(from > 0), Shown(&bytes[from..to]), dots(to < bytes.len()))
        };
        format!("{} and {} bytes, from byte {at} on: {} -> {}", a.len(), b.len(), part(a), part(b))
    }

    fn expiry(&mut self, change: &Change) -> io::Result<()> {
        if !change.moves_expiry(&self.differing.expiry) {
            return Ok(());
        }
        let shown = |facts: &Option<Facts>| match facts.as_ref().and_then(|facts| facts.expires) {
            Some(at) => show::instant(at.0),
            None => "never".to_owned(),
        };
        let text = format!("~ expires: {} -> {}", shown(&change.a), shown(&change.b));
        writeln!(self.out, "    {text}")
    }

    fn end_key(&mut self) -> io::Result<()> {
        match std::mem::take(&mut self.more) {
            0 => Ok(()),
            more => writeln!(self.out, "    ... and {more} more"),
        }
    }

    fn size(&mut self, facts: &Option<Facts>) -> io::Result<()> {
        let Some(facts) = facts else { return writeln!(self.out) };
        let (elements, bytes) = (facts.content.elements, facts.content.bytes);
        let word = match facts.family {
            Family::String => return writeln!(self.out, " ({bytes} bytes)"),
            Family::List | Family::Array => "elements",
            Family::Set | Family::Zset => "members",
            Family::Hash | Family::PathHash => "fields",
            Family::Stream => "entries",
            Family::Module => "values",
        };
        let word = if elements == 1 {
            word.strip_suffix("ies").map_or(&word[..word.len() - 1], |_| "entry")
        } else {
            word
        };
        writeln!(self.out, " ({elements} {word})")
    }
}

impl<W: Write> Report for Text<W> {
    fn change(&mut self, change: &Change, rank: u64, pairs: &mut Pairs) -> io::Result<Option<Class>> {
        match change.class {
            Class::Removed => {
                self.head('-', change)?;
                self.size(&change.a)?;
                return Ok(Some(change.class));
            }
            Class::Added => {
                self.head('+', change)?;
                self.size(&change.b)?;
                return Ok(Some(change.class));
            }
            Class::Expiry => {
                self.head('~', change)?;
                writeln!(self.out)?;
                self.expiry(change)?;
                return Ok(Some(change.class));
            }
            Class::Changed | Class::Unsure => {}
        }
        let mut is_open = false;
        if is_small_list(change) && !self.differing.ignore_order {
            self.head('~', change)?;
            writeln!(self.out)?;
            is_open = true;
            let mut others = Vec::new();
            let (a, b) = both_lists(rank, pairs, |pair| {
                if !pair.is_same() {
                    others.push(format!("~ {}", show::name(pair.section())));
                }
                Ok(())
            })?;
            others.iter().try_for_each(|line| self.line(line))?;
            for step in steps(&a, &b) {
                match step {
                    Step::Remove(at) => self.line(&format!("- element {at}: \"{}\"", Shown(&a[at])))?,
                    Step::Insert(at) => self.line(&format!("+ element {at}: \"{}\"", Shown(&b[at])))?,
                }
            }
        }
        let mut pair = Pair::default();
        while pairs.next(rank, &mut pair)? {
            if self.differing.is_different(&pair) {
                if !std::mem::replace(&mut is_open, true) {
                    self.head('~', change)?;
                    writeln!(self.out)?;
                }
                self.pair(&pair)?;
            }
        }
        self.end_key()?;
        if is_open {
            self.expiry(change)?;
            return Ok(Some(Class::Changed));
        }
        let class = if change.class == Class::Changed { Class::Changed } else { Class::Expiry };
        if class == Class::Changed || change.moves_expiry(&self.differing.expiry) {
            self.head('~', change)?;
            writeln!(self.out)?;
            self.expiry(change)?;
            return Ok(Some(class));
        }
        Ok(None)
    }

    fn end(&mut self, counts: &Counts) -> io::Result<()> {
        let Counts { a, b, removed, added, changed, expiry, same } = counts;
        writeln!(
            self.out,
            "{a} keys and {b} keys: {same} same, {removed} removed, {added} added, {changed} changed, \
             {expiry} with another expiry"
        )?;
        self.out.flush()
    }
}

/// JSON lines, one a key, nothing shortened; then one with the counts.
#[derive(Debug)]
pub struct Json<W> {
    out: W,
    line: Vec<u8>,
    differing: Differing,
}

/// A line that has grown beyond this is handed on in pieces.
const LINE_BYTES: usize = 1 << 20;

impl<W: Write> Json<W> {
    /// Lines to `out`.
    pub fn new(out: W, differing: Differing) -> Self {
        Self { out, line: Vec::new(), differing }
    }

    fn head(&mut self, class: Class, change: &Change) {
        let line = &mut self.line;
        line.push(b'{');
        json::push_name(line, "change");
        json::push_text(line, class_name(class));
        change.scope.push_json(line);
        json::push_name(line, "key");
        json::push_bytes(line, &change.name);
        for (name, facts) in [("a", &change.a), ("b", &change.b)] {
            let Some(facts) = facts else { continue };
            json::push_name(line, name);
            line.push(b'{');
            if matches!(change.scope, Scope::Db(_)) {
                json::push_name(line, "type");
                json::push_text(line, facts.family.name());
                json::push_name(line, "pexpireat");
                json::push_i64(line, facts.expires.map_or(-1, |at| at.0));
                json::push_name(line, "elements");
                json::push_u64(line, facts.content.elements);
            }
            json::push_name(line, "bytes");
            json::push_u64(line, facts.content.bytes);
            line.push(b'}');
        }
    }

    fn pair(&mut self, pair: &Pair, is_first: bool) -> io::Result<()> {
        let line = &mut self.line;
        match is_first {
            true => {
                json::push_name(line, "parts");
                line.push(b'[');
            }
            false => line.push(b','),
        }
        let section = pair.section();
        line.push(b'{');
        json::push_name(line, "part");
        json::push_text(line, show::name(section));
        let of = show::identity(section, pair.identity());
        if !of.is_empty() {
            json::push_name(line, "of");
            Fact::List(of).push_json(line);
        }
        for (name, contents) in [("a", &pair.a), ("b", &pair.b)] {
            json::push_name(line, name);
            if contents.is_empty() {
                line.extend_from_slice(b"null");
                continue;
            }
            line.push(b'{');
            for content in contents {
                for (name, fact) in show::content(section, pair.identity(), content) {
                    json::push_name(line, name);
                    fact.push_json(line);
                }
            }
            if section == Section::BagElement {
                json::push_name(line, "times");
                json::push_u64(line, contents.len() as u64);
            }
            line.push(b'}');
        }
        line.push(b'}');
        if line.len() > LINE_BYTES {
            self.out.write_all(line)?;
            line.clear();
        }
        Ok(())
    }

    fn end_line(&mut self) -> io::Result<()> {
        self.line.extend_from_slice(b"}\n");
        self.out.write_all(&self.line)?;
        self.line.clear();
        Ok(())
    }
}

/// The word for what became of a key.
#[must_use]
pub fn class_name(class: Class) -> &'static str {
    match class {
        Class::Removed => "removed",
        Class::Added => "added",
        Class::Changed | Class::Unsure => "changed",
        Class::Expiry => "expiry",
    }
}

impl<W: Write> Report for Json<W> {
    fn change(&mut self, change: &Change, rank: u64, pairs: &mut Pairs) -> io::Result<Option<Class>> {
        let is_told_by_parts = matches!(change.class, Class::Changed | Class::Unsure);
        if !is_told_by_parts {
            self.head(change.class, change);
            self.end_line()?;
            return Ok(Some(change.class));
        }
        let mut pair = Pair::default();
        let mut parts = 0u64;
        while pairs.next(rank, &mut pair)? {
            if self.differing.is_different(&pair) {
                if parts == 0 {
                    self.head(Class::Changed, change);
                }
                self.pair(&pair, parts == 0)?;
                parts += 1;
            }
        }
        if parts > 0 {
            self.line.push(b']');
            self.end_line()?;
            return Ok(Some(Class::Changed));
        }
        let class = if change.class == Class::Changed { Class::Changed } else { Class::Expiry };
        if class == Class::Changed || change.moves_expiry(&self.differing.expiry) {
            self.head(class, change);
            self.end_line()?;
            return Ok(Some(class));
        }
        Ok(None)
    }

    fn end(&mut self, counts: &Counts) -> io::Result<()> {
        self.line.push(b'{');
        for (name, value) in [
            ("a_keys", counts.a),
            ("b_keys", counts.b),
            ("same", counts.same),
            ("removed", counts.removed),
            ("added", counts.added),
            ("changed", counts.changed),
            ("expiry", counts.expiry),
        ] {
            json::push_name(&mut self.line, name);
            json::push_u64(&mut self.line, value);
        }
        self.end_line()?;
        self.out.flush()
    }
}
