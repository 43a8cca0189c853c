//! Addresses of servers: `redis://[user[:password]@]host[:port][/db]`, `unix://[user[:password]@]/path`, each
//! with `?option&option=value` behind it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

const DEFAULT_PORT: u16 = 6379;
/// A server that saves says so every second, and a slow command is not this slow.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// What an address can begin with.
const SCHEMES: [&str; 3] = ["redis://", "rediss://", "unix://"];

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

/// Where a server is, and how it is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(super) place: Place,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    /// The one database to read.
    pub(super) db: Option<u64>,
    /// Whether no transfer is asked for.
    pub(super) scans: bool,
    pub(super) timeout: Duration,
}

impl Address {
    /// Whether a name is an address.
    pub(crate) fn is_one(name: &[u8]) -> bool {
        SCHEMES.iter().any(|scheme| name.starts_with(scheme.as_bytes()))
    }

    /// An address as it may be shown, also where it is none.
    pub(crate) fn without_password(text: &str) -> String {
        if let Ok(address) = Self::parse(text) {
            return address.to_string();
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        format!("{scheme}://{}", rest.rsplit_once('@').map_or(rest, |(_, place)| place))
    }

    /// Reads an address; what is wrong with it otherwise, without the password.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with("rediss://") {
            return Err("rediss:// needs TLS, which this tool does not speak; put stunnel or a port \
                        forward between"
                .to_owned());
        }
        let (is_unix, rest) = match (text.strip_prefix("redis://"), text.strip_prefix("unix://")) {
            (Some(rest), _) => (false, rest),
            (None, Some(rest)) => (true, rest),
            (None, None) => return Err("an address begins with redis:// or unix://".to_owned()),
        };
        let (rest, options) = rest.split_once('?').unwrap_or((rest, ""));
        // A path may have an @, a password of TCP may have one too, and a user has none.
        let at = if is_unix { rest.find('@') } else { rest.rfind('@') };
        let (user, password, rest) = match at {
            Some(at) if !(is_unix && rest.starts_with('/')) => {
                let (user, password) = rest[..at].split_once(':').unwrap_or((&rest[..at], ""));
                (unquote(user)?, unquote(password)?, &rest[at + 1..])
            }
            _ => (String::new(), String::new(), rest),
        };
        let mut db = None;
        let place = if is_unix {
            if rest.is_empty() {
                return Err("unix:// needs the path of a socket".to_owned());
            }
            Place::Unix(PathBuf::from(unquote(rest)?))
        } else {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            if !path.is_empty() {
                db = Some(number(path, "a database")?);
            }
            let (host, port) = host_and_port(host)?;
            Place::Tcp { host, port }
        };
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        let mut address = Self {
            place,
            user: some(user),
            password: some(password),
            db,
            scans: false,
            timeout: DEFAULT_TIMEOUT,
        };
        for option in options.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            match name {
                "scan" if value.is_empty() => address.scans = true,
                "db" => address.db = Some(number(value, "a database")?),
                "timeout" => {
                    address.timeout = Duration::from_secs(number(value, "seconds")?.clamp(1, 1 << 31));
                }
                _ => return Err(format!("an address has ?scan, ?db=N and ?timeout=SECONDS, and no ?{name}")),
            }
        }
        Ok(address)
    }
}

impl fmt::Display for Address {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Tcp { host, port } if host.contains(':') => write!(f, "redis://[{host}]:{port}")?,
            Place::Tcp { host, port } => write!(f, "redis://{host}:{port}")?,
            Place::Unix(path) => write!(f, "unix://{}", path.display())?,
        }
        match (self.db, &self.place) {
            (Some(db), Place::Tcp { .. }) => write!(f, "/{db}"),
            (Some(db), Place::Unix(_)) => write!(f, "?db={db}"),
            (None, _) => Ok(()),
        }
    }
}

fn host_and_port(text: &str) -> Result<(String, u16), String> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':').unwrap_or(rest)),
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let port = match port {
        "" => DEFAULT_PORT,
        port => port.parse().map_err(|_| format!("\"{port}\" is no port"))?,
    };
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    Ok((host.to_owned(), port))
}

fn number(text: &str, what: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("\"{text}\" is not {what}"))
}

/// Undoes `%40` and the like.
fn unquote(text: &str) -> Result<String, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|digit| (digit as char).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err("% in an address stands before two hexadecimal digits".to_owned());
        };
        out.push((high * 16 + low) as u8);
    }
    String::from_utf8(out).map_err(|_| "an address is text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Address, Place};
    use std::time::Duration;

    #[test]
    fn addresses_are_taken_apart() {
        let parse = |text: &str| Address::parse(text).expect(text);
        let tcp = |host: &str, port| Place::Tcp { host: host.to_owned(), port };
        let plain = parse("redis://example.org");
        assert_eq!((&plain.place, plain.db, plain.scans), (&tcp("example.org", 6379), None, false));
        let full = parse("redis://me:p%40s:s@10.0.0.1:7000/3?scan&timeout=5");
        assert_eq!(full.place, tcp("10.0.0.1", 7000));
        assert_eq!((full.user.as_deref(), full.password.as_deref()), (Some("me"), Some("p@s:s")));
        assert_eq!((full.db, full.scans, full.timeout), (Some(3), true, Duration::from_secs(5)));
        assert_eq!(full.to_string(), "redis://10.0.0.1:7000/3");
        let six = parse("redis://:secret@[::1]:6380");
        assert_eq!((six.place.clone(), six.user.clone()), (tcp("::1", 6380), None));
        assert_eq!(
            (six.password.as_deref(), six.to_string().as_str()),
            (Some("secret"), "redis://[::1]:6380")
        );
        assert_eq!(parse("redis://").place, tcp("127.0.0.1", 6379));
        let unix = parse("unix:///run/a@b.sock?db=2");
        assert_eq!((unix.place.clone(), unix.db), (Place::Unix("/run/a@b.sock".into()), Some(2)));
        assert_eq!(unix.to_string(), "unix:///run/a@b.sock?db=2");
        let unix = parse("unix://u:p@/run/s");
        assert_eq!((unix.place, unix.user.as_deref()), (Place::Unix("/run/s".into()), Some("u")));
        for bad in
            ["rediss://x", "redis://x:port", "redis://x/y", "unix://", "redis://x?what", "redis://%zz@x"]
        {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }
}
