//! The template of the process's title: text with variables in braces.
//!
//! Behaviour: valkey src/sds.c `sdstemplate`, src/server.c `expandProcTitleTemplate`. Knows no process.

/// Names of variables.
const VARIABLES: &[&[u8]] =
    &[b"title", b"listen-addr", b"server-mode", b"port", b"tls-port", b"unixsocket", b"config-file"];

/// The template with its variables' values, blanks around it removed; `{{` stands for a brace.
///
/// `None` if a brace does not close, a variable is not known, or nothing is left.
pub(crate) fn expand(template: &[u8], value: &dyn Fn(&[u8]) -> Vec<u8>) -> Option<Vec<u8>> {
    let mut title = Vec::new();
    let mut rest = template;
    while let Some(open) = rest.iter().position(|b| *b == b'{') {
        title.extend_from_slice(&rest[..open]);
        rest = &rest[open + 1..];
        if let Some(tail) = rest.strip_prefix(b"{") {
            title.push(b'{');
            rest = tail;
            continue;
        }
        let close = rest.iter().position(|b| *b == b'}')?;
        let name = &rest[..close];
        if !VARIABLES.contains(&name) {
            return None;
        }
        title.extend_from_slice(&value(name));
        rest = &rest[close + 1..];
    }
    title.extend_from_slice(rest);
    let is_text = |b: &u8| *b != b' ';
    let start = title.iter().position(is_text)?;
    let end = title.iter().rposition(is_text)?;
    Some(title[start..=end].to_vec())
}

/// True if a process could be given this title. What the process is called and its mode are not known
/// yet: there must be more, as in Valkey.
pub(crate) fn is_title(template: &[u8], unixsocket: &[u8]) -> bool {
    let value = |name: &[u8]| match name {
        b"title" | b"server-mode" => Vec::new(),
        b"unixsocket" => unixsocket.to_vec(),
        _ => name.to_vec(),
    };
    expand(template, &value).is_some()
}

#[cfg(test)]
mod tests {
    use super::{expand, is_title};

    fn title(template: &str) -> Option<String> {
        let value = |name: &[u8]| [b"<", name, b">"].concat();
        expand(template.as_bytes(), &value).map(|title| String::from_utf8_lossy(&title).into_owned())
    }

    #[test]
    fn variables_stand_in_braces() {
        assert_eq!(title("{title} {listen-addr}").as_deref(), Some("<title> <listen-addr>"));
        assert_eq!(title(" a {{b} ").as_deref(), Some("a {b}"));
        assert_eq!(title("--x"), Some("--x".into()));
        assert_eq!(title("{nobody}"), None);
        assert_eq!(title("{title"), None);
        assert_eq!(title("a {"), None);
        assert_eq!(title(" "), None);
    }

    #[test]
    fn a_template_that_might_be_empty_was_taken() {
        let refused = ["{title}", " {title} {server-mode} ", "{unixsocket}", "", "{title", "{nobody}"];
        assert_eq!(refused.map(|template| is_title(template.as_bytes(), b"")), [false; 6]);
        let taken = ["{title}x", "{listen-addr}", "{port}", "{tls-port}", "{config-file}", "{{", "{title}\n"];
        assert_eq!(taken.map(|template| is_title(template.as_bytes(), b"")), [true; 7]);
        assert!(is_title(b"{unixsocket}", b"/tmp/s"));
    }
}
