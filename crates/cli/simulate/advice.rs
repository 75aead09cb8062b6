//! What to make of a report, in sentences.

use larder_simulator::{Cell, Curve, Point, Report};

use crate::units::rough_size;

/// A curve that gains no more than this is flat.
const FLAT: f64 = 0.005;
/// What differs by less is the same.
const SAME: f64 = 0.0005;
/// Drive writes per day that ordinary SSDs are rated for.
const ENDURANCE: f64 = 0.3;
/// The policy of larder's disk tier, where nothing else is configured.
const DISK_DEFAULT: &str = "s3-fifo";

/// The sentences: about the capacity in the middle of those that were asked for, and larder's own policy if it was.
pub(super) fn advice(report: &Report) -> Vec<String> {
    let mut capacities: Vec<u64> = report.cells.iter().map(|cell| cell.capacity_bytes).collect();
    capacities.dedup();
    let Some(base) = capacities.get(capacities.len().saturating_sub(1) / 2) else { return Vec::new() };
    let cells: Vec<&Cell> = report.cells.iter().filter(|cell| cell.capacity_bytes == *base).collect();
    let own = cells.iter().find(|cell| cell.policy == DISK_DEFAULT).or_else(|| cells.first());
    let Some(own) = own else { return Vec::new() };
    let mut sentences = vec![format!(
        "With {} and {}: {:.1} % of the requests and {:.1} % of the bytes are hits, of {:.1} % and {:.1} % that an infinite \
         cache would have.",
        rough_size(*base),
        own.policy,
        own.hit_ratio * 100.0,
        own.byte_hit_ratio * 100.0,
        report.trace.infinite_hit_ratio * 100.0,
        report.trace.infinite_byte_hit_ratio * 100.0
    )];
    if let Some(curve) = report.curves.iter().find(|curve| curve.policy == own.policy) {
        sentences.extend(other_size(report, curve, *base, base.saturating_mul(2), "2x the disk"));
        sentences.extend(other_size(report, curve, *base, base / 2, "Half the disk"));
        sentences.extend(flat(curve, *base));
    }
    sentences.extend(other_policy(&cells, own, "requests", |cell| cell.hit_ratio));
    sentences.extend(other_policy(&cells, own, "bytes", |cell| cell.byte_hit_ratio));
    sentences.extend(memory(own));
    sentences.extend(wear(own));
    sentences
}

/// `+3.1`, `-0.4`: hundredths of a ratio.
fn points(gain: f64) -> String {
    format!("{:+.1}", gain * 100.0)
}

fn at(curve: &Curve, capacity: u64) -> Option<&Point> {
    curve.points.iter().find(|point| point.capacity_bytes == capacity)
}

fn other_size(report: &Report, curve: &Curve, base: u64, other: u64, what: &str) -> Option<String> {
    let (before, after) = (at(curve, base)?, at(curve, other)?);
    let (requests, bytes) =
        (after.hit_ratio - before.hit_ratio, after.byte_hit_ratio - before.byte_hit_ratio);
    let counted = report.cells.first()?;
    let all_bytes = report.trace.bytes as f64 * counted.requests as f64 / report.trace.requests.max(1) as f64;
    let saved = bytes * all_bytes;
    let amount = match report.trace.seconds {
        Some(seconds) if seconds >= 3600 => {
            let share = counted.requests as f64 / report.trace.requests.max(1) as f64;
            format!("{} a day", rough_size((saved.abs() / (seconds as f64 * share) * 86_400.0) as u64))
        }
        _ => format!("{} in all", rough_size(saved.abs() as u64)),
    };
    let way = if saved < 0.0 { "more" } else { "less" };
    let unsure = if after.byte_error > 0.0 {
        format!(" (within {:.1} points)", (before.byte_error + after.byte_error) * 100.0)
    } else {
        String::new()
    };
    Some(format!(
        "{what} ({}): {} points of requests, {} points of bytes{unsure}, {amount} {way} from origins.",
        rough_size(other),
        points(requests),
        points(bytes)
    ))
}

/// From where on more capacity gains next to nothing.
fn flat(curve: &Curve, base: u64) -> Option<String> {
    let best = curve.points.iter().map(|point| point.byte_hit_ratio).fold(0.0, f64::max);
    let knee = curve.points.iter().rev().take_while(|point| best - point.byte_hit_ratio <= FLAT).last()?;
    if curve.points.last() == Some(knee) {
        return Some(format!(
            "More disk gains bytes up to {}, which holds all objects.",
            rough_size(knee.capacity_bytes)
        ));
    }
    if knee.capacity_bytes <= base {
        return Some(format!(
            "The bytes are flat past {}: it is large enough.",
            rough_size(knee.capacity_bytes)
        ));
    }
    Some(format!("The bytes are flat past {}.", rough_size(knee.capacity_bytes)))
}

/// Whether another policy would be better.
fn other_policy(cells: &[&Cell], own: &Cell, what: &str, of: fn(&Cell) -> f64) -> Option<String> {
    let best = cells.iter().max_by(|a, b| of(a).total_cmp(&of(b)))?;
    let gain = of(best) - of(own);
    if best.policy == own.policy || gain < SAME {
        return (cells.len() > 1)
            .then(|| format!("For {what} no other policy here is better than {}.", own.policy));
    }
    let other = if what == "bytes" {
        ("requests", best.hit_ratio - own.hit_ratio)
    } else {
        ("bytes", best.byte_hit_ratio - own.byte_hit_ratio)
    };
    Some(format!(
        "For {what} the best here is {}: {} points, and {} points of {}.",
        best.policy,
        points(gain),
        points(other.1),
        other.0
    ))
}

fn memory(own: &Cell) -> Option<String> {
    let ratio = own.memory_hit_ratio?;
    Some(format!(
        "Memory answers {:.1} % of the requests, the disk {:.1} %.",
        ratio * 100.0,
        (own.hit_ratio - ratio) * 100.0
    ))
}

/// What an SSD makes of it.
fn wear(own: &Cell) -> Option<String> {
    let writes = own.drive_writes_per_day?;
    let verdict = if writes <= ENDURANCE {
        "which any SSD takes"
    } else {
        "more than the 0.3 drive writes per day of many SSDs: take one that is rated for it, or one much larger than the cache"
    };
    Some(format!("Its capacity is written {writes:.2} times a day, {verdict}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(ratios: &[f64]) -> Curve {
        let point = |(at, ratio): (u32, &f64)| Point {
            capacity_bytes: 1 << (30 + at),
            hit_ratio: ratio / 2.0,
            byte_hit_ratio: *ratio,
            error: 0.0,
            byte_error: 0.0,
        };
        Curve { policy: "lru".to_owned(), sampled: 1.0, points: (0..).zip(ratios).map(point).collect() }
    }

    #[test]
    fn a_curve_is_flat_where_more_gains_nothing() {
        let rising = curve(&[0.1, 0.2, 0.399, 0.4, 0.4]);
        assert_eq!(flat(&rising, 1 << 30).unwrap(), "The bytes are flat past 4.0 GiB.");
        assert_eq!(flat(&rising, 1 << 34).unwrap(), "The bytes are flat past 4.0 GiB: it is large enough.");
        // A dip behind a good point makes it no knee.
        assert_eq!(
            flat(&curve(&[0.1, 0.4, 0.3, 0.4]), 1 << 30).unwrap(),
            "More disk gains bytes up to 8.0 GiB, which holds all objects."
        );
    }
}
