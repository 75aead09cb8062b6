//! Instants as logs write them.

use larder_policy::Timestamp;

/// Milliseconds before or after the epoch that are taken for a time: years 1970 to 2255. What lies outside is a
/// damaged line, and arithmetic with it would need care everywhere.
const LATEST_MILLIS: i64 = 9_000_000_000_000;

/// `17/May/2015:10:05:03 +0000`, as the Common Log Format has it.
pub(super) fn clf(text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?;
    let (date, zone) = text.split_once(' ').unwrap_or((text, "+0000"));
    let mut parts = date.split(['/', ':']);
    let (day, month, year) = (number(parts.next()?)?, parts.next()?, number(parts.next()?)?);
    let month = match month {
        "Jan" => 1,
        "Feb" => 2,
        "Mar" => 3,
        "Apr" => 4,
        "May" => 5,
        "Jun" => 6,
        "Jul" => 7,
        "Aug" => 8,
        "Sep" => 9,
        "Oct" => 10,
        "Nov" => 11,
        "Dec" => 12,
        _ => return None,
    };
    let clock = (number(parts.next()?)?, number(parts.next()?)?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    moment((year, month, day), clock, offset(zone)?)
}

/// `2026-11-23T16:00:00.123Z` (RFC 3339).
pub(super) fn rfc3339(text: &str) -> Option<Timestamp> {
    let (date, rest) = text.split_at_checked(10)?;
    let mut date = date.split('-');
    let day = (number(date.next()?)?, number(date.next()?)?, number(date.next()?)?);
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let end = rest.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = rest.split_at_checked(end)?;
    let mut clock = clock.split(':');
    let clock = (number(clock.next()?)?, number(clock.next()?)?, clock.next()?);
    let zone = if zone.eq_ignore_ascii_case("z") { 0 } else { offset(zone)? };
    moment(day, clock, zone)
}

/// `1795449600.123`: seconds since the epoch.
pub(super) fn epoch(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if seconds.is_empty() || seconds.len() > 11 {
        return None;
    }
    bounded(number(seconds)?.checked_mul(1000)?.checked_add(millis(fraction)?)?)
}

/// A calendar day and a time of day in a zone so many seconds ahead of UTC. The day number is counted in eras of 400 years
/// that begin on 1 March.
fn moment(
    (year, month, day): (i64, i64, i64),
    (hour, minute, second): (i64, i64, &str),
    offset: i64,
) -> Option<Timestamp> {
    let (second, fraction) = second.split_once('.').unwrap_or((second, ""));
    let second = number(second)?;
    let sound = (1970..=2255).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !sound {
        return None;
    }
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_era =
        year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + (153 * month + 2) / 5 + day - 1;
    let days = era * 146_097 + day_of_era - 719_468;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - offset;
    bounded(seconds * 1000 + millis(fraction)?)
}

fn bounded(millis: i64) -> Option<Timestamp> {
    (-86_400_000..=LATEST_MILLIS).contains(&millis).then(|| Timestamp::from_millis(millis))
}

/// `+0200` or `+02:00`, in seconds.
fn offset(zone: &str) -> Option<i64> {
    let (sign, digits) = match zone.as_bytes().split_first()? {
        (b'+', digits) => (1, digits),
        (b'-', digits) => (-1, digits),
        _ => return None,
    };
    let digits = std::str::from_utf8(digits).ok()?;
    let (hours, minutes) = match digits.split_once(':') {
        Some(parts) => parts,
        None => digits.split_at_checked(2)?,
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

/// Digits and nothing else.
fn number(digits: &str) -> Option<i64> {
    let only_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| only_digits)
}

/// The digits of a fraction of a second, as milliseconds.
fn millis(fraction: &str) -> Option<i64> {
    let mut out = 0;
    for place in 0..3 {
        out = out * 10
            + match fraction.as_bytes().get(place) {
                None => 0,
                Some(digit) => i64::from(char::from(*digit).to_digit(10)?),
            };
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_any_zone() {
        let at = |millis| Some(Timestamp::from_millis(millis));
        assert_eq!(clf(b"17/May/2015:10:05:03 +0000"), at(1_431_857_103_000));
        assert_eq!(clf(b"17/May/2015:12:05:03 +0200"), at(1_431_857_103_000));
        assert_eq!(clf(b"29/Feb/2000:23:59:59 -0130"), at(951_874_199_000));
        assert_eq!(rfc3339("2026-11-23T16:00:00.123Z"), at(1_795_449_600_123));
        assert_eq!(rfc3339("2026-11-23T17:30:00.5+01:30"), at(1_795_449_600_500));
        assert_eq!(epoch("1795449600.123"), at(1_795_449_600_123));
        assert_eq!(epoch("0"), at(0));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "17/May/2015",
            "17/Xay/2015:10:05:03 +0000",
            "32/May/2015:10:05:03 +0000",
            "17/May/99999:10:05:03 +0000",
            "17/May/2015:24:05:03 +0000",
            "17/May/2015:10:05:03 0000",
            "17/May/2015:10:05:03:04 +0000",
            "17/May/2015:10:05:-3 +0000",
        ] {
            assert_eq!(clf(text.as_bytes()), None, "{text}");
        }
        for text in
            ["", "2026-11-23", "2026-11-23T16:00:00", "2026-11-23T16:00:00.x0Z", "+026-11-23T16:00:00Z"]
        {
            assert_eq!(rfc3339(text), None, "{text}");
        }
        for text in ["", ".5", "x", "-1", "99999999999999999999", "99999999999", "+1", "1.x"] {
            assert_eq!(epoch(text), None, "{text}");
        }
    }
}
