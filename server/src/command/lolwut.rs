//! LOLWUT: a cairn, another one each time.

use cairn_engine::base::num;
use cairn_engine::command::spec::{FAST, Group, READONLY, Spec};
use cairn_engine::command::{Args, CommandError, Outcome};

use super::{Call, SessionCommand};
use crate::version::{CAIRN_VERSION, REDIS_VERSION};

/// Every command of this file.
pub(super) const COMMANDS: &[SessionCommand] = &[LOLWUT];

/// Stones of a pile.
const STONES: u64 = 7;

/// Columns of the picture.
const COLUMNS: usize = 40;

const LOLWUT: SessionCommand = SessionCommand::new(
    Spec::new("lolwut", Group::Server, "5.0.0", -1, "[ VERSION version:int ]")
        .flags(READONLY.or(FAST))
        .summary("Draws a pile of stones, and tells the version."),
    lolwut,
);

fn lolwut(call: &mut Call<'_>, args: Args<'_>) -> Outcome {
    if args.len() >= 3 && args.is(1, "version") {
        // Every version draws the same.
        num::parse_i64(args.at(2)).ok_or(CommandError::NotInteger)?;
    }
    let seed = call.server.now_instant.duration_since(call.server.started).as_nanos() as u64;
    let text = format!("{}\nCairn ver. {CAIRN_VERSION} (Redis ver. {REDIS_VERSION})\n", pile(seed));
    call.reply.verbatim(text.as_bytes());
    Ok(())
}

/// Stones on stones, each a little wider than what it carries.
fn pile(seed: u64) -> String {
    // An odd number with well mixed bits, and the step of a generator that visits every state.
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut state = seed;
    let mut roll = |sides: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(MIX);
        (state >> 33) % sides
    };
    let mut picture = String::new();
    let mut width = 3 + roll(3);
    for _ in 0..STONES {
        let shift = i64::try_from(roll(3)).unwrap_or(0) - 1;
        let inside = usize::try_from(width).unwrap_or(COLUMNS);
        let left = (COLUMNS / 2)
            .saturating_sub(inside / 2)
            .saturating_add_signed(isize::try_from(shift).unwrap_or(0));
        let fill = [" ", ".", ":"][usize::try_from(roll(3)).unwrap_or(0)];
        picture.push_str(&format!("{}.{}.\n", " ".repeat(left), "-".repeat(inside)));
        picture.push_str(&format!("{}({})\n", " ".repeat(left), fill.repeat(inside)));
        picture.push_str(&format!("{}'{}'\n", " ".repeat(left), "-".repeat(inside)));
        width = (width + 1 + roll(4)).min(COLUMNS as u64 - 4);
    }
    picture
}

#[cfg(test)]
mod tests {
    use super::{COLUMNS, STONES, pile};

    #[test]
    fn piles_differ_and_stay_in_the_picture() {
        assert_ne!(pile(1), pile(2));
        for seed in 0..100 {
            let picture = pile(seed);
            assert_eq!(picture.lines().count() as u64, 3 * STONES);
            assert!(picture.lines().all(|line| line.len() <= COLUMNS + 4), "{picture}");
        }
    }
}
