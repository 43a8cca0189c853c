//! Who a client is: AUTH, HELLO, RESET.
//!
//! There is one user, `default`, with the password of `requirepass` or none. Behaviour: valkey
//! src/acl.c, src/networking.c `helloCommand`.

use cairn_engine::base::num;
use cairn_engine::codec::resp::{Protocol, Reply};
use cairn_engine::command::spec::{ALLOW_BUSY, FAST, Group, LOADING, NO_AUTH, NOSCRIPT, STALE, Spec};
use cairn_engine::command::{Args, CommandError, Outcome};

use super::{Call, SessionCommand};
use crate::clients::Replies;
use crate::version::REDIS_VERSION;

/// Every command of this file.
pub(super) const COMMANDS: &[SessionCommand] = &[AUTH, HELLO, RESET];

const DEFAULT_USER: &[u8] = b"default";
const WRONGPASS: CommandError =
    CommandError::text("WRONGPASS invalid username-password pair or user is disabled.");
const NO_PASSWORD: CommandError = CommandError::text(
    "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
     configuration is correct?",
);
const HELLO_NOAUTH: CommandError = CommandError::text(
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> \
     <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
);

const AUTH: SessionCommand = SessionCommand::new(
    Spec::new("auth", Group::Connection, "1.0.0", -2, "[ username@6.0.0 ] password")
        .flags(NOSCRIPT.or(LOADING).or(STALE).or(FAST).or(NO_AUTH).or(ALLOW_BUSY))
        .summary("Tells the server who the client is."),
    auth,
);

fn auth(call: &mut Call<'_>, args: Args<'_>) -> Outcome {
    match args.len() {
        2 if !call.server.has_password => return Err(NO_PASSWORD),
        2 => log_in(call, DEFAULT_USER, args.at(1))?,
        3 => log_in(call, args.at(1), args.at(2))?,
        _ => return Err(CommandError::Syntax),
    }
    call.reply.ok();
    Ok(())
}

fn log_in(call: &mut Call<'_>, user: &[u8], password: &[u8]) -> Outcome {
    let server = &call.server;
    let is_right = !server.has_password || is_same_secret(&server.config.requirepass, password);
    if user != DEFAULT_USER || !is_right {
        call.server.stats.denied_auth += 1;
        return Err(WRONGPASS);
    }
    call.session().is_authenticated = true;
    call.session().was_authenticated = true;
    Ok(())
}

/// Compares in a time that depends on the given password's length only.
fn is_same_secret(secret: &[u8], given: &[u8]) -> bool {
    let differences = given.iter().enumerate().fold(0u8, |all, (i, byte)| {
        // Past the secret's end anything is compared; the lengths differ then anyhow.
        all | (byte ^ secret.get(i).copied().unwrap_or(0))
    });
    differences == 0 && secret.len() == given.len()
}

const HELLO: SessionCommand = SessionCommand::new(
    Spec::new(
        "hello",
        Group::Connection,
        "6.0.0",
        -1,
        "arguments=[ protover:int auth=[ AUTH: username password ] [ SETNAME clientname ] ]",
    )
    .flags(NOSCRIPT.or(LOADING).or(STALE).or(FAST).or(NO_AUTH).or(ALLOW_BUSY))
    .summary("Chooses the protocol, and may tell who the client is."),
    hello,
);

fn hello(call: &mut Call<'_>, args: Args<'_>) -> Outcome {
    let mut protocol = None;
    if let Some(version) = args.get(1) {
        protocol = Some(match num::parse_i64(version) {
            Some(2) => Protocol::Resp2,
            Some(3) => Protocol::Resp3,
            Some(_) => return Err(CommandError::text("NOPROTO unsupported protocol version")),
            None => {
                return Err(CommandError::text("ERR Protocol version is not an integer or out of range"));
            }
        });
    }
    let (mut login, mut name) = (None, None);
    let mut i = 2;
    while i < args.len() {
        let left = args.len() - 1 - i;
        if args.is(i, "AUTH") && left >= 2 {
            login = Some((args.at(i + 1), args.at(i + 2)));
            i += 3;
        } else if args.is(i, "SETNAME") && left >= 1 {
            name = Some(args.at(i + 1));
            check_name(args.at(i + 1))?;
            i += 2;
        } else {
            return Err(CommandError::naming("ERR Syntax error in HELLO option '", args.at(i), "'"));
        }
    }
    if let Some((user, password)) = login {
        log_in(call, user, password)?;
    }
    let has_password = call.server.has_password;
    let session = call.session();
    if has_password && !session.is_authenticated {
        return Err(HELLO_NOAUTH);
    }
    if let Some(name) = name {
        session.name = name.to_vec();
    }
    if let Some(protocol) = protocol {
        session.protocol = protocol;
        call.reply.set_protocol(protocol);
    }
    let id = call.session().id;
    write_greeting(call.reply, id, &call.server.config.availability_zone);
    Ok(())
}

fn write_greeting(reply: &mut Reply, id: u64, zone: &[u8]) {
    reply.map(7 + usize::from(!zone.is_empty()));
    for (key, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
        reply.bulk(key.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"proto");
    reply.int(i64::from(reply.protocol().number()));
    reply.bulk(b"id");
    reply.uint(id);
    for (key, value) in [("mode", "standalone"), ("role", "master")] {
        reply.bulk(key.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"modules");
    reply.array(0);
    if !zone.is_empty() {
        reply.bulk(b"availability_zone");
        reply.bulk(zone);
    }
}

/// A name must not break the lines of CLIENT LIST.
pub(super) fn check_name(name: &[u8]) -> Outcome {
    if is_printable_word(name) {
        return Ok(());
    }
    Err(CommandError::text("ERR Client names cannot contain spaces, newlines or special characters."))
}

/// True for bytes from `!` to `~` only.
pub(super) fn is_printable_word(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_graphic)
}

const RESET: SessionCommand = SessionCommand::new(
    Spec::new("reset", Group::Connection, "6.2.0", 1, "")
        .flags(NOSCRIPT.or(LOADING).or(STALE).or(FAST).or(NO_AUTH).or(ALLOW_BUSY))
        .summary("Makes the connection as it was when it was new."),
    |call, _| {
        let is_authenticated = !call.server.has_password;
        call.server.unwatch(call.client);
        call.server.unsubscribe_all(call.client);
        call.server.stop_tracking(call.client);
        call.server.stop_monitoring(call.client);
        let session = call.session();
        session.transaction = None;
        session.db = 0;
        session.protocol = Protocol::Resp2;
        session.name.clear();
        session.is_authenticated = is_authenticated;
        session.replies = Replies::On;
        session.no_evict = false;
        session.is_import_source = false;
        session.is_read_only = false;
        session.no_touch = false;
        call.reply.set_protocol(Protocol::Resp2);
        call.reply.simple("RESET");
        Ok(())
    },
);

#[cfg(test)]
mod tests {
    use super::is_same_secret;

    #[test]
    fn secrets_are_compared_whole() {
        assert!(is_same_secret(b"abc", b"abc"));
        assert!(!is_same_secret(b"abc", b"ab"));
        assert!(!is_same_secret(b"abc", b"abcd"));
        assert!(!is_same_secret(b"abc\0", b"abc"));
        assert!(!is_same_secret(b"abc", b"abc\0"));
        assert!(!is_same_secret(b"abc", b""));
    }
}
