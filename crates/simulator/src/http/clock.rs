//! The present, as the times of a log tell it.
//!
//! Servers write a line when a request has ended, and put the time at which it began into it: times run backwards a little all
//! the time. The present then stays where it is. A great step back is another matter (files in the wrong order, a clock that
//! was set): the present goes along.

use std::time::Duration;

use larder_policy::Timestamp;

/// Steps back up to this far are taken for the order in which lines are written.
const DISORDER_MAX: Duration = Duration::from_secs(3_600);

#[derive(Debug, Default)]
pub(super) struct LogClock {
    now: Option<Timestamp>,
    latest: Option<Timestamp>,
    backwards: u64,
}

impl LogClock {
    /// The present, once a line with this time has come.
    pub(super) fn advance(&mut self, time: Timestamp) -> Timestamp {
        self.backwards += u64::from(self.latest.is_some_and(|latest| time < latest));
        self.latest = Some(time);
        let now = match self.now {
            Some(now) if time < now => {
                if now.saturating_since(time) > DISORDER_MAX {
                    time
                } else {
                    now
                }
            }
            _ => time,
        };
        self.now = Some(now);
        now
    }

    /// How often a line was older than the one before it.
    pub(super) const fn backwards(&self) -> u64 {
        self.backwards
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_steps_back_are_none_and_great_ones_are_followed() {
        let mut clock = LogClock::default();
        let mut at = |secs: i64| clock.advance(Timestamp::from_secs(secs)).as_secs();
        assert_eq!(
            [at(1000), at(990), at(1001), at(90_000), at(86_400), at(1000), at(1001)],
            [1000, 1000, 1001, 90_000, 90_000, 1000, 1001]
        );
        assert_eq!(clock.backwards(), 3);
    }
}
