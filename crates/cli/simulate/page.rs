//! The report as a page: one file, no script, no network, light and dark, readable on a phone.

use larder_simulator::{Cell, Curve, Report};

use super::advice::advice;
use super::chart::{Axis, Line, Scale, bars, escaped, lines};
use super::table;
use crate::failure::Failure;
use crate::units::{rough_size, rough_time};

const STYLE: &str = include_str!("page.css");
/// Columns of the table.
const HEADINGS: [&str; 8] = [
    "capacity",
    "policy",
    "request hits",
    "byte hits",
    "in memory",
    "origin requests",
    "origin bytes",
    "written a day",
];

/// All of it.
pub(super) fn page(report: &Report) -> Result<String, Failure> {
    let data = serde_json::to_string(report).map_err(|error| Failure::Failed(error.into()))?;
    let names: Vec<_> = report.inputs.iter().map(|input| escaped(&input.path)).collect();
    let title = names.join(", ");
    let mut body = format!("<h1>larder simulate</h1>\n<p class=\"inputs\">{title}</p>\n");
    body += &paragraphs(&table::about(&report.trace));
    body += "<section><h2>Advice</h2>\n<ul>\n";
    for sentence in advice(report) {
        body += &format!("<li>{}</li>\n", escaped(&sentence));
    }
    body += "</ul></section>\n";
    body += &section("Miss ratios over all sizes", &curves(report));
    body += &section("Over time", &over_time(report));
    body += &format!("<section><h2>All caches</h2>\n{}</section>\n", cells(report));
    body += &section("Objects", &objects(report));
    body += "<section><h2>What the trace cannot tell</h2>\n<ul>\n";
    for sentence in &report.unknown {
        body += &format!("<li>{}</li>\n", escaped(sentence));
    }
    body += "</ul></section>\n";
    // Within a script element no markup counts but its end.
    let data = data.replace('<', "\\u003c");
    Ok(format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>larder simulate: {title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n{body}\
         <script type=\"application/json\" id=\"report\">{data}</script>\n</body>\n</html>\n"
    ))
}

/// The curves alone, as one drawing.
pub(super) fn drawing(report: &Report) -> String {
    let [requests, bytes] = curves_of(report);
    let place = |svg: &str, x: u32| {
        svg.replacen("<svg ", &format!("<svg x=\"{x}\" y=\"0\" width=\"440\" height=\"350\" "), 1)
    };
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 900 350\"><style>{STYLE}</style>\n{}{}</svg>\n",
        place(&requests, 0),
        place(&bytes, 450)
    )
}

fn paragraphs(text: &str) -> String {
    text.lines().map(|line| format!("<p>{}</p>\n", escaped(line))).collect()
}

fn section(heading: &str, charts: &[(String, String)]) -> String {
    if charts.is_empty() {
        return String::new();
    }
    let figures: String = charts
        .iter()
        .map(|(caption, svg)| {
            format!("<figure><figcaption>{}</figcaption>\n{svg}</figure>\n", escaped(caption))
        })
        .collect();
    format!("<section><h2>{heading}</h2>\n<div class=\"charts\">\n{figures}</div></section>\n")
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn curves(report: &Report) -> Vec<(String, String)> {
    if report.curves.is_empty() {
        return Vec::new();
    }
    let [requests, bytes] = curves_of(report);
    let how = match report.curves.first().map(|curve| curve.sampled) {
        Some(share) if share < 1.0 => format!(
            ", from samples of {:.1} % of the objects; the bands show how far off they may be",
            share * 100.0
        ),
        _ => String::new(),
    };
    vec![
        (format!("Requests that miss, by capacity{how}"), requests),
        ("Bytes that miss, by capacity".to_owned(), bytes),
    ]
}

fn curves_of(report: &Report) -> [String; 2] {
    let capacities =
        || report.curves.iter().flat_map(|curve| &curve.points).map(|point| point.capacity_bytes as f64);
    let x = Axis {
        scale: Scale::Logarithmic,
        from: capacities().fold(f64::INFINITY, f64::min).max(1.0),
        to: capacities().fold(2.0, f64::max),
        label: "capacity",
        write: &|bytes| short_size(bytes),
    };
    let draw = |title: &str, ceiling: f64, of: fn(&Curve) -> Vec<(f64, f64, f64)>| {
        let y = Axis { scale: Scale::Even, from: 0.0, to: 1.0, label: "miss ratio", write: &percent };
        let all: Vec<_> = report
            .curves
            .iter()
            .map(|curve| Line { name: curve.policy.clone(), points: of(curve) })
            .collect();
        lines(title, &x, &y, &all, Some((1.0 - ceiling, "an infinite cache")))
    };
    let trace = &report.trace;
    [
        draw("Requests that miss, by capacity", trace.infinite_hit_ratio, |curve| {
            curve
                .points
                .iter()
                .map(|point| (point.capacity_bytes as f64, 1.0 - point.hit_ratio, point.error))
                .collect()
        }),
        draw("Bytes that miss, by capacity", trace.infinite_byte_hit_ratio, |curve| {
            let points = curve.points.iter();
            points
                .map(|point| (point.capacity_bytes as f64, 1.0 - point.byte_hit_ratio, point.byte_error))
                .collect()
        }),
    ]
}

/// 1 kB, 10 MB: powers of ten, as the marks are.
fn short_size(bytes: f64) -> String {
    let (unit, name) = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")]
        .into_iter()
        .find(|(unit, _)| bytes >= *unit)
        .unwrap_or((1.0, "B"));
    format!("{:.0} {name}", bytes / unit)
}

/// The capacity that most is said about: the one in the middle of those that were asked for.
fn middle(report: &Report) -> u64 {
    let mut capacities: Vec<u64> = report.cells.iter().map(|cell| cell.capacity_bytes).collect();
    capacities.dedup();
    capacities.get((capacities.len().saturating_sub(1)) / 2).copied().unwrap_or(0)
}

fn over_time(report: &Report) -> Vec<(String, String)> {
    let capacity = middle(report);
    let cells: Vec<_> = report.cells.iter().filter(|cell| cell.capacity_bytes == capacity).collect();
    let parts = cells.iter().map(|cell| cell.parts.len()).max().unwrap_or(0);
    if parts < 2 {
        return Vec::new();
    }
    let label = match report.trace.seconds {
        Some(seconds) => format!("share of the requests, in order; {} in all", rough_time(seconds * 1000)),
        None => "share of the requests, in order".to_owned(),
    };
    let x = Axis { scale: Scale::Even, from: 0.0, to: 1.0, label: &label, write: &percent };
    let y = Axis { scale: Scale::Even, from: 0.0, to: 1.0, label: "hit ratio", write: &percent };
    let draw = |title: &str, of: fn(&Cell) -> Vec<f64>| {
        let line = |cell: &&Cell| Line {
            name: cell.policy.clone(),
            points: (0..)
                .zip(of(cell))
                .map(|(at, ratio)| ((f64::from(at) + 0.5) / parts as f64, ratio, 0.0))
                .collect(),
        };
        lines(title, &x, &y, &cells.iter().map(line).collect::<Vec<_>>(), None)
    };
    let size = rough_size(capacity);
    let requests = format!("Request hit ratio at {size}");
    let bytes = format!("Byte hit ratio at {size}");
    vec![
        (requests.clone(), draw(&requests, |cell| cell.parts.iter().map(|part| part.hit_ratio).collect())),
        (bytes.clone(), draw(&bytes, |cell| cell.parts.iter().map(|part| part.byte_hit_ratio).collect())),
    ]
}

fn objects(report: &Report) -> Vec<(String, String)> {
    let trace = &report.trace;
    let mut charts = Vec::new();
    if let (Some((last, _)), Some((_, most))) = (trace.ranks.last(), trace.ranks.first())
        && *last > 1
    {
        let write = |mark: f64| short_number(mark);
        let x = Axis {
            scale: Scale::Logarithmic,
            from: 1.0,
            to: *last as f64,
            label: "rank of the object",
            write: &write,
        };
        let to = f64::from(*most).max(2.0);
        let y = Axis { scale: Scale::Logarithmic, from: 1.0, to, label: "requests", write: &write };
        let points = trace.ranks.iter().map(|(rank, count)| (*rank as f64, f64::from(*count), 0.0)).collect();
        let line = Line { name: "requests for the object".to_owned(), points };
        let once =
            trace.popularity.first().map_or(0, |class| class.objects) as f64 / trace.objects.max(1) as f64;
        let caption = format!("Popularity: {:.1} % of the objects were asked for once", once * 100.0);
        charts.push((caption, lines("Popularity", &x, &y, &[line], None)));
    }
    if trace.sizes.len() > 1 {
        let share = |part: u64, all: u64| part as f64 / all.max(1) as f64;
        let first = trace.sizes.iter().position(|class| class.objects > 0).unwrap_or(0);
        let bytes: u64 = trace.sizes.iter().map(|class| class.bytes).sum();
        let groups: Vec<_> = trace
            .sizes
            .iter()
            .skip(first)
            .map(|class| {
                let shares = vec![
                    share(class.objects, trace.objects),
                    share(class.requests, trace.requests),
                    share(class.bytes, bytes),
                ];
                (binary_size(class.up_to), shares)
            })
            .collect();
        let most = groups.iter().flat_map(|(_, shares)| shares).copied().fold(0.01, f64::max);
        let y = Axis { scale: Scale::Even, from: 0.0, to: most, label: "share", write: &percent };
        let svg = bars("Sizes", &y, &["objects", "requests", "bytes"], &groups, "size, up to");
        charts.push(("Sizes: how much belongs to objects of which size".to_owned(), svg));
    }
    charts
}

fn short_number(number: f64) -> String {
    match number {
        number if number >= 1e6 => format!("{:.0} M", number / 1e6),
        number if number >= 1e3 => format!("{:.0} k", number / 1e3),
        number => format!("{number:.0}"),
    }
}

/// A power of two without a fraction.
fn binary_size(bytes: u64) -> String {
    let (shift, name) = [(40, "Ti"), (30, "Gi"), (20, "Mi"), (10, "Ki")]
        .into_iter()
        .find(|(shift, _)| bytes >> shift > 0)
        .unwrap_or((0, ""));
    format!("{}{name}", bytes >> shift)
}

fn cells(report: &Report) -> String {
    let tiers = report.cells.iter().any(|cell| cell.memory_hit_ratio.is_some());
    let days = report.cells.iter().any(|cell| cell.drive_writes_per_day.is_some());
    let shown = |heading: &str| (tiers || heading != "in memory") && (days || heading != "written a day");
    let mut html = "<div class=\"wide\"><table>\n<tr>".to_owned();
    for heading in HEADINGS.into_iter().filter(|heading| shown(heading)) {
        html += &format!("<th>{heading}</th>");
    }
    html += "</tr>\n";
    let percent = |share: f64| format!("{:.2} %", share * 100.0);
    let mut before = None;
    for cell in &report.cells {
        let first = before.replace(cell.capacity_bytes) != Some(cell.capacity_bytes);
        if first {
            html += &format!(
                "<tr class=\"bound\"><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
                rough_size(cell.capacity_bytes),
                bound(cell),
                percent(cell.bound_hit_ratio),
                percent(cell.bound_byte_hit_ratio)
            );
        }
        let values = [
            ("capacity", String::new()),
            ("policy", cell.policy.clone()),
            ("request hits", percent(cell.hit_ratio)),
            ("byte hits", percent(cell.byte_hit_ratio)),
            ("in memory", cell.memory_hit_ratio.map_or_else(String::new, percent)),
            ("origin requests", cell.origin_requests.to_string()),
            ("origin bytes", rough_size(cell.origin_bytes)),
            (
                "written a day",
                cell.drive_writes_per_day.map_or_else(String::new, |writes| format!("{writes:.2} x")),
            ),
        ];
        html += "<tr>";
        for (_, value) in values.iter().filter(|(heading, _)| shown(heading)) {
            html += &format!("<td>{}</td>", escaped(value));
        }
        html += "</tr>\n";
    }
    html += "</table></div>\n<p class=\"note\">The first line of each capacity is a bound: what no cache of that size could \
             exceed. ";
    if days {
        html += "Written a day: how often the whole capacity is written anew in a day, to be compared with the drive \
                 writes per day (DWPD) that an SSD is rated for.";
    }
    html + "</p>\n"
}

fn bound(cell: &Cell) -> &'static str {
    if cell.bound == "belady" { "best possible (Belady)" } else { "no better than (PFOO-L)" }
}
