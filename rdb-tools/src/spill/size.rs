//! Sizes as people write them on a command line.

/// Bytes as `1024`, `64k`, `10MB`, `1.5GiB`: letters stand for powers of 1024, as in servers' settings
/// `kb`, `mb`, `gb`.
///
/// # Errors
/// A text about what is wrong.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size; write one as 1048576, 64k, 32MiB or 1.5G");
    let digits = text.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start().to_ascii_lowercase();
    let shift = match unit.trim_end_matches("ib").trim_end_matches('b') {
        "" if !unit.starts_with('i') => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(wrong()),
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(1 << shift).ok_or_else(wrong);
    }
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let bytes = number * (1u64 << shift) as f64;
    if bytes < u64::MAX as f64 { Ok(bytes as u64) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::parse_size;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("1024", 1024),
            ("64k", 64 << 10),
            ("10MB", 10 << 20),
            ("32MiB", 32 << 20),
            ("1.5G", 3 << 29),
            ("2 gib", 2 << 30),
            ("7b", 7),
            ("0.5t", 1 << 39),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "k", "1x", "-1", "1.2.3k", "99999999999G", "18446744073709551616", "1ib", "1e3", "."]
        {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
