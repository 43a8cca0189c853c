//! The reserve behind a log, found from the end of its file.
//!
//! What a reserve is says `codec::aof::reserve`. Whoever reads a file from its front comes upon it anyway; this
//! is for those who want to know first where the log ends.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use cairn_engine::codec::aof::{block, reserve};

/// Bytes read at a time.
const READ_BYTES: u64 = 256 << 10;

/// Where the log in a file of so many bytes ends: in front of the reserve, or where the file does.
///
/// Only files of checked blocks have one: `has_blocks`, or it is seen at the front. O(reserve).
///
/// # Errors
/// What the system says.
pub fn log_end(file: &File, bytes: u64, has_blocks: bool) -> io::Result<u64> {
    let end = before_reserve(file, bytes)?;
    if has_blocks || end == 0 || end == bytes {
        return Ok(end);
    }
    let mut head = [0; block::PREFIX.len()];
    let n = file.read_at(&mut head, 0)?;
    Ok(if block::is_line(&head[..n]) { end } else { bytes })
}

fn before_reserve(file: &File, bytes: u64) -> io::Result<u64> {
    let mut to = bytes;
    let mut room = Vec::new();
    while to > 0 {
        let from = to.saturating_sub(READ_BYTES);
        room.resize((to - from) as usize, 0);
        file.read_exact_at(&mut room, from)?;
        let left = reserve::before(&room, from);
        let end = from + left as u64;
        if left > 0 {
            // A newline at that place may be either's: the log ends in CR LF.
            let is_of_log = end < bytes && room[left - 1] == b'\r' && reserve::ends_line(end);
            return Ok(end + u64::from(is_of_log));
        }
        to = from;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_log_ends_in_front_of_its_reserve_wherever_that_is() {
        let mut state = 7_u64;
        for at in (1..200).chain([4095, 4096, READ_BYTES - 1, READ_BYTES, READ_BYTES + 1, 3 * READ_BYTES]) {
            let mut log = b"#CK:".to_vec();
            log.resize(at as usize + 4, b'x');
            log.extend_from_slice(b"\r\n");
            let end = log.len() as u64;
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let longest = if at < 200 { 500 } else { 2 * READ_BYTES };
            let to = (end + (state >> 33) % longest).next_multiple_of(64);
            for cut in [to, to - 1, end + (to - end) / 2, end] {
                let mut bytes = log.clone();
                reserve::push(&mut bytes, end..to, true);
                bytes.truncate(cut as usize);
                let mut file = tempfile::tempfile().expect("a file");
                file.write_all(&bytes).expect("write");
                let found = log_end(&file, cut, false).expect("read");
                // One byte of a reserve alone is no reserve yet.
                assert_eq!(found, end.min(cut), "{end} of {cut}");
            }
        }
    }

    #[test]
    fn only_files_of_blocks_have_a_reserve() {
        for (head, has_blocks, expected) in
            [(&b"#CK:"[..], false, 4), (b"*1\r\n", false, 192), (b"*1\r\n", true, 4), (b"", false, 0)]
        {
            let mut bytes = head.to_vec();
            reserve::push(&mut bytes, head.len() as u64..192, true);
            let mut file = tempfile::tempfile().expect("a file");
            file.write_all(&bytes).expect("write");
            assert_eq!(log_end(&file, 192, has_blocks).expect("read"), expected);
        }
    }
}
