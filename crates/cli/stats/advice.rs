//! What the shadow caches tell, in sentences: would more memory, more disk or another way to evict help?
//!
//! A difference is worth a recommendation only when it is more than a point and more than what the sample may be wrong by.

use std::fmt::Write;

use larder_server::{ShadowEstimateFigures, ShadowFigures};

use crate::units::rough_size;

/// Least difference that is worth a change.
const WORTH: f64 = 0.01;
/// Standard errors within which the truth is in nineteen cases of twenty.
const SURE: f64 = 2.0;

/// A paragraph for each tier.
pub(super) fn text(shadows: &[ShadowFigures]) -> String {
    if shadows.is_empty() {
        return "This larder has nothing to tell: it is of a version that keeps no shadow caches.\n"
            .to_owned();
    }
    let mut text = String::new();
    for shadow in shadows.iter().filter(|shadow| shadow.limit_bytes > 0) {
        if !text.is_empty() {
            text.push('\n');
        }
        text += &of_tier(shadow).join("\n");
        text.push('\n');
    }
    text
}

fn of_tier(shadow: &ShadowFigures) -> Vec<String> {
    let name = if shadow.tier == "memory" { "Memory" } else { "Disk" };
    let by = if shadow.policy == shadow.eviction {
        shadow.eviction.clone()
    } else {
        format!("{}, now {}", shadow.policy, shadow.eviction)
    };
    let mut lines = vec![format!("{name}: {} by {by}", rough_size(shadow.limit_bytes))];
    let own = |size: f64| at(shadow, size, &shadow.eviction);
    let Some(now) = own(1.0).filter(|_| shadow.tells) else {
        lines.push(format!(
            "  Too little to tell yet: {} requests have filled {:.0} % of it. There is advice from 1000 requests and 80 % on.",
            shadow.requests,
            shadow.filled * 100.0
        ));
        return lines;
    };
    lines.push(format!(
        "  Now: {} of the requests and {} of the bytes are found in it{}.",
        percent(now.request_hit_ratio),
        percent(now.byte_hit_ratio),
        errors(now)
    ));
    for (size, word) in [(4.0, "Four times"), (2.0, "Twice"), (0.5, "Half"), (0.25, "A quarter")] {
        if let Some(other) = own(size) {
            let bytes = (shadow.limit_bytes as f64 * size) as u64;
            lines.push(format!("  {word} as much ({}): {}.", rough_size(bytes), difference(now, other)));
        }
    }
    for other in shadow.estimates.iter().filter(|one| is(one.size, 1.0) && one.eviction != shadow.eviction) {
        lines.push(format!("  By {}: {}.", other.eviction, difference(now, other)));
    }
    lines.push(format!("  {}", recommendation(shadow, now)));
    lines.push(format!("  From {} requests{}.", shadow.requests, sample(shadow)));
    lines
}

/// What to do, by what the tier is for.
fn recommendation(shadow: &ShadowFigures, now: &ShadowEstimateFigures) -> String {
    let gain = |other: &ShadowEstimateFigures| {
        let (gain, error) = match shadow.aim.as_str() {
            "requests" => (
                other.request_hit_ratio - now.request_hit_ratio,
                other.request_error.hypot(now.request_error),
            ),
            _ => (other.byte_hit_ratio - now.byte_hit_ratio, other.byte_error.hypot(now.byte_error)),
        };
        (gain > WORTH.max(SURE * error)).then_some(gain)
    };
    let points = |gain: f64| format!("{:.1} points of the {}", gain * 100.0, shadow.aim);
    let key = if shadow.tier == "memory" { "memory_eviction" } else { "eviction" };
    let mut all = Vec::new();
    if let Some(gain) = at(shadow, 2.0, &shadow.eviction).and_then(gain) {
        all.push(format!("twice as much would give {}", points(gain)));
    }
    let others = shadow.estimates.iter().filter(|one| is(one.size, 1.0));
    let best = others.filter_map(|one| Some((one, gain(one)?))).max_by(|a, b| a.1.total_cmp(&b.1));
    if let Some((one, gain)) = best.filter(|_| shadow.policy != "auto") {
        all.push(format!("{key} = \"{}\" would give {}", one.eviction, points(gain)));
    }
    if !all.is_empty() {
        return format!("Worth it: {}.", all.join("; "));
    }
    let lost = at(shadow, 0.5, &shadow.eviction).map(|half| match shadow.aim.as_str() {
        "requests" => now.request_hit_ratio - half.request_hit_ratio,
        _ => now.byte_hit_ratio - half.byte_hit_ratio,
    });
    match lost {
        Some(lost) if lost < WORTH => {
            format!(
                "Nothing would help much, and half as much would lose less than a point of the {}.",
                shadow.aim
            )
        }
        _ => "It is about right: nothing here would help by more than a point, or by more than the error."
            .to_owned(),
    }
}

fn at<'a>(shadow: &'a ShadowFigures, size: f64, eviction: &str) -> Option<&'a ShadowEstimateFigures> {
    shadow.estimates.iter().find(|one| is(one.size, size) && one.eviction == eviction)
}

fn is(size: f64, other: f64) -> bool {
    (size - other).abs() < 1e-6
}

fn difference(now: &ShadowEstimateFigures, other: &ShadowEstimateFigures) -> String {
    format!(
        "{} points of requests, {} of bytes{}",
        change(other.request_hit_ratio - now.request_hit_ratio),
        change(other.byte_hit_ratio - now.byte_hit_ratio),
        errors(other)
    )
}

fn change(by: f64) -> String {
    format!("{:+.1}", by * 100.0)
}

fn percent(ratio: f64) -> String {
    format!("{:.1} %", ratio * 100.0)
}

/// What the figures may be wrong by, where they are from a sample.
fn errors(one: &ShadowEstimateFigures) -> String {
    let (requests, bytes) = (SURE * one.request_error * 100.0, SURE * one.byte_error * 100.0);
    if requests < 0.05 && bytes < 0.05 {
        return String::new();
    }
    format!(" (give or take {requests:.1} and {bytes:.1})")
}

fn sample(shadow: &ShadowFigures) -> String {
    let mut text = String::new();
    if shadow.one_in > 1 {
        let _ =
            write!(text, ", of which those for one in {} of the small objects were followed", shadow.one_in);
    }
    if shadow.lost > 0 {
        let _ = write!(text, "; {} more came too fast to be taken note of", shadow.lost);
    }
    if shadow.policy == "auto" && shadow.changes > 0 {
        let times = if shadow.changes == 1 { "once".to_owned() } else { format!("{} times", shadow.changes) };
        let _ = write!(text, "; the way to evict has changed {times}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    fn shadow(tier: &str, eviction: &str, ratios: impl Fn(f64, &str) -> (f64, f64)) -> ShadowFigures {
        let mut estimates = Vec::new();
        for size in [0.25, 0.5, 1.0, 2.0, 4.0] {
            for eviction in ["lru", "sieve", "s3-fifo", "w-tinylfu", "gdsf"] {
                let (request_hit_ratio, byte_hit_ratio) = ratios(size, eviction);
                estimates.push(ShadowEstimateFigures {
                    size,
                    eviction: eviction.to_owned(),
                    request_hit_ratio,
                    byte_hit_ratio,
                    ..ShadowEstimateFigures::default()
                });
            }
        }
        ShadowFigures {
            tier: tier.to_owned(),
            aim: if tier == "memory" { "requests" } else { "bytes" }.to_owned(),
            limit_bytes: 1 << 30,
            policy: eviction.to_owned(),
            eviction: eviction.to_owned(),
            requests: 123_456,
            one_in: 1,
            filled: 0.97,
            tells: true,
            estimates,
            ..ShadowFigures::default()
        }
    }

    #[test]
    fn the_advice_reads_as_it_was_reviewed() {
        let memory = shadow("memory", "gdsf", |size, eviction| {
            let less = if eviction == "gdsf" { 0.0 } else { 0.08 };
            (0.6 + 0.003 * size - less, 0.3)
        });
        let mut disk = shadow("disk", "s3-fifo", |size, eviction| {
            let more = if eviction == "w-tinylfu" { 0.04 } else { 0.0 };
            (0.7, 0.5 + 0.1 * size.log2() + more)
        });
        (disk.one_in, disk.lost) = (64, 17);
        for one in &mut disk.estimates {
            (one.request_error, one.byte_error) = (0.004, 0.006);
        }
        golden::compare("advice.txt", &text(&[memory, disk]));
    }

    #[test]
    fn what_is_within_the_error_is_no_advice() {
        let mut disk = shadow("disk", "lru", |size, _| (0.5, 0.5 + 0.04 * size.log2()));
        assert!(
            text(std::slice::from_ref(&disk))
                .contains("Worth it: twice as much would give 4.0 points of the bytes.")
        );
        disk.estimates.iter_mut().for_each(|one| one.byte_error = 0.03);
        let text = text(&[disk]);
        assert!(text.contains("It is about right") && text.contains("(give or take 0.0 and 6.0)"), "{text}");
    }

    #[test]
    fn auto_is_not_told_to_become_another_and_says_how_often_it_did() {
        let mut disk =
            shadow("disk", "s3-fifo", |_, eviction| (0.5, if eviction == "lru" { 0.9 } else { 0.5 }));
        (disk.policy, disk.changes) = ("auto".to_owned(), 2);
        let text = text(&[disk]);
        assert!(text.starts_with("Disk: 1.0 GiB by auto, now s3-fifo\n"), "{text}");
        assert!(!text.contains("Worth it") && text.contains("has changed 2 times"), "{text}");
    }

    #[test]
    fn too_little_traffic_is_said_and_so_is_a_larder_that_keeps_no_shadows() {
        let disk = ShadowFigures {
            tells: false,
            requests: 12,
            filled: 0.03,
            ..shadow("disk", "lru", |_, _| (0.5, 0.5))
        };
        let told = text(&[disk]);
        assert!(told.contains("Too little to tell yet: 12 requests have filled 3 % of it."), "{told}");
        assert!(!told.contains("Twice"), "{told}");
        assert!(text(&[]).contains("keeps no shadow caches"));
    }
}
