//! Instants as logs write them, always in UTC.

use std::fmt;

use larder_policy::Timestamp;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// An instant as calendar and clock show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moment {
    year: i64,
    /// 1 to 12.
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    milli: i64,
}

impl From<Timestamp> for Moment {
    /// The proleptic Gregorian calendar, in eras of 400 years that begin on 1 March of year 0: the leap day is then
    /// the last of its year, and no month needs a case of its own.
    fn from(timestamp: Timestamp) -> Self {
        const DAYS_FROM_ERA_TO_EPOCH: i64 = 719_468;
        const DAYS_PER_ERA: i64 = 146_097;
        let millis = timestamp.as_millis();
        let seconds = millis.div_euclid(1000);
        let days = seconds.div_euclid(86_400) + DAYS_FROM_ERA_TO_EPOCH;
        let (era, day_of_era) = (days.div_euclid(DAYS_PER_ERA), days.rem_euclid(DAYS_PER_ERA));
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let time = seconds.rem_euclid(86_400);
        Self {
            year: era * 400 + year_of_era + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
            hour: time / 3_600,
            minute: time / 60 % 60,
            second: time % 60,
            milli: millis.rem_euclid(1000),
        }
    }
}

/// `23/Nov/2026:16:00:00 +0000`, as the Common Log Format has it.
pub(super) struct Clf(pub(super) Timestamp);

impl fmt::Display for Clf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Moment { year, month, day, hour, minute, second, .. } = self.0.into();
        let month =
            usize::try_from(month - 1).ok().and_then(|place| MONTHS.get(place)).copied().unwrap_or("---");
        write!(f, "{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000")
    }
}

/// `2026-11-23T16:00:00.123Z` (RFC 3339).
pub(super) struct Rfc3339(pub(super) Timestamp);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Moment { year, month, day, hour, minute, second, milli } = self.0.into();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_read_as_the_calendar_has_them() {
        for (millis, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_795_449_600_123, "2026-11-23T16:00:00.123Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(Rfc3339(Timestamp::from_millis(millis)).to_string(), expected);
        }
        assert_eq!(Clf(Timestamp::from_secs(1_795_449_600)).to_string(), "23/Nov/2026:16:00:00 +0000");
    }

    #[test]
    fn the_ends_of_time_do_not_panic() {
        for millis in [i64::MIN, i64::MAX] {
            assert!(!Clf(Timestamp::from_millis(millis)).to_string().is_empty());
        }
    }
}
