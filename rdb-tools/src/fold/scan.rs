//! A look at every record of a log, for whoever wants to know what is in it before doing anything.

use std::ops::{ControlFlow, Range};

use cairn_engine::codec::aof::record::timestamp;
use cairn_engine::codec::rdb::{Decoder, Depth, KeyHead, Options as DecoderOptions, Sink, ValueEvent};
use cairn_engine::command::DataCommand;

use super::commands::{Call, Commands};
use super::log::{Log, Part, Place};
use super::run::{Session, fault_of_format};
use super::walk::{Visitor, fault_of_system, settle, walk};
use super::{Options, Summary};
use crate::drive::{Fault, Stop, drive};
use crate::input::Input;
use crate::progress::Progress;

/// A record of a log, where it stands.
#[derive(Debug)]
pub struct Seen<'a> {
    /// Its place.
    pub place: Place,
    /// Offset after it.
    pub end: u64,
    /// What it is.
    pub what: What<'a>,
    /// The database of the command.
    pub db: usize,
    /// Offset of the MULTI that is open here, the one of MULTI itself too.
    pub open_at: Option<u64>,
}

/// What a record is.
#[derive(Debug)]
pub enum What<'a> {
    /// The RDB file that a file starts with, with the Unix time in seconds when it was made, if it says so.
    Rdb(Option<i64>),
    /// A command, and what it is where it is one on data.
    Command(&'a [&'a [u8]], Option<&'static DataCommand>),
    /// The Unix time in seconds of the commands that follow.
    Time(i64),
}

/// How a log ends.
#[derive(Debug)]
pub struct Ends {
    /// Where each file ends, without what was torn off its end.
    pub files: Vec<u64>,
    /// The reserve in each file that something follows, if there is one: another server has appended that.
    pub gaps: Vec<Option<Range<u64>>>,
    /// What was torn off.
    pub torn: Option<super::Torn>,
}

/// Shows `look` every record, in order, until it has seen enough.
///
/// # Errors
/// A file cannot be read. Commands that are none are shown like others.
pub fn scan(
    log: &Log,
    options: &Options,
    look: &mut dyn FnMut(&Seen<'_>) -> ControlFlow<()>,
) -> Result<Ends, Fault> {
    let mut summary = Summary::default();
    let (mut files, mut gaps) = (Vec::new(), Vec::new());
    let commands = Commands::new();
    // What is seen is what is there.
    let options = Options { edits: super::Edits::default(), ..options.clone() };
    for (number, part) in log.parts.iter().enumerate() {
        let session = Session::default();
        let mut scan = Scan { commands: &commands, session, part: number, look };
        let walked = match walk(part, None, &options, &mut scan) {
            Ok(walked) => walked,
            Err(Halt::Fault(fault)) => return Err(fault),
            Err(Halt::Enough) => return Ok(Ends { files, gaps, torn: None }),
        };
        let is_last = number + 1 == log.parts.len();
        gaps.push(walked.gap.clone());
        files.push(settle(part, walked, scan.session.open_at, is_last, &options, &mut summary)?);
    }
    Ok(Ends { files, gaps, torn: summary.torn })
}

enum Halt {
    Fault(Fault),
    Enough,
}

struct Scan<'s> {
    commands: &'s Commands,
    session: Session,
    part: usize,
    look: &'s mut dyn FnMut(&Seen<'_>) -> ControlFlow<()>,
}

impl Scan<'_> {
    fn show(&mut self, at: u64, end: u64, what: What<'_>, open_at: Option<u64>) -> Result<(), Halt> {
        let place = Place { part: self.part, at };
        match (self.look)(&Seen { place, end, what, db: self.session.db, open_at }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Halt::Enough),
        }
    }
}

impl Visitor for Scan<'_> {
    type Error = Halt;

    fn fault(fault: Fault) -> Halt {
        Halt::Fault(fault)
    }

    fn rdb(&mut self, part: &Part, input: &mut Input, progress: &Progress) -> Result<(), Halt> {
        let options = DecoderOptions { verify_checksum: false, ..DecoderOptions::default() };
        let mut made = Made(None);
        drive(input, &mut Decoder::new(options), progress, &mut made).map_err(|stop| {
            Halt::Fault(match stop {
                Stop::Read(error) => fault_of_system(&part.path, &error),
                Stop::Format(error) => fault_of_format(&part.path, &error),
                Stop::Sink(never) => match never {},
                Stop::Other(fault) => fault,
            })
        })?;
        self.show(0, input.position(), What::Rdb(made.0), None)
    }

    fn command(&mut self, _part: &Part, at: u64, end: u64, argv: &[&[u8]]) -> Result<(), Halt> {
        let call = self.commands.call(argv).unwrap_or(Call::Nothing);
        let before = self.session.open_at;
        self.session.step(call, at);
        let data = match call {
            Call::Data(command) => Some(command),
            _ => None,
        };
        self.show(at, end, What::Command(argv, data), before.or(self.session.open_at))?;
        if let Call::Select(db) = call {
            self.session.db = db;
        }
        Ok(())
    }

    fn annotation(&mut self, _part: &Part, at: u64, end: u64, text: &[u8]) -> Result<(), Halt> {
        match timestamp(text) {
            Some(time) => self.show(at, end, What::Time(time), self.session.open_at),
            None => Ok(()),
        }
    }
}

/// When a file was made, as it says.
struct Made(Option<i64>);

impl Sink for Made {
    type Error = std::convert::Infallible;

    fn aux(&mut self, key: &[u8], value: &[u8], _end: u64) -> Result<(), Self::Error> {
        if key == b"ctime" {
            self.0 = cairn_engine::base::num::parse_i64(value);
        }
        Ok(())
    }

    fn key(&mut self, _head: &KeyHead<'_>) -> Result<Depth, Self::Error> {
        Ok(Depth::Skip)
    }

    fn value(&mut self, _event: ValueEvent<'_>) -> Result<(), Self::Error> {
        Ok(())
    }
}
