//! A line for each policy and capacity, for spreadsheets and scripts.

use larder_simulator::Report;

const HEADER: &str = "policy,size_ratio,cache_bytes,requests,objects,footprint_bytes,miss_ratio,byte_miss_ratio,\
                      memory_hit_ratio,origin_requests,origin_bytes,written_bytes,drive_writes_per_day,\
                      bound,bound_miss_ratio,bound_byte_miss_ratio,infinite_miss_ratio,infinite_byte_miss_ratio\n";

/// The cells of a report. What is not known is empty.
pub(super) fn csv(report: &Report) -> String {
    let mut text = HEADER.to_owned();
    let trace = &report.trace;
    let number = |number: Option<f64>| number.map_or_else(String::new, |number| format!("{number:.6}"));
    for cell in &report.cells {
        text += &format!(
            "{},{:.6},{},{},{},{},{:.6},{:.6},{},{},{},{},{},{},{:.6},{:.6},{:.6},{:.6}\n",
            cell.policy,
            cell.capacity_share,
            cell.capacity_bytes,
            cell.requests,
            trace.objects,
            trace.footprint_bytes,
            1.0 - cell.hit_ratio,
            1.0 - cell.byte_hit_ratio,
            number(cell.memory_hit_ratio),
            cell.origin_requests,
            cell.origin_bytes,
            cell.written_bytes,
            number(cell.drive_writes_per_day),
            cell.bound,
            1.0 - cell.bound_hit_ratio,
            1.0 - cell.bound_byte_hit_ratio,
            1.0 - trace.infinite_hit_ratio,
            1.0 - trace.infinite_byte_hit_ratio,
        );
    }
    text
}
