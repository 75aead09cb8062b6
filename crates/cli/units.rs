//! Sizes and durations as people write them: `512MiB`, `80%`, `1h30m`.
//!
//! Parsing is exact: a number without a unit is refused (nobody can tell bytes from megabytes), and every
//! refusal says what to write instead. Printing and parsing agree. Nothing here knows which setting it is for.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

const SIZE_EXAMPLE: &str = "write a number and a unit, like `512MiB` or `20GiB`";
const TIME_EXAMPLE: &str = "write a number and a unit, like `500ms`, `30s`, `5m`, `12h` or `1d`";

/// Largest first, as printing tries them; the binary units come before the decimal ones of the same letter.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

const TIME_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Why a text is not a size or a duration, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnitError(String);

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UnitError {}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ByteSize(u64);

impl ByteSize {
    /// From a number of bytes.
    pub(crate) const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// From a number of mebibytes.
    pub(crate) const fn from_mib(mib: u64) -> Self {
        Self(mib << 20)
    }

    /// The number of bytes.
    pub(crate) const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;

    /// A decimal number, then one of B, KiB, MiB, GiB, TiB (powers of 1024), KB, MB, GB, TB (powers of 1000),
    /// in any letter case. A fraction is allowed (`1.5GiB`); a part of a byte is dropped.
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let fault = |why: String| UnitError(format!("`{text}` is not a size: {why}"));
        let number = Number::split(text)
            .ok_or_else(|| UnitError(format!("`{text}` is not a size; {SIZE_EXAMPLE}")))?;
        if number.rest == "%" {
            return Err(fault(format!("a percentage fits the disk limit alone; {SIZE_EXAMPLE}")));
        }
        if number.rest.is_empty() {
            if number.is_zero() {
                return Ok(Self(0));
            }
            let digits = number.digits();
            return Err(fault(format!("it has no unit; write `{digits}MiB`, `{digits}GiB` or `{digits}B`")));
        }
        let Some((_, unit)) = SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(number.rest))
        else {
            return Err(fault(unknown_size_unit(&number)));
        };
        number.times(*unit).map(Self).ok_or_else(|| fault("it is larger than any disk".to_owned()))
    }
}

/// `20G` is common and means two things; the one meant most is offered first.
fn unknown_size_unit(number: &Number<'_>) -> String {
    let digits = number.digits();
    match number.rest.to_ascii_uppercase().as_str() {
        letter @ ("K" | "M" | "G" | "T") => {
            format!(
                "unknown unit `{}`; write `{digits}{letter}iB` (or `{digits}{letter}B` for powers of 1000)",
                number.rest
            )
        }
        _ => {
            format!("unknown unit `{}`; the units are B, KiB, MiB, GiB, TiB and KB, MB, GB, TB", number.rest)
        }
    }
}

impl fmt::Display for ByteSize {
    /// The largest unit that divides it, so that the text reads back as the same size.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = SIZE_UNITS.iter().find(|(_, unit)| self.0 != 0 && self.0.is_multiple_of(*unit));
        match exact {
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}B", self.0),
        }
    }
}

/// A disk limit: bytes, or a share of the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DiskSize {
    /// So many bytes.
    Bytes(ByteSize),
    /// So much of the file system that holds the cache directory, in percent: 1 to 100.
    Percent(u8),
}

impl FromStr for DiskSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let Some(number) = text.trim().strip_suffix('%') else {
            return text.parse().map(Self::Bytes).map_err(|UnitError(why)| {
                UnitError(
                    why.replace(SIZE_EXAMPLE, "write a number and a unit, like `512MiB`, `20GiB` or `80%`"),
                )
            });
        };
        match number.trim().parse() {
            Ok(percent @ 1..=100) => Ok(Self::Percent(percent)),
            _ => Err(UnitError(format!(
                "`{text}` is not a share of the file system; write a whole number from `1%` to `100%`"
            ))),
        }
    }
}

impl fmt::Display for DiskSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(size) => size.fmt(f),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// A span of time, to the millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimeSpan(Duration);

impl TimeSpan {
    /// The same as the standard library's type.
    pub(crate) const fn duration(self) -> Duration {
        self.0
    }
}

impl From<Duration> for TimeSpan {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl FromStr for TimeSpan {
    type Err = UnitError;

    /// One or more of a whole number and a unit (d, h, m, s, ms), larger units first: `90s`, `1h30m`.
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let fault = |why: String| UnitError(format!("`{text}` is not a duration: {why}"));
        let mut rest = text.trim();
        let mut total_ms: u64 = 0;
        let mut last = u64::MAX;
        loop {
            let number = Number::split(rest)
                .ok_or_else(|| UnitError(format!("`{text}` is not a duration; {TIME_EXAMPLE}")))?;
            let unit_end = number.rest.find(|c: char| c.is_ascii_digit()).unwrap_or(number.rest.len());
            let (unit_name, next) = number.rest.split_at_checked(unit_end).unwrap_or((number.rest, ""));
            let unit_name = unit_name.trim();
            if unit_name.is_empty() {
                if total_ms == 0 && number.is_zero() && next.is_empty() {
                    return Ok(Self(Duration::ZERO));
                }
                let digits = number.digits();
                return Err(fault(format!(
                    "{digits} has no unit; write `{digits}s`, `{digits}m` or `{digits}h`"
                )));
            }
            let Some((_, unit)) = TIME_UNITS.iter().find(|(name, _)| *name == unit_name) else {
                return Err(fault(format!("unknown unit `{unit_name}`; the units are ms, s, m, h and d")));
            };
            if *unit >= last {
                return Err(fault("write each unit once, the larger first, like `1h30m`".to_owned()));
            }
            last = *unit;
            let part = number.times(*unit).and_then(|ms| total_ms.checked_add(ms));
            total_ms = part.ok_or_else(|| fault("it is too long".to_owned()))?;
            if next.is_empty() {
                return Ok(Self(Duration::from_millis(total_ms)));
            }
            rest = next;
        }
    }
}

impl fmt::Display for TimeSpan {
    /// The largest unit that divides it, so that the text reads back as the same duration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        match TIME_UNITS.iter().find(|(_, unit)| ms != 0 && ms.is_multiple_of(*unit)) {
            Some((name, unit)) => write!(f, "{}{name}", ms / unit),
            None => f.write_str("0s"),
        }
    }
}

/// A size for reading, not for parsing: `1.3 GiB`, `512 B`.
pub(crate) fn rough_size(bytes: u64) -> String {
    for (name, unit) in SIZE_UNITS.iter().take(4) {
        if bytes >= *unit {
            // A display of two or three digits loses nothing that anyone reads.
            let tenths = u128::from(bytes) * 10 / u128::from(*unit);
            return if tenths >= 1000 {
                format!("{} {name}", tenths / 10)
            } else {
                format!("{}.{} {name}", tenths / 10, tenths % 10)
            };
        }
    }
    format!("{bytes} B")
}

/// A length of time for reading, not for parsing: `45 s`, `3 min`, `7 h`, `12 d`.
pub(crate) fn rough_time(ms: u64) -> String {
    let secs = ms / 1000;
    match (secs / 86_400, secs / 3600, secs / 60) {
        (0, 0, 0) => format!("{secs} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, _) => format!("{hours} h"),
        (days, ..) => format!("{days} d"),
    }
}

/// A decimal number at the start of a text and what follows it.
struct Number<'a> {
    whole: &'a str,
    fraction: &'a str,
    rest: &'a str,
}

impl<'a> Number<'a> {
    fn split(text: &'a str) -> Option<Self> {
        let text = text.trim();
        let digits = |text: &'a str| {
            let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            text.split_at_checked(end).unwrap_or((text, ""))
        };
        let (whole, after) = digits(text);
        if whole.is_empty() {
            return None;
        }
        let (fraction, rest) = match after.strip_prefix('.') {
            Some(tail) => {
                let (fraction, rest) = digits(tail);
                if fraction.is_empty() || fraction.len() > 9 {
                    return None;
                }
                (fraction, rest)
            }
            None => ("", after),
        };
        Some(Self { whole, fraction, rest: rest.trim() })
    }

    fn is_zero(&self) -> bool {
        self.whole.bytes().chain(self.fraction.bytes()).all(|digit| digit == b'0')
    }

    fn digits(&self) -> String {
        if self.fraction.is_empty() {
            self.whole.to_owned()
        } else {
            format!("{}.{}", self.whole, self.fraction)
        }
    }

    fn times(&self, unit: u64) -> Option<u64> {
        let whole = self.whole.parse::<u64>().ok()?.checked_mul(unit)?;
        if self.fraction.is_empty() {
            return Some(whole);
        }
        // At most nine digits, so neither the power nor the product leaves 128 bits.
        let scale = 10_u128.pow(u32::try_from(self.fraction.len()).ok()?);
        let part = self.fraction.parse::<u128>().ok()? * u128::from(unit) / scale;
        whole.checked_add(u64::try_from(part).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(text: &str) -> Result<u64, String> {
        text.parse::<ByteSize>().map(ByteSize::bytes).map_err(|e| e.to_string())
    }

    fn time(text: &str) -> Result<Duration, String> {
        text.parse::<TimeSpan>().map(TimeSpan::duration).map_err(|e| e.to_string())
    }

    #[test]
    fn sizes_read_binary_and_decimal_units() {
        assert_eq!(size("512MiB"), Ok(512 << 20));
        assert_eq!(size("20 gib"), Ok(20 << 30));
        assert_eq!(size("20GB"), Ok(20_000_000_000));
        assert_eq!(size("1.5GiB"), Ok(3 << 29));
        assert_eq!(size("0.5KiB"), Ok(512));
        assert_eq!(size("7B"), Ok(7));
        assert_eq!(size("0"), Ok(0));
    }

    #[test]
    fn a_size_without_a_unit_is_refused_with_the_remedy() {
        assert_eq!(
            size("512").unwrap_err(),
            "`512` is not a size: it has no unit; write `512MiB`, `512GiB` or `512B`"
        );
    }

    #[test]
    fn an_ambiguous_letter_is_refused_with_both_meanings() {
        assert_eq!(
            size("20g").unwrap_err(),
            "`20g` is not a size: unknown unit `g`; write `20GiB` (or `20GB` for powers of 1000)"
        );
    }

    #[test]
    fn sizes_refuse_what_is_not_one() {
        for text in
            ["", "MiB", "-5MiB", "1..5GiB", "1.GiB", "5 bananas", "80%", "99999999999TiB", "1e3MiB", "5MiB5"]
        {
            let error = size(text).unwrap_err();
            assert!(error.starts_with(&format!("`{text}` is not a size")), "{error}");
        }
    }

    #[test]
    fn printing_and_parsing_a_size_agree() {
        for bytes in [0, 1, 1000, 1023, 1024, 1 << 20, (1 << 30) + 1, 20_000_000_000, 3 << 29, u64::MAX] {
            assert_eq!(size(&ByteSize::from_bytes(bytes).to_string()), Ok(bytes));
        }
        assert_eq!(ByteSize::from_mib(256).to_string(), "256MiB");
    }

    #[test]
    fn a_disk_limit_may_be_a_share() {
        assert_eq!("80%".parse(), Ok(DiskSize::Percent(80)));
        assert_eq!("20GiB".parse(), Ok(DiskSize::Bytes(ByteSize::from_mib(20 << 10))));
        for text in ["0%", "101%", "12.5%", "%", "-1%"] {
            let error = text.parse::<DiskSize>().unwrap_err().to_string();
            assert!(error.contains("write a whole number from `1%` to `100%`"), "{error}");
        }
        let error = "much".parse::<DiskSize>().unwrap_err().to_string();
        assert_eq!(error, "`much` is not a size; write a number and a unit, like `512MiB`, `20GiB` or `80%`");
    }

    #[test]
    fn durations_read_one_unit_or_several() {
        assert_eq!(time("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(time("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(time("1d"), Ok(Duration::from_secs(86_400)));
        assert_eq!(time("1h30m"), Ok(Duration::from_secs(5_400)));
        assert_eq!(time("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(time("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(time("0"), Ok(Duration::ZERO));
    }

    #[test]
    fn durations_refuse_what_is_not_one() {
        assert_eq!(
            time("30").unwrap_err(),
            "`30` is not a duration: 30 has no unit; write `30s`, `30m` or `30h`"
        );
        assert_eq!(
            time("5min").unwrap_err(),
            "`5min` is not a duration: unknown unit `min`; the units are ms, s, m, h and d"
        );
        for text in ["", "s", "30m1h", "1h1h", "-3s", "99999999999999999d", "1h30"] {
            let error = time(text).unwrap_err();
            assert!(error.starts_with(&format!("`{text}` is not a duration")), "{error}");
        }
    }

    #[test]
    fn printing_and_parsing_a_duration_agree() {
        for ms in [0, 1, 999, 1000, 1001, 60_000, 90_000, 86_400_000, 5_400_000] {
            let duration = Duration::from_millis(ms);
            assert_eq!(time(&TimeSpan::from(duration).to_string()), Ok(duration));
        }
    }

    #[test]
    fn a_rough_time_has_one_unit() {
        assert_eq!(rough_time(59_999), "59 s");
        assert_eq!(rough_time(61_000), "1 min");
        assert_eq!(rough_time(7_200_000), "2 h");
        assert_eq!(rough_time(400 * 86_400_000), "400 d");
    }

    #[test]
    fn a_rough_size_has_a_digit_or_two() {
        assert_eq!(rough_size(0), "0 B");
        assert_eq!(rough_size(1023), "1023 B");
        assert_eq!(rough_size(1536), "1.5 KiB");
        assert_eq!(rough_size(10 << 30), "10.0 GiB");
        assert_eq!(rough_size(500 << 20), "500 MiB");
    }
}
