//! The configuration: rows of directives, the text of redis.conf, CONFIG GET and SET.
//!
//! Knows no sockets and no engine: what a changed value means is decided by the server, which looks
//! at the fields. Behaviour: valkey src/config.c.

pub(crate) mod file;
pub(crate) mod kind;
pub(crate) mod stock;
pub(crate) mod table;

use cairn_engine::base::{glob, words};

pub(crate) use table::{Config, Enable, LogLevel};

use kind::OutputLimits;
use stock::{Ignoring, STOCK};
use table::{Args, HIDDEN, ROWS, Row, When};

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
}

impl Config {
    /// The names and values that a pattern of CONFIG GET matches, other names included.
    pub(crate) fn get(&self, pattern: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
        let is_pattern = pattern.iter().any(|b| matches!(b, b'*' | b'?' | b'['));
        let mut found = Vec::new();
        let mut matching = |name: &'static str, alias: &'static str, show: &dyn Fn() -> Vec<u8>| {
            for name in [name, alias] {
                let is_hidden = is_pattern && HIDDEN.contains(&name);
                if !name.is_empty() && !is_hidden && glob::matches(pattern, name.as_bytes(), true) {
                    found.push((name, show()));
                }
            }
        };
        for row in ROWS {
            matching(row.name, row.alias, &|| (row.show)(self));
        }
        for (i, stock) in STOCK.iter().enumerate() {
            matching(stock.name, stock.alias, &|| self.stock_value(i).to_vec());
        }
        found
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
        may_set_protected: bool,
    ) -> Result<Vec<&'static str>, SetError> {
        let mut new = self.clone();
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        let mut found: Vec<Directive> = Vec::new();
        for (name, _) in pairs {
            let directive = find(name).ok_or_else(|| SetError::Unknown(text(name)))?;
            let refused = |why: &str| Err(SetError::Refused(text(name), why.into()));
            match directive {
                Directive::Row(row) if row.when == When::Start => {
                    return refused("can't set immutable config");
                }
                Directive::Row(row) if row.when == When::Protected && !may_set_protected => {
                    return refused("can't set protected config");
                }
                _ if found.iter().any(|f| f.name() == directive.name()) => {
                    return refused("duplicate parameter");
                }
                _ => found.push(directive),
            }
        }
        for (directive, (_, value)) in found.iter().zip(pairs) {
            let refused = |why| SetError::Refused(directive.name().to_owned(), why);
            match *directive {
                Directive::Row(row) => new.set_row(row, &[value]).map_err(refused)?,
                Directive::Stock(i) if new.is_stock_value(i, value) => {}
                Directive::Stock(_) => return Err(refused("this server does not act on it yet".into())),
            }
        }
        *self = new;
        Ok(found.iter().map(|directive| directive.name()).collect())
    }

    fn is_stock_value(&self, i: usize, value: &[u8]) -> bool {
        is_same(self.stock_value(i), value)
    }

    /// Sets a row's value. Several arguments may come in one quoted word.
    fn set_row(&mut self, row: &Row, args: &[&[u8]]) -> Result<(), String> {
        if row.args == Args::One {
            return if args.len() == 1 {
                (row.set)(self, args)
            } else {
                Err("wrong number of arguments".into())
            };
        }
        let split;
        let words: Vec<&[u8]> = match args {
            [one] if !one.is_empty() => {
                split = words::split(one).ok_or("Unbalanced quotes in configuration line")?;
                split.iter().map(Vec::as_slice).collect()
            }
            _ => args.to_vec(),
        };
        // The one directive whose arguments add to what is there.
        if row.name == "client-output-buffer-limit" {
            return OutputLimits::update(&mut self.output_limits, &words);
        }
        (row.set)(self, &words)
    }

    /// Keeps a value of a directive that is not acted on. A text to warn with, if it should be known.
    fn set_stock(&mut self, i: usize, args: &[&[u8]]) -> Result<Option<String>, String> {
        let stock = &STOCK[i];
        if args.is_empty() {
            return Err("wrong number of arguments".into());
        }
        let value = args.join(&b' ');
        let is_default = is_same(stock.default.as_bytes(), &value);
        if !is_default && stock.ignoring == Ignoring::Unsafe {
            return Err(format!(
                "this server cannot do what '{}' asks for yet, and will not run as if it did",
                stock.name
            ));
        }
        self.stock[i] = Some(value);
        Ok((!is_default).then(|| stock.name.to_owned()))
    }
}

/// True if two values of a directive that nobody acts on mean the same: `64mb` and `67108864` do.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.eq_ignore_ascii_case(b)
        || matches!((kind::parse_memory(a), kind::parse_memory(b)), (Some(a), Some(b)) if a == b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(config: &Config, name: &str) -> String {
        let found = config.get(name.as_bytes());
        found.iter().map(|(k, v)| format!("{k}={}", String::from_utf8_lossy(v))).collect::<Vec<_>>().join(" ")
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
            config.set_all(&pairs, false).map_err(|e| e.message())
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
        assert_eq!(set(&mut config, &[("appendonly", "no")]), Ok(vec!["appendonly"]));
        assert!(set(&mut config, &[("appendonly", "yes")]).is_err());
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
