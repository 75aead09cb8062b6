//! An accepted date prints as an IMF-fixdate that means the same, and letter case never changes what it
//! means.

#![no_main]

use larder_policy::{HttpDate, Timestamp, parse_http_date};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((now, text)) = data.split_first_chunk::<8>() else { return };
    let now = Timestamp::from_millis(i64::from_le_bytes(*now));
    let date = parse_http_date(text, now);
    assert_eq!(parse_http_date(&text.to_ascii_uppercase(), now), date);
    assert_eq!(parse_http_date(&text.to_ascii_lowercase(), now), date);
    if let Some(date) = date {
        // Only a two-digit year can lie outside the years that four digits hold, when `now` itself does.
        if (-62_167_219_200..253_402_300_800).contains(&date.as_secs()) {
            assert_eq!(parse_http_date(HttpDate(date).to_string().as_bytes(), now), Some(date));
        }
    }
});
