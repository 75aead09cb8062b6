//! The report for people.

use larder_simulator::{Cell, Report, TraceReport};

use super::advice::advice;
use crate::terminal::escaped;
use crate::units::{rough_size, rough_time};

/// All of it.
pub(super) fn table(report: &Report) -> String {
    let mut text = String::new();
    for input in &report.inputs {
        text += &format!("{} ({})\n", escaped(&input.path), input.format);
    }
    text += &about(&report.trace);
    let tiers = report.cells.iter().any(|cell| cell.memory_hit_ratio.is_some());
    let days = report.cells.iter().any(|cell| cell.drive_writes_per_day.is_some());
    let mut before = None;
    for cell in &report.cells {
        if before != Some(cell.capacity_bytes) {
            text += &heading(cell, tiers, days);
            before = Some(cell.capacity_bytes);
        }
        text += &row(cell, tiers, days);
    }
    text += "\n";
    for sentence in advice(report) {
        text += &format!("{sentence}\n");
    }
    text += "\nWhat the trace cannot tell:\n";
    for sentence in &report.unknown {
        text += &format!("- {sentence}\n");
    }
    text
}

pub(super) fn about(trace: &TraceReport) -> String {
    let over =
        trace.seconds.map_or_else(String::new, |seconds| format!(" over {}", rough_time(seconds * 1000)));
    let warmup = match trace.warmup_requests {
        0 => String::new(),
        requests => format!("; the first {requests} only fill the caches"),
    };
    let changed = match trace.changed {
        0 => String::new(),
        changed => format!("; {changed} times one came with another size, which is a miss"),
    };
    format!(
        "{} requests{over} for {}{warmup}\n{} objects of {} together, the largest {}{changed}\n\
         An infinite cache: hits {:.2} % of the requests, {:.2} % of the bytes\n",
        trace.requests,
        rough_size(trace.bytes),
        trace.objects,
        rough_size(trace.footprint_bytes),
        rough_size(trace.largest_bytes),
        trace.infinite_hit_ratio * 100.0,
        trace.infinite_byte_hit_ratio * 100.0,
    )
}

fn heading(cell: &Cell, tiers: bool, days: bool) -> String {
    let bound = match cell.bound {
        "belady" => "the best that could be (Belady's rule)",
        _ => "no cache could do better than (PFOO-L, an approximation from above)",
    };
    let memory = if tiers { " in memory" } else { "" };
    let writes = if days { "  writes a day" } else { "" };
    format!(
        "\n{}, {:.3} % of all objects; {bound}: {:.2} % and {:.2} %\n{:<22} requests{memory}    bytes    \
         from origins: requests      bytes    written{writes}\n",
        rough_size(cell.capacity_bytes),
        cell.capacity_share * 100.0,
        cell.bound_hit_ratio * 100.0,
        cell.bound_byte_hit_ratio * 100.0,
        "  hits of",
    )
}

fn row(cell: &Cell, tiers: bool, days: bool) -> String {
    let memory = match cell.memory_hit_ratio {
        Some(ratio) if tiers => format!(" {:>7.2} %", ratio * 100.0),
        _ => String::new(),
    };
    let writes = match cell.drive_writes_per_day {
        Some(writes) if days => format!("  {writes:>9.2} x"),
        _ => String::new(),
    };
    format!(
        "  {:<22} {:>5.2} %{memory}  {:>5.2} %  {:>22} {:>10} {:>10}{writes}\n",
        cell.policy,
        cell.hit_ratio * 100.0,
        cell.byte_hit_ratio * 100.0,
        cell.origin_requests,
        rough_size(cell.origin_bytes),
        rough_size(cell.written_bytes),
    )
}
