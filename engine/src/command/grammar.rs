//! The argument grammar of a `Spec`, parsed: what COMMAND DOCS prints and tests generate from.
//!
//! Reads only texts of this crate, so a malformed one is our bug: a test parses every command's.
//! The notation is described at `Spec`.

/// An argument, or a group of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arg {
    /// Its name in COMMAND DOCS.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// The word that introduces it.
    pub token: Option<&'static str>,
    /// May be left out.
    pub optional: bool,
    /// May come more than once.
    pub multiple: bool,
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
        let item = match word {
            "]" | "]..." | ">" | ">..." | "|" => break,
            "[" => bracket(rest, true)?,
            "<" => bracket(rest, false)?,
            _ => {
                *rest = &rest[1..];
                single(word)?
            }
        };
        items.push(item);
    }
    Ok(join_tokens(items))
}

fn bracket(rest: &mut &[&'static str], optional: bool) -> Result<Arg, String> {
    *rest = &rest[1..];
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
        let name = choices[0].name.clone();
        Arg { name, kind: Kind::OneOf(choices), token: None, optional: false, multiple: false }
    };
    arg.optional |= optional;
    arg.multiple |= multiple;
    Ok(arg)
}

fn as_one(mut items: Vec<Arg>) -> Arg {
    if items.len() == 1 {
        return items.remove(0);
    }
    let name = items.iter().map(|item| item.name.as_str()).collect::<Vec<_>>().join("-");
    Arg { name, kind: Kind::Block(items), token: None, optional: false, multiple: false }
}

/// A token directly before a plain value introduces it.
fn join_tokens(items: Vec<Arg>) -> Vec<Arg> {
    let mut joined: Vec<Arg> = Vec::with_capacity(items.len());
    for item in items {
        let introduced = matches!(item.kind, Kind::Value(_)) && !item.optional && item.token.is_none();
        match joined.last() {
            Some(last) if introduced && last.kind == Kind::PureToken && !last.optional => {
                let token = last.token;
                joined.pop();
                joined.push(Arg { token, ..item });
            }
            _ => joined.push(item),
        }
    }
    joined
}

fn single(word: &'static str) -> Result<Arg, String> {
    let (word, multiple) = word.strip_suffix("...").map_or((word, false), |stem| (stem, true));
    let is_token = !word.bytes().any(|b| b.is_ascii_lowercase());
    if is_token {
        let name = word.to_ascii_lowercase();
        return Ok(Arg { name, kind: Kind::PureToken, token: Some(word), optional: false, multiple });
    }
    let (name, kind) = word.split_once(':').unwrap_or((word, default_type(word)));
    let kind = match kind {
        "int" => "integer",
        "string" => "string",
        "double" => "double",
        "key" => "key",
        "pattern" => "pattern",
        "unix-time" => "unix-time",
        other => return Err(format!("{other} is no argument type")),
    };
    Ok(Arg { name: name.to_owned(), kind: Kind::Value(kind), token: None, optional: false, multiple })
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
            format!("{token}{}{inner}{marks}", arg.name)
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
        assert!(parse("key [ NX").is_err());
        assert!(parse("key ]").is_err());
        assert!(parse("key:color").is_err());
    }
}
