//! A line a command, for people or for scripts.

use std::io::{self, Write};

use anyhow::Context;
use cairn_engine::base::words;
use rdb_tools::json;
use rdb_tools::output::Shown;

use crate::cmd::log::Reader;
use crate::log::choice::Choice;
use crate::scan::Mark;
use crate::time;
use crate::vocabulary::Vocabulary;
use crate::walk::{Damage, Entry, Visit};

/// How commands are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For people.
    Text {
        /// All arguments as they are.
        full: bool,
    },
    /// One object a line.
    Json {
        /// All arguments as they are.
        full: bool,
    },
}

/// What is shown of an argument, unless all of it is wanted.
const SHOWN_BYTES: usize = 48;
/// Arguments that are shown, unless all are wanted.
const SHOWN_ARGS: usize = 12;

/// Writes commands.
pub(crate) struct Ledger<'a> {
    vocabulary: &'a Vocabulary,
    choice: &'a mut Choice,
    out: &'a mut dyn Write,
    form: Form,
    file: Vec<u8>,
    line: Vec<u8>,
    /// The MULTI that waits for a command of its transaction that is wanted: its line.
    multi: Option<(u64, Vec<u8>)>,
    /// The transaction whose MULTI was written.
    shown: Option<u64>,
    is_damaged: bool,
    /// Whether damage is told only by the exit code.
    is_quiet: bool,
}

impl<'a> Ledger<'a> {
    pub(crate) fn new(
        vocabulary: &'a Vocabulary,
        choice: &'a mut Choice,
        out: &'a mut dyn Write,
        form: Form,
    ) -> Self {
        Self {
            vocabulary,
            choice,
            out,
            form,
            file: Vec::new(),
            line: Vec::new(),
            multi: None,
            shown: None,
            is_damaged: false,
            is_quiet: false,
        }
    }

    /// Tells no damage.
    pub(crate) fn keep_quiet(&mut self) {
        self.is_quiet = true;
    }

    /// The commands that all lines are made with.
    pub(crate) fn vocabulary(&self) -> &'a Vocabulary {
        self.vocabulary
    }

    /// Makes everything be seen.
    ///
    /// # Errors
    /// What writing says.
    pub(crate) fn flush(&mut self) -> anyhow::Result<()> {
        self.out.flush().context("writing")
    }

    fn push(&mut self, entry: &Entry<'_>) {
        self.line.clear();
        match self.form {
            Form::Text { full } => self.push_text(entry, full),
            Form::Json { full } => self.push_json(entry, full),
        }
    }

    fn push_text(&mut self, entry: &Entry<'_>, full: bool) {
        let line = &mut self.line;
        line.extend_from_slice(Shown(&self.file).to_string().as_bytes());
        let time = entry.time.map_or_else(|| "-".to_owned(), time::shown);
        line.extend_from_slice(format!(":{} {time} db{} ", entry.at, entry.db).as_bytes());
        let is_inside = entry.transaction.is_some() && !matches!(entry.mark, Some(Ok(_)));
        if is_inside {
            line.extend_from_slice(b"| ");
        }
        let shown = if full { entry.argv.len() } else { SHOWN_ARGS.min(entry.argv.len()) };
        for (i, arg) in entry.argv.iter().take(shown).enumerate() {
            if i > 0 {
                line.push(b' ');
            }
            let len = entry.lens.and_then(|lens| lens.get(i).copied()).unwrap_or(arg.len() as u64);
            let kept = if full { arg.len() } else { SHOWN_BYTES.min(arg.len()) };
            let arg = &arg[..kept];
            if words::needs_quotes(arg) {
                words::push_quoted(line, arg);
            } else {
                line.extend_from_slice(arg);
            }
            if kept as u64 != len {
                line.extend_from_slice(format!("..({len} bytes)").as_bytes());
            }
        }
        let more = entry.argc.saturating_sub(shown as u64);
        if more > 0 {
            line.extend_from_slice(format!(" ..({more} more)").as_bytes());
        }
        line.push(b'\n');
    }

    fn push_json(&mut self, entry: &Entry<'_>, full: bool) {
        let line = &mut self.line;
        line.push(b'{');
        json::push_name(line, "file");
        json::push_bytes(line, &self.file);
        for (name, value) in [("offset", entry.at), ("bytes", entry.end - entry.at)] {
            json::push_name(line, name);
            json::push_u64(line, value);
        }
        json::push_name(line, "time");
        match entry.time {
            Some(time) => json::push_i64(line, time),
            None => line.extend_from_slice(b"null"),
        }
        json::push_name(line, "db");
        json::push_u64(line, entry.db);
        if let Some(at) = entry.transaction {
            json::push_name(line, "transaction");
            json::push_u64(line, at);
        }
        json::push_name(line, "command");
        json::push_bytes(line, &entry.argv.first().copied().unwrap_or_default().to_ascii_uppercase());
        let keys = self.vocabulary.keys(entry.argv);
        let most = if full { usize::MAX } else { SHOWN_ARGS };
        json::push_name(line, "keys");
        json::push_array(line, keys.iter().take(most), |line, at| json::push_bytes(line, entry.argv[*at]));
        json::push_name(line, "args");
        let mut is_shortened = entry.lens.is_some() || entry.argv.len().saturating_sub(1) > most;
        json::push_array(line, entry.argv.iter().skip(1).take(most), |line, arg| {
            let kept = if full { arg.len() } else { SHOWN_BYTES.min(arg.len()) };
            is_shortened |= kept < arg.len();
            json::push_bytes(line, &arg[..kept]);
        });
        if is_shortened {
            json::push_name(line, "shortened");
            line.extend_from_slice(b"true");
        }
        line.extend_from_slice(b"}\n");
    }

    fn write(&mut self) -> anyhow::Result<()> {
        self.out.write_all(&self.line).context("writing")
    }

    /// MULTI and EXEC stand around the commands of a transaction that are shown.
    fn mark(&mut self, entry: &Entry<'_>, mark: Mark) -> anyhow::Result<()> {
        if mark == Mark::Multi {
            self.shown = None;
            self.push(entry);
            self.multi = Some((entry.at, std::mem::take(&mut self.line)));
            return Ok(());
        }
        self.multi = None;
        if self.shown.take() == entry.transaction {
            self.push(entry);
            self.write()?;
        }
        Ok(())
    }
}

impl Visit for Ledger<'_> {
    fn command(&mut self, entry: &Entry<'_>) -> anyhow::Result<bool> {
        let is_wanted = self.choice.has(entry, self.vocabulary);
        if let Some(Ok(mark)) = entry.mark
            && (!is_wanted || self.choice.is_everything())
        {
            self.mark(entry, mark)?;
            return Ok(true);
        }
        if !is_wanted {
            return Ok(true);
        }
        if self.choice.left == 0 {
            return Ok(false);
        }
        self.choice.left -= 1;
        if let Some((at, line)) = self.multi.take()
            && entry.transaction == Some(at)
        {
            self.out.write_all(&line).context("writing")?;
            self.shown = Some(at);
        }
        self.push(entry);
        self.write()?;
        Ok(self.choice.left > 0 || entry.transaction.is_some())
    }

    fn damage(&mut self, damage: &Damage) -> anyhow::Result<Option<u64>> {
        self.is_damaged = true;
        if self.is_quiet {
            return Ok(None);
        }
        self.flush()?;
        writeln!(io::stderr(), "aof-tools: {}: {}", Shown(&self.file), tell(damage)).context("writing")?;
        Ok(None)
    }
}

/// What is said about damage.
pub(crate) fn tell(damage: &Damage) -> String {
    let bytes = damage.to - damage.from;
    let further = match damage.goes_on {
        true => format!("and reading goes on at offset {}", damage.to),
        false => "up to the end of the file".to_owned(),
    };
    // Most of what is wrong says itself where.
    let here = format!("offset {}: ", damage.at);
    let what = damage.what.strip_prefix(&here).unwrap_or(&damage.what);
    format!(
        "offset {}: {what}; {bytes} bytes from offset {} on are left out, {further}",
        damage.at, damage.from
    )
}

impl Reader for Ledger<'_> {
    fn begin(&mut self, name: &[u8]) {
        self.file = name.to_vec();
        self.multi = None;
        self.shown = None;
    }

    fn is_damaged(&self) -> bool {
        self.is_damaged
    }
}
