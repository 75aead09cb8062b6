//! Age: how long ago the origin made or confirmed a response (RFC 9111, 4.2.3 and 5.1).
//!
//! Kept in milliseconds and rounded down once, when it is printed: two roundings lose a second.

use std::fmt;
use std::time::Duration;

use crate::fields::{Fields, list_members};
use crate::time::{DeltaSeconds, Timestamp};

/// The current age of a stored response. Prints as the value of an Age field: whole seconds, at most 2^31.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct CurrentAge(u64);

impl CurrentAge {
    pub(crate) const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    pub(crate) const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds, rounded down, at most 2^31.
    pub fn as_secs(self) -> u32 {
        DeltaSeconds::from_secs(self.0 / 1000).as_secs()
    }

    /// The exact age.
    pub const fn as_duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl fmt::Display for CurrentAge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_secs().fmt(f)
    }
}

/// The value of a received Age: its first member, or zero when that is no non-negative integer.
///
/// RFC 9111, 5.1 lets a list count by its first member; anything unreadable is ignored.
fn age_value(fields: &Fields) -> DeltaSeconds {
    list_members(fields.all("age")).next().and_then(DeltaSeconds::parse).unwrap_or_default()
}

/// `corrected_initial_age` in milliseconds (RFC 9111, 4.2.3). `date` is `None` when there is no valid Date.
pub(crate) fn corrected_initial_age(
    fields: &Fields,
    date: Option<Timestamp>,
    request_time: Timestamp,
    response_time: Timestamp,
) -> u64 {
    // Date counts in seconds: the fraction of the second in which the response came is no age.
    let apparent_age = date.map_or(0, |date| response_time.millis_since(date) / 1000 * 1000);
    let response_delay = response_time.millis_since(request_time);
    apparent_age.max(age_value(fields).as_millis().saturating_add(response_delay))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn age(lines: &[&str]) -> u32 {
        let mut fields = Fields::new();
        for line in lines {
            fields.push("Age", line.as_bytes()).unwrap();
        }
        age_value(&fields).as_secs()
    }

    #[test]
    fn the_first_member_of_the_first_line_counts() {
        assert_eq!(age(&["7200, 0"]), 7200);
        assert_eq!(age(&["0, 7200"]), 0);
        assert_eq!(age(&["7200", "0"]), 7200);
        assert_eq!(age(&["0", "7200"]), 0);
        assert_eq!(age(&["30, 30"]), 30);
    }

    #[test]
    fn what_is_no_non_negative_integer_is_ignored() {
        for value in ["abc", "-7200", "7200.0", "7200;foo=bar", "", "+1", "\"1\""] {
            assert_eq!(age(&[value]), 0, "{value}");
        }
        assert_eq!(age(&[]), 0);
    }

    #[test]
    fn large_values_are_very_old() {
        assert_eq!(age(&["2147483647"]), 2_147_483_647);
        for value in ["2147483648", "2147483649", "99999999999999999999999"] {
            assert_eq!(age(&[value]), 1 << 31, "{value}");
        }
    }

    #[test]
    fn the_older_of_date_and_age_counts() {
        let at = Timestamp::from_millis;
        let mut fields = Fields::new();
        fields.push("Age", b"5").unwrap();
        let initial = |date, request, response| corrected_initial_age(&fields, date, request, response);
        assert_eq!(initial(Some(at(1000)), at(2800), at(2900)), 5100);
        assert_eq!(initial(Some(at(-8000)), at(2800), at(2900)), 10_000, "Date has no fractions");
        assert_eq!(initial(Some(at(9000)), at(2800), at(2900)), 5100, "a Date in the future is no age");
        assert_eq!(initial(None, at(3000), at(2900)), 5000, "a clock that stepped back");
    }
}
