//! The statistics as one HTML file that a browser shows by itself: charts, tables, a flame graph of the prefixes.
//!
//! The page is `report/`: a shell, a style sheet and a script, which draws what is in a block of JSON. Nothing
//! is loaded from elsewhere, and the page forbids it (Content-Security-Policy). Bytes of the file are only in that block,
//! where no character is left that could end it, and the script puts them into the page as text.

use cairn_engine::base::num;
use xxhash_rust::xxh3::xxh3_128;

use crate::json::{push_array, push_name, push_text, push_u64};
use crate::stats::push_json_with;
use crate::stats::summary::{Summary, UNEXPLAINED};

const PAGE: &str = include_str!("report/page.html");
const STYLE: &str = include_str!("report/report.css");
const SCRIPT: &str = include_str!("report/report.js");

/// Prefixes beyond are too narrow to be seen, and would make the file large.
const MOST_PREFIXES: usize = 3000;
/// Keys beyond are for the other forms of the output.
const MOST_KEYS: usize = 200;

/// The page.
#[must_use]
pub fn html(summary: &Summary) -> Vec<u8> {
    let data = escaped(data(summary));
    // Whoever writes keys into the file does not know what else is in it, so cannot name this.
    let nonce = format!("{:032x}", xxh3_128(&data));
    let mut out = Vec::with_capacity(PAGE.len() + STYLE.len() + SCRIPT.len() + data.len());
    let mut rest = PAGE;
    while let Some((before, after)) = rest.split_once('@') {
        out.extend_from_slice(before.as_bytes());
        let Some((name, after)) = after.split_once('@') else { break };
        match name {
            "STYLE" => out.extend_from_slice(STYLE.as_bytes()),
            "SCRIPT" => out.extend_from_slice(SCRIPT.as_bytes()),
            "DATA" => out.extend_from_slice(&data),
            _ => out.extend_from_slice(nonce.as_bytes()),
        }
        rest = after;
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

/// What the script draws.
fn data(summary: &Summary) -> Vec<u8> {
    let mut out = Vec::new();
    push_json_with(&mut out, summary, MOST_PREFIXES, MOST_KEYS);
    let end = out.iter().rposition(|byte| *byte == b'}').expect("it is an object");
    out.truncate(end);
    push_name(&mut out, "unexplained_is");
    push_text(&mut out, UNEXPLAINED);
    push_name(&mut out, "slot_heat");
    push_heat(&mut out, summary);
    out.push(b'}');
    out
}

/// The slots that have keys: how far each is from the one before (the first from -1), its keys, its memory.
fn push_heat(out: &mut Vec<u8>, summary: &Summary) {
    let used = || (0i64..).zip(summary.stats.slots.all()).filter(|(_, heat)| heat.keys > 0);
    let before = std::iter::once(-1).chain(used().map(|(slot, _)| slot));
    out.push(b'{');
    push_name(out, "steps");
    push_array(out, used().zip(before), |out, ((slot, _), before)| num::push_i64(out, slot - before));
    push_name(out, "keys");
    push_array(out, used(), |out, (_, heat)| push_u64(out, heat.keys));
    push_name(out, "memory");
    push_array(out, used(), |out, (_, heat)| push_u64(out, heat.memory));
    out.push(b'}');
}

/// JSON without characters that mean something in HTML. They only ever stand in strings.
fn escaped(json: Vec<u8>) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    for byte in json {
        match byte {
            b'<' | b'>' | b'&' | b'\'' | b'@' => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            byte => out.push(byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{PAGE, SCRIPT, STYLE, escaped};

    #[test]
    fn nothing_in_a_string_can_leave_its_block() {
        let json = br#"{"key":"</script><!-- &amp; '@DATA@ \\"}"#.to_vec();
        let out = String::from_utf8(escaped(json.clone())).expect("is ASCII");
        assert!(!out.contains(['<', '>', '&', '@', '\'']), "{out}");
        let (before, after): (serde_json::Value, serde_json::Value) =
            (serde_json::from_slice(&json).expect("is JSON"), serde_json::from_str(&out).expect("is JSON"));
        assert_eq!(before, after);
    }

    #[test]
    fn the_page_loads_nothing() {
        for part in [PAGE, STYLE, SCRIPT] {
            for forbidden in
                ["https:", "@import", "url(", "innerHTML", "outerHTML", "insertAdjacent", "eval(", "fetch("]
            {
                assert!(!part.contains(forbidden), "{forbidden}");
            }
        }
        // The name of SVG's elements, which nobody loads.
        assert_eq!(SCRIPT.matches("http:").count(), 1);
    }
}
