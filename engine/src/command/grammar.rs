//! The argument grammar of a `Spec`, parsed: what COMMAND DOCS prints and tests generate from.
//!
//! Reads only texts of this crate, so a malformed one is our bug: a test parses every command's.
//! The notation is described at `Spec`.

/// An argument, or a group of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arg {
    /// Its name in COMMAND DOCS.
    pub name: String,
    /// What people are shown of a value, if that is not its name.
    pub display: Option<&'static str>,
    /// What it is.
    pub kind: Kind,
    /// The word that introduces it.
    pub token: Option<&'static str>,
    /// May be left out.
    pub optional: bool,
    /// May come more than once.
    pub multiple: bool,
    /// Its token comes each time, too.
    pub repeats_token: bool,
    /// The version that brought it, if it came later than the command.
    pub since: Option<&'static str>,
    /// The version in which it was given up.
    pub deprecated_since: Option<&'static str>,
    /// The group of keys that it belongs to, where that is not the next one.
    pub key_group: Option<usize>,
}

impl Arg {
    fn new(name: impl Into<String>, kind: Kind) -> Arg {
        Arg {
            name: name.into(),
            display: None,
            kind,
            token: None,
            optional: false,
            multiple: false,
            repeats_token: false,
            since: None,
            deprecated_since: None,
            key_group: None,
        }
    }

    /// What people are shown of it.
    pub fn shown(&self) -> &str {
        self.display.unwrap_or(&self.name)
    }
}

/// What an argument is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A word by itself.
    PureToken,
    /// A value of this type: `string`, `integer`, `double`, `key`, `pattern`, `unix-time`.
    Value(&'static str),
    /// One of these.
    OneOf(Vec<Arg>),
    /// All of these.
    Block(Vec<Arg>),
}

impl Kind {
    /// The type's name in COMMAND DOCS.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::PureToken => "pure-token",
            Kind::Value(name) => name,
            Kind::OneOf(_) => "oneof",
            Kind::Block(_) => "block",
        }
    }
}

/// Parses a grammar.
///
/// # Errors
/// What is wrong with it, for the test that parses them all.
pub fn parse(syntax: &'static str) -> Result<Vec<Arg>, String> {
    let words: Vec<&'static str> = syntax.split_ascii_whitespace().collect();
    let mut rest = &words[..];
    let args = sequence(&mut rest)?;
    if rest.is_empty() { Ok(args) } else { Err(format!("{syntax}: unexpected {}", rest[0])) }
}

/// Items up to a closing word or a bar.
fn sequence(rest: &mut &[&'static str]) -> Result<Vec<Arg>, String> {
    let mut items: Vec<Arg> = Vec::new();
    while let Some(&word) = rest.first() {
        if matches!(word, "]" | "]..." | ">" | ">..." | "|") {
            break;
        }
        *rest = &rest[1..];
        items.push(match word.strip_suffix('[').or_else(|| word.strip_suffix('<')) {
            Some(label) => bracket(label, word.ends_with('['), rest)?,
            None => single(word)?,
        });
    }
    Ok(join_tokens(items))
}

/// What is behind an opening bracket, whose label may name it and tell its version.
fn bracket(label: &'static str, optional: bool, rest: &mut &[&'static str]) -> Result<Arg, String> {
    let token = rest.first().and_then(|word| word.strip_suffix(':'));
    if token.is_some() {
        *rest = &rest[1..];
    }
    let mut choices = vec![sequence(rest)?];
    while rest.first() == Some(&"|") {
        *rest = &rest[1..];
        choices.push(sequence(rest)?);
    }
    let close = rest.first().ok_or("a bracket is not closed")?;
    let (plain, many) = if optional { ("]", "]...") } else { (">", ">...") };
    let multiple = *close == many;
    if *close != plain && !multiple {
        return Err(format!("{close} closes the wrong bracket"));
    }
    *rest = &rest[1..];
    let mut choices: Vec<Arg> = choices.into_iter().map(as_one).collect();
    let mut arg = if choices.len() == 1 {
        choices.remove(0)
    } else {
        Arg::new(choices[0].name.clone(), Kind::OneOf(choices))
    };
    let (name, marks) = Marks::split(label.strip_suffix('=').unwrap_or(label))?;
    if !name.is_empty() {
        name.clone_into(&mut arg.name);
    }
    marks.put_on(&mut arg);
    arg.token = token.or(arg.token);
    arg.optional |= optional;
    arg.multiple |= multiple;
    arg.repeats_token |= multiple && arg.token.is_some();
    Ok(arg)
}

fn as_one(mut items: Vec<Arg>) -> Arg {
    if items.len() == 1 {
        return items.remove(0);
    }
    let name = items.iter().map(|item| item.name.as_str()).collect::<Vec<_>>().join("-");
    Arg::new(name, Kind::Block(items))
}

/// A token directly before a plain value introduces it, unless it has a name of its own.
fn join_tokens(items: Vec<Arg>) -> Vec<Arg> {
    let mut joined: Vec<Arg> = Vec::with_capacity(items.len());
    for item in items {
        let introduced = matches!(item.kind, Kind::Value(_)) && !item.optional && item.token.is_none();
        let introduces = |last: &Arg| {
            let is_unnamed = last.token.is_some_and(|token| token.eq_ignore_ascii_case(&last.name));
            last.kind == Kind::PureToken && !last.optional && is_unnamed
        };
        match joined.last() {
            Some(last) if introduced && introduces(last) => {
                let token = last.token;
                joined.pop();
                joined.push(Arg { token, ..item });
            }
            _ => joined.push(item),
        }
    }
    joined
}

/// Versions behind a word.
struct Marks {
    since: Option<&'static str>,
    deprecated_since: Option<&'static str>,
}

impl Marks {
    /// A word without the versions behind it, and those.
    fn split(word: &'static str) -> Result<(&'static str, Marks), String> {
        let (word, deprecated_since) = cut(word, '!');
        let (word, since) = cut(word, '@');
        match [since, deprecated_since].iter().flatten().find(|version| !is_version(version)) {
            Some(version) => Err(format!("{version} is no version")),
            None => Ok((word, Marks { since, deprecated_since })),
        }
    }

    fn put_on(self, arg: &mut Arg) {
        arg.since = self.since.or(arg.since);
        arg.deprecated_since = self.deprecated_since.or(arg.deprecated_since);
    }
}

/// What is before the mark and what is behind it, if it is there.
fn cut(word: &'static str, mark: char) -> (&'static str, Option<&'static str>) {
    word.split_once(mark).map_or((word, None), |(before, behind)| (before, Some(behind)))
}

fn is_version(text: &str) -> bool {
    text.split('.').count() == 3 && text.bytes().all(|b| b == b'.' || b.is_ascii_digit())
}

fn single(word: &'static str) -> Result<Arg, String> {
    let (word, multiple) = word.strip_suffix("...").map_or((word, false), |stem| (stem, true));
    let (word, marks) = Marks::split(word)?;
    let is_token = !word.bytes().any(|b| b.is_ascii_lowercase());
    let mut arg = match word.split_once('=') {
        _ if is_token => Arg { token: Some(word), ..Arg::new(word.to_ascii_lowercase(), Kind::PureToken) },
        Some((name, token)) => Arg { token: Some(token), ..Arg::new(name, Kind::PureToken) },
        None => value(word)?,
    };
    marks.put_on(&mut arg);
    arg.multiple = multiple;
    Ok(arg)
}

/// A value: its name, and behind that what is shown, its type, its group of keys.
fn value(word: &'static str) -> Result<Arg, String> {
    let (word, key_group) = cut(word, '#');
    let (word, kind) = word.rsplit_once(':').map_or((word, None), |(before, kind)| (before, Some(kind)));
    let (name, display) = cut(word, '~');
    let kind = match kind.unwrap_or(default_type(name)) {
        "int" => "integer",
        "string" => "string",
        "double" => "double",
        "key" => "key",
        "pattern" => "pattern",
        "unix-time" => "unix-time",
        other => return Err(format!("{other} is no argument type")),
    };
    let key_group =
        key_group.map(|n| n.parse().map_err(|_| format!("{n} is no group of keys"))).transpose()?;
    Ok(Arg { display, key_group, ..Arg::new(name, Kind::Value(kind)) })
}

fn default_type(name: &str) -> &'static str {
    if name == "key" || name.ends_with("key") { "key" } else { "string" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(args: &[Arg]) -> String {
        let one = |arg: &Arg| {
            let inner = match &arg.kind {
                Kind::PureToken => String::new(),
                Kind::Value(kind) => format!(":{kind}"),
                Kind::OneOf(of) => format!("({})", show(of).replace(' ', "|")),
                Kind::Block(of) => format!("{{{}}}", show(of).replace(' ', ",")),
            };
            let token = arg.token.map(|t| format!("{t}=")).unwrap_or_default();
            let marks =
                format!("{}{}", if arg.optional { "?" } else { "" }, if arg.multiple { "+" } else { "" });
            let shown = arg.display.map(|text| format!("~{text}")).unwrap_or_default();
            let since = arg.since.map(|version| format!("@{version}")).unwrap_or_default();
            let given_up = arg.deprecated_since.map(|version| format!("!{version}")).unwrap_or_default();
            let group = arg.key_group.map(|n| format!("#{n}")).unwrap_or_default();
            let again = if arg.repeats_token { "+" } else { "" };
            format!("{token}{}{shown}{inner}{group}{marks}{again}{since}{given_up}", arg.name)
        };
        args.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_notation() {
        let check = |syntax, shown: &str| assert_eq!(show(&parse(syntax).unwrap()), shown);
        check("key value", "key:key value:string");
        check("key [ NX | XX ]", "key:key nx(NX=nx|XX=xx)?");
        check("key [ EX seconds:int | KEEPTTL ]", "key:key seconds(EX=seconds:integer|KEEPTTL=keepttl)?");
        check("key < field value >...", "key:key field-value{field:string,value:string}+");
        check("cursor:int [ MATCH pattern:pattern ]", "cursor:integer MATCH=pattern:pattern?");
        check("key...", "key:key+");
        check("", "");
        check("condition=[ NX@2.6.12 | XX ]", "condition(NX=nx@2.6.12|XX=xx)?");
        check("unit@7.0.0=[ BYTE | BIT ]", "unit(BYTE=byte|BIT=bit)?@7.0.0");
        check("[ @7.0.0=< NO ONE > ]", "no-one{NO=no,ONE=one}?@7.0.0");
        check("limit=[ LIMIT: offset:int count:int ]", "LIMIT=limit{offset:integer,count:integer}?");
        check("[ AGGREGATE: < SUM | MIN > ]", "AGGREGATE=sum(SUM=sum|MIN=min)?");
        check("[ GET pattern:pattern ]...", "GET=pattern:pattern?++");
        check("[ ID id:int@6.2.0... ]", "ID=id:integer?+@6.2.0");
        check(
            "addr~ip:port:string!2.8.12 by~pattern:pattern#1",
            "addr~ip:port:string!2.8.12 by~pattern:pattern#1",
        );
        let named = "*=auto-id CH=change@6.2.0 NODE=node-token id:string";
        check("auto-id=* change=CH@6.2.0 node-token=NODE id", named);
        check("NODE id", "NODE=id:string");
        check("key@3.0.6... none=", "key:key+@3.0.6 =none");
        assert!(parse("key@soon").is_err());
        assert!(parse("key [ NX").is_err());
        assert!(parse("key ]").is_err());
        assert!(parse("key:color").is_err());
    }
}
