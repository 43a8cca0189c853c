//! Rows as comma-separated values (RFC 4180): lines end in CR LF, and what has a comma or a quote is quoted.
//!
//! Names and values are escaped as `escape` does, so no cell has a line end or a byte that is no text. An
//! empty cell means that there is nothing; an empty string is `""`.

use cairn_engine::base::num;

use super::elements::ElementRow;
use super::rows::KeyRow;
use crate::escape;

/// The first line of a table of keys.
pub const KEY_COLUMNS: &[u8] =
    b"db,key,type,encoding,record,elements,bytes,pexpireat,idle,freq,slot,field_ttl\r\n";

/// The first line of a table of elements.
pub const ELEMENT_COLUMNS: &[u8] = b"db,key,type,index,id,path,field,value,score,pexpireat\r\n";

/// Appends the line of a key.
pub fn key_line(out: &mut Vec<u8>, row: &KeyRow<'_>) {
    num::push_i64(out, row.db);
    push_bytes(out, Some(row.key));
    push_plain(out, row.type_name);
    push_plain(out, row.encoding.unwrap_or_default());
    push_plain(out, row.record);
    push_number(out, row.elements);
    push_number(out, Some(row.bytes));
    push_signed(out, row.expire_at.map(|at| at.0));
    push_number(out, row.idle_s);
    push_number(out, row.freq.map(u64::from));
    push_number(out, row.slot.map(u64::from));
    push_plain(out, if row.has_field_ttl { "true" } else { "false" });
    out.extend_from_slice(b"\r\n");
}

/// Appends the line of an element.
pub fn element_line(out: &mut Vec<u8>, row: &ElementRow<'_>) {
    num::push_i64(out, row.db);
    push_bytes(out, Some(row.key));
    push_plain(out, row.type_name);
    push_number(out, Some(row.index));
    out.push(b',');
    if let Some(id) = row.id {
        id.push_text(out);
    }
    push_bytes(out, row.path);
    push_bytes(out, row.field);
    push_bytes(out, row.value);
    out.push(b',');
    if let Some(score) = row.score {
        num::push_f64_17g(out, score);
    }
    push_signed(out, row.expire_at.map(|at| at.0));
    out.extend_from_slice(b"\r\n");
}

fn push_number(out: &mut Vec<u8>, number: Option<u64>) {
    out.push(b',');
    if let Some(number) = number {
        num::push_u64(out, number);
    }
}

fn push_signed(out: &mut Vec<u8>, number: Option<i64>) {
    out.push(b',');
    if let Some(number) = number {
        num::push_i64(out, number);
    }
}

/// Text of our own, which has nothing to quote.
fn push_plain(out: &mut Vec<u8>, text: &str) {
    out.push(b',');
    out.extend_from_slice(text.as_bytes());
}

fn push_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    out.push(b',');
    let Some(bytes) = bytes else { return };
    // A blank at either end is part of the cell, which some readers forget without quotes.
    let has_blank_end = bytes.first() == Some(&b' ') || bytes.last() == Some(&b' ');
    if !bytes.is_empty() && !has_blank_end && memchr::memchr2(b',', b'"', bytes).is_none() {
        escape::push(out, bytes);
        return;
    }
    out.push(b'"');
    let start = out.len();
    escape::push(out, bytes);
    if memchr::memchr(b'"', &out[start..]).is_some() {
        let text = out.split_off(start);
        for byte in text {
            if byte == b'"' {
                out.push(b'"');
            }
            out.push(byte);
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::push_bytes;

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        let cell = |bytes: Option<&[u8]>| {
            let mut out = Vec::new();
            push_bytes(&mut out, bytes);
            String::from_utf8(out).expect("is text")
        };
        assert_eq!(cell(None), ",");
        assert_eq!(cell(Some(b"")), ",\"\"");
        assert_eq!(cell(Some(b"user:1")), ",user:1");
        assert_eq!(cell(Some(b"a,\"b\"\r\n")), r#","a,""b""\r\n""#);
        assert_eq!(cell(Some(b" x")), ",\" x\"");
        assert_eq!(cell(Some(b"\xff\\")), r",\xff\\");
    }
}
