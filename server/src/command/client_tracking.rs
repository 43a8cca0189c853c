//! CLIENT TRACKING, CLIENT CACHING and what tells about them: which keys a client has copies of.
//!
//! Behaviour: valkey src/networking.c `clientTrackingCommand`.

use cairn_engine::command::{Args, CommandError, Outcome};

use super::Call;
use crate::tracking::{Caching, Mode, Redirect};

/// What the words of CLIENT TRACKING say.
#[derive(Default)]
struct Options<'a> {
    redirect: Option<Redirect>,
    broadcast: bool,
    opt_in: bool,
    opt_out: bool,
    no_loop: bool,
    prefixes: Vec<&'a [u8]>,
}

const ONE_REDIRECT: CommandError =
    CommandError::text("ERR A client can only redirect to a single other client");
const NO_SUCH_CLIENT: CommandError =
    CommandError::text("ERR The client ID you want redirect to does not exist");
const PREFIX_WITHOUT_BCAST: CommandError =
    CommandError::text("ERR PREFIX option requires BCAST mode to be enabled");
const BCAST_SWITCH: CommandError = CommandError::text(
    "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it \
     with a different mode.",
);
const BCAST_OPT: CommandError = CommandError::text("ERR OPTIN and OPTOUT are not compatible with BCAST");
const BOTH_OPT: CommandError = CommandError::text("ERR You can't specify both OPTIN mode and OPTOUT mode");
const OPT_SWITCH: CommandError = CommandError::text(
    "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it \
     with a different mode.",
);
const CACHING_WITHOUT_MODE: CommandError = CommandError::text(
    "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
);
const CACHING_YES: CommandError =
    CommandError::text("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.");
const CACHING_NO: CommandError =
    CommandError::text("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.");

fn options<'a>(call: &Call<'_>, args: Args<'a>) -> Result<Options<'a>, CommandError> {
    let mut options = Options::default();
    let mut i = 3;
    while i < args.len() {
        let has_value = i + 1 < args.len();
        if args.is(i, "REDIRECT") && has_value {
            i += 1;
            if options.redirect.is_some() {
                return Err(ONE_REDIRECT);
            }
            let id = args.int(i)?;
            let target =
                call.server.clients.iter().find(|(_, client)| i64::try_from(client.session.id) == Ok(id));
            let (index, client) = target.ok_or(NO_SUCH_CLIENT)?;
            let token = call.server.clients.token(index);
            options.redirect = Some(Redirect { id: client.session.id, token });
        } else if args.is(i, "BCAST") {
            options.broadcast = true;
        } else if args.is(i, "OPTIN") {
            options.opt_in = true;
        } else if args.is(i, "OPTOUT") {
            options.opt_out = true;
        } else if args.is(i, "NOLOOP") {
            options.no_loop = true;
        } else if args.is(i, "PREFIX") && has_value {
            i += 1;
            options.prefixes.push(args.at(i));
        } else {
            return Err(CommandError::Syntax);
        }
        i += 1;
    }
    Ok(options)
}

/// CLIENT TRACKING.
pub(super) fn tracking(call: &mut Call<'_>, args: Args<'_>) -> Outcome {
    let options = options(call, args)?;
    if args.is(2, "ON") {
        start(call, &options)?;
    } else if args.is(2, "OFF") {
        call.server.stop_tracking(call.client);
    } else {
        return Err(CommandError::Syntax);
    }
    call.reply.ok();
    Ok(())
}

fn start(call: &mut Call<'_>, options: &Options<'_>) -> Outcome {
    let Options { redirect, broadcast, opt_in, opt_out, no_loop, prefixes } = options;
    let before = call.session().caching.as_deref();
    let mode_before = before.map(|caching| caching.mode);
    if !broadcast && !prefixes.is_empty() {
        return Err(PREFIX_WITHOUT_BCAST);
    }
    if mode_before.is_some_and(|mode| (mode == Mode::Broadcast) != *broadcast) {
        return Err(BCAST_SWITCH);
    }
    if *broadcast && (*opt_in || *opt_out) {
        return Err(BCAST_OPT);
    }
    if *opt_in && *opt_out {
        return Err(BOTH_OPT);
    }
    if (*opt_in && mode_before == Some(Mode::OptOut)) || (*opt_out && mode_before == Some(Mode::OptIn)) {
        return Err(OPT_SWITCH);
    }
    check_prefixes(before, prefixes)?;
    let mode = match (broadcast, opt_in, opt_out) {
        (true, ..) => Mode::Broadcast,
        (_, true, _) => Mode::OptIn,
        (_, _, true) => Mode::OptOut,
        _ => Mode::Read,
    };
    let caching = call.session().caching.get_or_insert_default();
    caching.mode = mode;
    caching.redirect = *redirect;
    caching.no_loop = *no_loop;
    caching.is_broken = false;
    let server = &mut *call.server;
    server.tracking.clients += usize::from(mode_before.is_none());
    if *broadcast {
        let everything: &[&[u8]] = &[b""];
        let prefixes = if prefixes.is_empty() { everything } else { prefixes };
        for prefix in prefixes {
            server.tracking.add_prefix(call.client, prefix);
        }
        if let Some(caching) = call.session().caching.as_mut() {
            caching.prefixes.extend(prefixes.iter().map(|prefix| prefix.to_vec()));
        }
    }
    call.server.update_wants();
    Ok(())
}

/// Prefixes of one client must not share keys: it would be told twice.
fn check_prefixes(before: Option<&Caching>, prefixes: &[&[u8]]) -> Outcome {
    let overlap = |a: &[u8], b: &[u8]| a.starts_with(b) || b.starts_with(a);
    let error = |new: &[u8], which: &str, old: &[u8]| {
        let (new, old) = (String::from_utf8_lossy(new), String::from_utf8_lossy(old));
        let text = format!(
            "ERR Prefix '{new}' overlaps with {which} prefix '{old}'. Prefixes for a single client must not overlap."
        );
        Err(CommandError::Text(text.into()))
    };
    let known = before.iter().flat_map(|caching| &caching.prefixes);
    for (i, prefix) in prefixes.iter().enumerate() {
        if let Some(old) = known.clone().find(|old| overlap(old, prefix)) {
            return error(prefix, "an existing", old);
        }
        if let Some(other) = prefixes[i + 1..].iter().find(|other| overlap(prefix, other)) {
            return error(prefix, "another provided", other);
        }
    }
    Ok(())
}

/// CLIENT CACHING.
pub(super) fn caching(call: &mut Call<'_>, args: Args<'_>) -> Outcome {
    let Some(caching) = &mut call.session().caching else { return Err(CACHING_WITHOUT_MODE) };
    if args.is(2, "YES") {
        if caching.mode != Mode::OptIn {
            return Err(CACHING_YES);
        }
    } else if args.is(2, "NO") {
        if caching.mode != Mode::OptOut {
            return Err(CACHING_NO);
        }
    } else {
        return Err(CommandError::Syntax);
    }
    caching.is_announced = true;
    call.reply.ok();
    Ok(())
}

/// The number in CLIENT GETREDIR: -1 without tracking, 0 without a redirection.
pub(super) fn redirect_number(caching: Option<&Caching>) -> i64 {
    let id = |redirect: Redirect| i64::try_from(redirect.id).unwrap_or(i64::MAX);
    caching.map_or(-1, |caching| caching.redirect.map_or(0, id))
}

/// CLIENT GETREDIR.
pub(super) fn getredir(call: &mut Call<'_>, _: Args<'_>) -> Outcome {
    let number = redirect_number(call.session().caching.as_deref());
    call.reply.int(number);
    Ok(())
}

/// CLIENT TRACKINGINFO.
pub(super) fn trackinginfo(call: &mut Call<'_>, _: Args<'_>) -> Outcome {
    let caching = call.session().caching.as_deref().cloned();
    let reply = &mut *call.reply;
    let mut flags = vec![if caching.is_some() { "on" } else { "off" }];
    if let Some(caching) = &caching {
        let (mode, announced) = match caching.mode {
            Mode::Read => (None, ""),
            Mode::Broadcast => (Some("bcast"), ""),
            Mode::OptIn => (Some("optin"), "caching-yes"),
            Mode::OptOut => (Some("optout"), "caching-no"),
        };
        flags.extend(mode);
        if caching.is_announced && !announced.is_empty() {
            flags.push(announced);
        }
        let rest = [(caching.no_loop, "noloop"), (caching.is_broken, "broken_redirect")];
        flags.extend(rest.iter().filter(|(set, _)| *set).map(|(_, flag)| *flag));
    }
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.bulk(flag.as_bytes()));
    reply.bulk(b"redirect");
    reply.int(redirect_number(caching.as_ref()));
    reply.bulk(b"prefixes");
    let prefixes = caching.as_ref().map(|caching| &caching.prefixes);
    reply.array(prefixes.map_or(0, std::collections::BTreeSet::len));
    for prefix in prefixes.into_iter().flatten() {
        reply.bulk(prefix);
    }
    Ok(())
}
