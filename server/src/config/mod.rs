//! The configuration: rows of directives, the text of redis.conf, CONFIG GET and SET.
//!
//! Knows no sockets and no engine: what a changed value means is decided by the server, which looks
//! at the fields. Behaviour: valkey src/config.c.

pub(crate) mod events;
pub(crate) mod file;
pub(crate) mod kind;
pub(crate) mod rewrite;
pub(crate) mod stock;
pub(crate) mod table;
mod texts;
pub(crate) mod title;

use std::borrow::Cow;

use cairn_engine::base::{glob, words};
use cairn_engine::command::shown;

pub(crate) use table::{Config, Enable, LogFormat, LogLevel, LogTime, Supervised};

use crate::dispatch::LOADING_ERROR;
use kind::OutputLimits;
use stock::{Ignoring, STOCK};
use table::{Args, HIDDEN, NOT_WHILE_LOADING, ROWS, Row, SECRET, When};

/// A directive, of either table.
#[derive(Clone, Copy)]
enum Directive {
    Row(&'static Row),
    Stock(usize),
}

/// Why CONFIG SET changed nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SetError {
    /// There is no such directive.
    Unknown(String),
    /// The named one would not take its value.
    Refused(String, String),
    /// Not while the data set loads.
    Loading,
}

/// What the one who sets directives may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Rights {
    /// Set directives that are protected.
    pub(crate) protected: bool,
    /// False while the data set loads.
    pub(crate) is_loaded: bool,
}

impl SetError {
    /// The error reply.
    pub(crate) fn message(&self) -> String {
        match self {
            SetError::Unknown(name) => {
                format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'")
            }
            SetError::Refused(name, why) => {
                format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}")
            }
            SetError::Loading => LOADING_ERROR.to_owned(),
        }
    }
}

fn find(name: &[u8]) -> Option<Directive> {
    let is = |word: &str| !word.is_empty() && name.eq_ignore_ascii_case(word.as_bytes());
    let row = ROWS.iter().find(|row| is(row.name) || is(row.alias)).map(Directive::Row);
    row.or_else(|| STOCK.iter().position(|s| is(s.name) || is(s.alias)).map(Directive::Stock))
}

impl Directive {
    fn name(self) -> &'static str {
        match self {
            Directive::Row(row) => row.name,
            Directive::Stock(i) => STOCK[i].name,
        }
    }

    fn alias(self) -> &'static str {
        match self {
            Directive::Row(row) => row.alias,
            Directive::Stock(i) => STOCK[i].alias,
        }
    }

    fn when(self) -> When {
        match self {
            Directive::Row(row) => row.when,
            Directive::Stock(i) => STOCK[i].when,
        }
    }
}

/// True if the value of this directive is a secret.
pub(crate) fn is_secret(name: &[u8]) -> bool {
    SECRET.iter().any(|secret| name.eq_ignore_ascii_case(secret.as_bytes()))
}

impl Config {
    /// Names and values that the patterns of CONFIG GET match, other names included, each once and in
    /// their order. A name without wildcards comes back as it was written. O(patterns).
    pub(crate) fn get(&self, patterns: &[&[u8]]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let rows = ROWS.iter().map(|row| (Directive::Row(row), [row.name, row.alias]));
        let stock = STOCK.iter().enumerate().map(|(i, s)| (Directive::Stock(i), [s.name, s.alias]));
        let mut names: Vec<(Directive, &str)> =
            rows.chain(stock).flat_map(|(directive, names)| names.map(|name| (directive, name))).collect();
        names.retain(|(_, name)| !name.is_empty());
        let mut found = Vec::new();
        for pattern in patterns {
            let is_pattern = pattern.iter().any(|b| matches!(b, b'*' | b'?' | b'['));
            names.retain(|(directive, name)| {
                let is_meant = if is_pattern {
                    !HIDDEN.contains(name) && glob::matches(pattern, name.as_bytes(), true)
                } else {
                    name.as_bytes().eq_ignore_ascii_case(pattern)
                };
                if is_meant {
                    let shown = if is_pattern { name.as_bytes() } else { pattern };
                    found.push((shown.to_vec(), self.show(*directive)));
                }
                // What was found once need not be looked for again.
                !is_meant
            });
        }
        found.sort_unstable();
        found
    }

    fn show(&self, directive: Directive) -> Vec<u8> {
        match directive {
            Directive::Row(row) => (row.show)(self),
            Directive::Stock(i) => self.stock_value(i).to_vec(),
        }
    }

    fn stock_value(&self, i: usize) -> &[u8] {
        self.stock[i].as_deref().unwrap_or(STOCK[i].default.as_bytes())
    }

    /// The value of a directive that is not acted on.
    pub(crate) fn ignored(&self, name: &str) -> &[u8] {
        let i = STOCK.iter().position(|stock| stock.name == name);
        i.map_or(b"", |i| self.stock_value(i))
    }

    /// CONFIG SET: all of `pairs`, or none. The names that were given, as the table spells them.
    pub(crate) fn set_all(
        &mut self,
        pairs: &[(&[u8], &[u8])],
        rights: Rights,
    ) -> Result<Vec<&'static str>, SetError> {
        let mut new = self.clone();
        let text = |name: &[u8]| String::from_utf8_lossy(shown(name)).into_owned();
        let mut found: Vec<(Directive, &'static str)> = Vec::new();
        for (name, _) in pairs {
            let directive = find(name).ok_or_else(|| SetError::Unknown(text(name)))?;
            let refused = |why: &str| Err(SetError::Refused(text(name), why.into()));
            let is_alias = name.eq_ignore_ascii_case(directive.alias().as_bytes());
            let spelled = if is_alias { directive.alias() } else { directive.name() };
            match directive.when() {
                When::Start => return refused("can't set immutable config"),
                When::Protected if !rights.protected => return refused("can't set protected config"),
                _ if !rights.is_loaded && NOT_WHILE_LOADING.contains(&directive.name()) => {
                    return Err(SetError::Loading);
                }
                _ if found.iter().any(|(_, known)| *known == spelled) => {
                    return refused("duplicate parameter");
                }
                _ => found.push((directive, spelled)),
            }
        }
        for ((directive, spelled), (_, value)) in found.iter().zip(pairs) {
            let refused = |why| SetError::Refused((*spelled).to_owned(), why);
            match *directive {
                Directive::Row(row) => new.set_row(row, &[value]).map_err(refused)?,
                Directive::Stock(i) => new.set_stock(i, &[value]).map_err(refused)?,
            }
        }
        *self = new;
        Ok(found.iter().map(|(directive, _)| directive.name()).collect())
    }

    /// Sets a row's value. Several arguments may come in one quoted word.
    fn set_row(&mut self, row: &Row, args: &[&[u8]]) -> Result<(), String> {
        let words = arguments(row.args, args)?;
        let words: Vec<&[u8]> = words.iter().map(Cow::as_ref).collect();
        // The one directive whose arguments add to what is there.
        if row.name == "client-output-buffer-limit" {
            return OutputLimits::update(&mut self.output_limits, &words);
        }
        // And the one whose value hangs on another.
        let is_template = row.name == "proc-title-template";
        if is_template && !words.first().is_some_and(|text| title::is_title(text, &self.unixsocket)) {
            return Err("template format is invalid or contains unknown variables".into());
        }
        (row.set)(self, &words)
    }

    /// Keeps a value of a directive that is not acted on.
    fn set_stock(&mut self, i: usize, args: &[&[u8]]) -> Result<(), String> {
        let stock = &STOCK[i];
        let words = arguments(stock.args, args)?;
        let words: Vec<&[u8]> = words.iter().map(Cow::as_ref).collect();
        let value = (stock.read)(&words)?;
        if value != stock.default.as_bytes() && stock.ignoring == Ignoring::Unsafe {
            return Err(format!(
                "this server cannot do what '{}' asks for yet, and will not run as if it did",
                stock.name
            ));
        }
        self.stock[i] = Some(value);
        Ok(())
    }

    /// Names of directives that are set to other than their default, and not acted on.
    pub(crate) fn not_acted_on(&self) -> impl Iterator<Item = &'static str> {
        let is_default = |i: usize| self.stock_value(i) == STOCK[i].default.as_bytes();
        STOCK.iter().enumerate().filter(move |(i, _)| !is_default(*i)).map(|(_, stock)| stock.name)
    }

    /// The arguments of the lines that CONFIG REWRITE writes for a directive that is not acted on.
    fn stock_lines(&self, i: usize) -> Vec<Vec<u8>> {
        let value = self.stock_value(i);
        let words = arguments(STOCK[i].args, &[value]).unwrap_or_default();
        let words: Vec<&[u8]> = words.iter().map(Cow::as_ref).collect();
        (STOCK[i].lines)(&words)
    }
}

/// The arguments of a directive: several may come in one quoted word.
fn arguments<'a>(takes: Args, args: &[&'a [u8]]) -> Result<Vec<Cow<'a, [u8]>>, String> {
    match (takes, args) {
        (Args::One, [_]) => {}
        (Args::One, _) => return Err("wrong number of arguments".into()),
        (Args::Many, [one]) if !one.is_empty() => {
            let split = words::split(one).ok_or("Unbalanced quotes in configuration line")?;
            return Ok(split.into_iter().map(Cow::Owned).collect());
        }
        (Args::Many, _) => {}
    }
    Ok(args.iter().map(|arg| Cow::Borrowed(*arg)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(config: &Config, name: &str) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let found = config.get(&[name.as_bytes()]);
        found.iter().map(|(k, v)| format!("{}={}", text(k), text(v))).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn names_are_known_once() {
        let rows = ROWS.iter().flat_map(|row| [row.name, row.alias]);
        let mut names: Vec<&str> = rows.chain(STOCK.iter().flat_map(|s| [s.name, s.alias])).collect();
        names.retain(|name| !name.is_empty());
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn defaults_are_values_that_could_be_given() {
        let mut config = Config::default();
        for (i, stock) in STOCK.iter().enumerate() {
            config
                .set_stock(i, &[stock.default.as_bytes()])
                .unwrap_or_else(|why| panic!("{}: {why}", stock.name));
            assert_eq!(config.stock_value(i), stock.default.as_bytes(), "{}", stock.name);
        }
        for row in ROWS {
            let value = (row.show)(&config);
            config.set_row(row, &[&value]).unwrap_or_else(|why| panic!("{}: {why}", row.name));
            assert_eq!((row.show)(&config), value, "{}", row.name);
        }
    }

    #[test]
    fn set_is_all_or_nothing() {
        let mut config = Config::default();
        let set = |config: &mut Config, pairs: &[(&str, &str)]| {
            let pairs: Vec<(&[u8], &[u8])> =
                pairs.iter().map(|(k, v)| (k.as_bytes(), v.as_bytes())).collect();
            let rights = Rights { protected: false, is_loaded: true };
            config.set_all(&pairs, rights).map_err(|e| e.message())
        };
        assert_eq!(set(&mut config, &[("TIMEOUT", "7"), ("save", "900 1")]), Ok(vec!["timeout", "save"]));
        assert_eq!(get(&config, "timeout"), "timeout=7");
        let error = set(&mut config, &[("timeout", "8"), ("hz", "x")]);
        let text = "ERR CONFIG SET failed (possibly related to argument 'hz') - argument couldn't be parsed into an integer";
        assert_eq!(error, Err(text.into()));
        assert_eq!(get(&config, "timeout"), "timeout=7");
        let error = set(&mut config, &[("hz", "9"), ("HZ", "8")]);
        assert_eq!(
            error,
            Err("ERR CONFIG SET failed (possibly related to argument 'HZ') - duplicate parameter".into())
        );
        let error = set(&mut config, &[("hz", "9"), ("foo", "8")]);
        assert_eq!(error, Err("ERR Unknown option or number of arguments for CONFIG SET - 'foo'".into()));
        let error = set(&mut config, &[("databases", "1")]);
        assert_eq!(
            error,
            Err("ERR CONFIG SET failed (possibly related to argument 'databases') - can't set immutable config"
                .into())
        );
        let error = set(&mut config, &[("dir", "/")]);
        assert_eq!(
            error,
            Err("ERR CONFIG SET failed (possibly related to argument 'dir') - can't set protected config"
                .into())
        );
        assert_eq!(set(&mut config, &[("appendonly", "yes")]), Ok(vec!["appendonly"]));
        assert!(set(&mut config, &[("tls-port", "1")]).is_err());
        assert_eq!(set(&mut config, &[("SLAVE-priority", "7")]), Ok(vec!["replica-priority"]));
        assert_eq!(get(&config, "*-priority"), "replica-priority=7 slave-priority=7");
        assert_eq!(config.not_acted_on().collect::<Vec<_>>(), ["replica-priority"]);
        let error = set(&mut config, &[("slave-priority", "-1")]);
        let text = "ERR CONFIG SET failed (possibly related to argument 'slave-priority') - argument must be between 0 and 2147483647 inclusive";
        assert_eq!(error, Err(text.into()));
        let loading = config.set_all(&[(b"dir", b"/")], Rights { protected: true, is_loaded: false });
        assert_eq!(loading, Err(SetError::Loading));
    }

    #[test]
    fn old_names_are_shown_beside_the_new() {
        let config = Config::default();
        assert_eq!(
            get(&config, "hash-max-*-entries"),
            "hash-max-listpack-entries=512 hash-max-ziplist-entries=512"
        );
    }
}
