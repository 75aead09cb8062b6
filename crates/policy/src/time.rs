//! Instants, delta-seconds and HTTP-dates.
//!
//! Nothing here reads a clock: every function that depends on the present takes it as an argument. Arithmetic
//! saturates, so that no date an origin sends and no jump of a clock can overflow or go negative.

use std::fmt;
use std::time::Duration;

const MILLIS_PER_SECOND: i64 = 1000;
const SECONDS_PER_DAY: i64 = 86_400;

/// An instant in milliseconds since the Unix epoch, negative before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The instant `millis` milliseconds after the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The instant `secs` seconds after the epoch; saturates at the ends of the range.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(MILLIS_PER_SECOND))
    }

    /// Whole seconds since the epoch, rounded towards the past.
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(MILLIS_PER_SECOND)
    }

    /// This instant moved into the future by `by`.
    #[must_use]
    pub fn saturating_add(self, by: Duration) -> Self {
        let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// How long ago `earlier` was; zero when it is later than `self`.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.millis_since(earlier))
    }

    /// `saturating_since` in milliseconds.
    pub(crate) fn millis_since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }
}

/// A number of seconds as Cache-Control and Age carry it: 0 to 2^31, larger values standing for 2^31
/// (RFC 9111, 1.2.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct DeltaSeconds(u32);

impl DeltaSeconds {
    /// 2^31 seconds, about 68 years: what every larger value counts as.
    pub const MAX: Self = Self(1 << 31);

    /// `secs` seconds, at most [`DeltaSeconds::MAX`].
    pub fn from_secs(secs: u64) -> Self {
        u32::try_from(secs).map_or(Self::MAX, |secs| Self(secs).min(Self::MAX))
    }

    /// The same for a number in the code, which is not to exceed it.
    pub(crate) const fn of_secs(secs: u32) -> Self {
        assert!(secs <= Self::MAX.0, "no more than the greatest");
        Self(secs)
    }

    /// The number of seconds.
    pub const fn as_secs(self) -> u32 {
        self.0
    }

    /// The same as a [`Duration`].
    pub const fn as_duration(self) -> Duration {
        Duration::from_secs(self.0 as u64)
    }

    pub(crate) const fn as_millis(self) -> u64 {
        self.0 as u64 * 1000
    }

    /// `1*DIGIT`, however long; anything else is `None` (RFC 9111, 1.2.2).
    pub(crate) fn parse(digits: &[u8]) -> Option<Self> {
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let secs = digits
            .iter()
            .fold(0_u64, |value, digit| value.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
        Some(Self::from_secs(secs))
    }
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const LONG_DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// Parses an HTTP-date in any of its three formats (RFC 9110, 5.6.7), or `None`.
///
/// Strict, because a lenient reading turns what an origin meant as "already expired" into a lifetime: one
/// space between parts, two digits where two are due, `GMT` and no other zone. Letter case is free, and the
/// weekday has to be a weekday's name but not the right one. `now` settles the century of a two-digit year:
/// the latest one that is not more than 50 years ahead.
pub fn parse_http_date(value: &[u8], now: Timestamp) -> Option<Timestamp> {
    imf_fixdate(value).or_else(|| rfc850_date(value, now)).or_else(|| asctime_date(value))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn imf_fixdate(value: &[u8]) -> Option<Timestamp> {
    let mut cursor = Cursor(value);
    cursor.one_of(&DAYS)?;
    cursor.literal(", ")?;
    let day = cursor.digits(2)?;
    cursor.literal(" ")?;
    let month = cursor.one_of(&MONTHS)? + 1;
    cursor.literal(" ")?;
    let year = i64::from(cursor.digits(4)?);
    cursor.literal(" ")?;
    let second_of_day = cursor.time_of_day()?;
    cursor.literal(" gmt")?;
    cursor.end()?;
    Civil { year, month, day, second_of_day }.timestamp()
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn rfc850_date(value: &[u8], now: Timestamp) -> Option<Timestamp> {
    let mut cursor = Cursor(value);
    cursor.one_of(&LONG_DAYS)?;
    cursor.literal(", ")?;
    let day = cursor.digits(2)?;
    cursor.literal("-")?;
    let month = cursor.one_of(&MONTHS)? + 1;
    cursor.literal("-")?;
    let short_year = i64::from(cursor.digits(2)?);
    cursor.literal(" ")?;
    let second_of_day = cursor.time_of_day()?;
    cursor.literal(" gmt")?;
    cursor.end()?;
    let horizon = Civil::of(now).years_later(50);
    let century = horizon.year.div_euclid(100) * 100;
    let date = Civil { year: century + short_year, month, day, second_of_day };
    if date > horizon { date.years_later(-100).timestamp() } else { date.timestamp() }
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime_date(value: &[u8]) -> Option<Timestamp> {
    let mut cursor = Cursor(value);
    cursor.one_of(&DAYS)?;
    cursor.literal(" ")?;
    let month = cursor.one_of(&MONTHS)? + 1;
    cursor.literal(" ")?;
    let day = if cursor.literal(" ").is_some() { cursor.digits(1)? } else { cursor.digits(2)? };
    cursor.literal(" ")?;
    let second_of_day = cursor.time_of_day()?;
    cursor.literal(" ")?;
    let year = i64::from(cursor.digits(4)?);
    cursor.end()?;
    Civil { year, month, day, second_of_day }.timestamp()
}

/// What is left of a date being read. Every method consumes what it matched, or nothing.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn literal(&mut self, expected: &str) -> Option<()> {
        let (head, rest) = self.0.split_at_checked(expected.len())?;
        if !head.eq_ignore_ascii_case(expected.as_bytes()) {
            return None;
        }
        self.0 = rest;
        Some(())
    }

    fn one_of(&mut self, names: &[&str]) -> Option<u32> {
        let index = names.iter().position(|name| self.literal(name).is_some())?;
        u32::try_from(index).ok()
    }

    fn digits(&mut self, count: usize) -> Option<u32> {
        let (head, rest) = self.0.split_at_checked(count)?;
        if !head.iter().all(u8::is_ascii_digit) {
            return None;
        }
        self.0 = rest;
        Some(head.iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0')))
    }

    /// `08:49:37` as seconds; 60 is a leap second and counts as the first of the next minute.
    fn time_of_day(&mut self) -> Option<u32> {
        let hour = self.digits(2)?;
        self.literal(":")?;
        let minute = self.digits(2)?;
        self.literal(":")?;
        let second = self.digits(2)?;
        (hour < 24 && minute < 60 && second <= 60).then_some(hour * 3600 + minute * 60 + second)
    }

    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// A date of the proleptic Gregorian calendar; `month` and `day` count from one. Ordered as time is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Civil {
    year: i64,
    month: u32,
    day: u32,
    second_of_day: u32,
}

impl Civil {
    fn of(instant: Timestamp) -> Self {
        let secs = instant.as_secs();
        let second_of_day = u32::try_from(secs.rem_euclid(SECONDS_PER_DAY)).unwrap_or(0);
        // Eras of 400 years that begin in March put the leap day at the end of a year.
        let days = secs.div_euclid(SECONDS_PER_DAY) + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Self {
            year,
            month: u32::try_from(month).unwrap_or(1),
            day: u32::try_from(day).unwrap_or(1),
            second_of_day,
        }
    }

    const fn years_later(self, years: i64) -> Self {
        Self { year: self.year + years, ..self }
    }

    /// `None` for a day that its month does not have.
    fn timestamp(self) -> Option<Timestamp> {
        let leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        let month_length = match self.month {
            4 | 6 | 9 | 11 => 30,
            2 if leap => 29,
            2 => 28,
            _ => 31,
        };
        if self.day == 0 || self.day > month_length {
            return None;
        }
        let year = if self.month <= 2 { self.year - 1 } else { self.year };
        let month = i64::from(self.month);
        let shifted_month = if month > 2 { month - 3 } else { month + 9 };
        let day_of_year = (153 * shifted_month + 2) / 5 + i64::from(self.day) - 1;
        let year_of_era = year.rem_euclid(400);
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = year.div_euclid(400) * 146_097 + day_of_era - 719_468;
        Some(Timestamp::from_secs(days * SECONDS_PER_DAY + i64::from(self.second_of_day)))
    }
}

/// Prints an instant as an IMF-fixdate (RFC 9110, 5.6.7), rounded down to the second.
///
/// The format has four digits for the year: instants outside the years 0 to 9999 print as the nearest end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HttpDate(pub Timestamp);

impl fmt::Display for HttpDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// 0000-01-01 and 9999-12-31T23:59:59.
        const RANGE: (i64, i64) = (-62_167_219_200, 253_402_300_799);
        let secs = self.0.as_secs().clamp(RANGE.0, RANGE.1);
        let Civil { year, month, day, second_of_day } = Civil::of(Timestamp::from_secs(secs));
        // The epoch was a Thursday, the fourth name.
        let weekday = usize::try_from((secs.div_euclid(SECONDS_PER_DAY) + 3).rem_euclid(7)).unwrap_or(0);
        let weekday = DAYS.get(weekday).copied().unwrap_or("Mon");
        let month = MONTHS.get(month as usize - 1).copied().unwrap_or("Jan");
        let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
        write!(f, "{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2024-02-10 12:00:00 UTC.
    const NOW: Timestamp = Timestamp::from_secs(1_707_566_400);

    fn secs(text: &str) -> Option<i64> {
        parse_http_date(text.as_bytes(), NOW).map(Timestamp::as_secs)
    }

    #[test]
    fn three_formats_name_one_instant() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "sun, 06 nOV 1994 08:49:37 gmt",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun Nov 06 08:49:37 1994",
        ] {
            assert_eq!(secs(text), Some(784_111_777), "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_date() {
        for text in [
            "",
            "0",
            "-1",
            "Thu, 18 Aug 2050 02:01:18 UTC",
            "Thu, 18 Aug 2050 02:01:18 AEST",
            "Thu, 18 Aug 50 02:01:18 GMT",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu,  18 Aug 2050 02:01:18 GMT",
            "Thu, 18  Aug  2050 02:01:18 GMT",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thursday, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02.01.18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
            "Thu, 31 Feb 2050 02:01:18 GMT",
            "Thu, 00 Feb 2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 24:01:18 GMT",
            "Thu, 18 Aug 2050 02:60:18 GMT",
            "Thu, 18 Aug 2050 02:01:18 GMT ",
            "Thu, 18 Aug 2050 02:01:18",
            "Xyz, 18 Aug 2050 02:01:18 GMT",
            "Thu Aug 18 02:01:18 50",
        ] {
            assert_eq!(secs(text), None, "{text}");
        }
    }

    #[test]
    fn a_two_digit_year_more_than_fifty_years_ahead_is_past() {
        assert_eq!(secs("Monday, 01-Jan-74 00:00:00 GMT"), Some(3_281_990_400), "2074 is within 50 years");
        assert_eq!(secs("Monday, 01-Jan-75 00:00:00 GMT"), Some(157_766_400), "1975");
        assert_eq!(secs("Monday, 11-Feb-74 00:00:00 GMT"), Some(129_772_800), "a day too far");
        let turn = Timestamp::from_secs(4_102_444_799);
        let next = parse_http_date(b"Friday, 01-Jan-00 00:00:00 GMT", turn);
        assert_eq!(next, Some(Timestamp::from_secs(4_102_444_800)), "2100 seen from the end of 2099");
    }

    #[test]
    fn years_past_32_bits_are_valid() {
        assert_eq!(secs("Tue, 19 Jan 2038 14:14:08 GMT"), Some(2_147_523_248));
        assert_eq!(secs("Sat, 20 Nov 2286 17:46:39 GMT"), Some(9_999_999_999));
        assert_eq!(secs("Sun, 21 Nov 2286 04:46:39 GMT"), Some(10_000_039_599));
    }

    #[test]
    fn printing_agrees_with_another_implementation() {
        for secs in (0..253_402_300_799_u64).step_by(86_399 * 1009) {
            let other = httpdate::fmt_http_date(std::time::UNIX_EPOCH + Duration::from_secs(secs));
            let instant = Timestamp::from_secs(secs as i64);
            assert_eq!(HttpDate(instant).to_string(), other);
            assert_eq!(parse_http_date(other.as_bytes(), NOW), Some(instant));
        }
    }

    #[test]
    fn printing_stays_in_four_digit_years() {
        assert_eq!(HttpDate(Timestamp::from_millis(i64::MAX)).to_string(), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(HttpDate(Timestamp::from_millis(i64::MIN)).to_string(), "Sat, 01 Jan 0000 00:00:00 GMT");
    }

    #[test]
    fn delta_seconds_stop_at_two_to_the_31() {
        for text in ["2147483648", "2147483649", "4294967296", "99999999999", "99999999999999999999999"] {
            assert_eq!(DeltaSeconds::parse(text.as_bytes()), Some(DeltaSeconds::MAX), "{text}");
        }
        assert_eq!(DeltaSeconds::parse(b"2147483647").map(DeltaSeconds::as_secs), Some(2_147_483_647));
        assert_eq!(DeltaSeconds::parse(b"003600").map(DeltaSeconds::as_secs), Some(3600));
        for text in ["", "-1", "+1", "1.0", "1 ", "a"] {
            assert_eq!(DeltaSeconds::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn arithmetic_saturates() {
        let end = Timestamp::from_millis(i64::MAX);
        assert_eq!(end.saturating_add(Duration::MAX), end);
        assert_eq!(Timestamp::from_millis(i64::MIN).saturating_since(end), Duration::ZERO);
        assert_eq!(
            end.saturating_since(Timestamp::from_millis(i64::MIN)),
            Duration::from_millis(i64::MAX as u64)
        );
        assert_eq!(Timestamp::from_millis(-1).as_secs(), -1);
    }
}
