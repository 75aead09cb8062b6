//! Charts as SVG, without any script: lines over a logarithmic or an even axis, and bars.
//!
//! Colours and fonts come from classes, so that a page decides them, and light and dark with it.

use std::fmt::Write;

/// The drawing is narrow so that its text can be read on a phone.
const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 40.0;
/// Classes for lines, in turn.
const COLOURS: usize = 8;
const MARKS: f64 = 5.0;

/// How an axis is divided.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    Even,
    Logarithmic,
}

/// An axis: how it is divided, from where to where, what it shows and how its marks are written.
pub(super) struct Axis<'a> {
    pub(super) scale: Scale,
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) label: &'a str,
    pub(super) write: &'a dyn Fn(f64) -> String,
}

impl Axis<'_> {
    /// Where a value lies, from zero to one.
    fn place(&self, value: f64) -> f64 {
        let place = match self.scale {
            Scale::Even => (value - self.from) / (self.to - self.from),
            Scale::Logarithmic => (value / self.from).ln() / (self.to / self.from).ln(),
        };
        if place.is_finite() { place.clamp(0.0, 1.0) } else { 0.0 }
    }

    fn marks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Even => {
                let step = nice((self.to - self.from) / MARKS);
                let first = (self.from / step).ceil() as i64;
                let last = (self.to / step + 1e-9).floor() as i64;
                (first..=last).map(|mark| mark as f64 * step).collect()
            }
            Scale::Logarithmic => {
                let powers = self.from.log10().ceil() as i32..=(self.to.log10() + 1e-9).floor() as i32;
                let every = (powers.clone().count() / 6 + 1) as i32;
                powers.filter(|power| power % every == 0).map(|power| 10_f64.powi(power)).collect()
            }
        }
    }
}

/// 1, 2 or 5 times a power of ten, not far above a number.
fn nice(step: f64) -> f64 {
    let power = 10_f64.powf(step.max(1e-12).log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|times| times * power).into_iter().find(|nice| *nice >= step).unwrap_or(step)
}

/// A line: its name, and points with how far off each may be.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64, f64)>,
}

/// Lines between two axes, and perhaps one across at a height that has a name.
pub(super) fn lines(
    title: &str,
    x: &Axis<'_>,
    y: &Axis<'_>,
    lines: &[Line],
    across: Option<(f64, &str)>,
) -> String {
    let legend = legend(lines.iter().map(|line| line.name.as_str()));
    let mut svg = begin(title, legend.rows);
    svg += &frame(x, y);
    let at =
        |(a, b): (f64, f64)| (LEFT + x.place(a) * inner_width(), TOP + (1.0 - y.place(b)) * inner_height());
    if let Some((height, name)) = across {
        let (_, h) = at((x.from, height));
        let end = WIDTH - RIGHT;
        let _ = write!(svg, r#"<path class="across" d="M{LEFT} {h:.1}H{end}"/>"#);
        let _ = write!(
            svg,
            r#"<text class="note" x="{:.1}" y="{:.1}">{}</text>"#,
            LEFT + 4.0,
            h - 3.0,
            escaped(name)
        );
    }
    for (number, line) in lines.iter().enumerate() {
        let class = number % COLOURS;
        let place = |(a, b): (f64, f64)| {
            let (a, b) = at((a, b));
            format!("{a:.1} {b:.1}")
        };
        if line.points.iter().any(|(_, _, error)| *error > 0.0) {
            let above = line.points.iter().map(|(a, b, error)| place((*a, b + error)));
            let below = line.points.iter().rev().map(|(a, b, error)| place((*a, b - error)));
            let band: Vec<_> = above.chain(below).collect();
            let _ = write!(svg, r#"<path class="band f{class}" d="M{}Z"/>"#, band.join("L"));
        }
        let points: Vec<_> = line.points.iter().map(|(a, b, _)| place((*a, *b))).collect();
        let dash = if number >= COLOURS { " dash" } else { "" };
        let _ = write!(svg, r#"<path class="line c{class}{dash}" d="M{}"/>"#, points.join("L"));
    }
    svg += &legend.svg;
    svg + "</svg>\n"
}

/// Groups of bars: a name below each group, and a value for each kind.
pub(super) fn bars(
    title: &str,
    y: &Axis<'_>,
    kinds: &[&str],
    groups: &[(String, Vec<f64>)],
    label: &str,
) -> String {
    let legend = legend(kinds.iter().copied());
    let mut svg = begin(title, legend.rows);
    let nowhere = Axis { scale: Scale::Even, from: 0.0, to: 1.0, label, write: &|_| String::new() };
    svg += &frame(&nowhere, y);
    let step = inner_width() / groups.len().max(1) as f64;
    let wide = step * 0.8 / kinds.len().max(1) as f64;
    let every = groups.len().div_ceil(7);
    for (number, (name, values)) in groups.iter().enumerate() {
        let left = LEFT + step * number as f64 + step * 0.1;
        for (kind, value) in values.iter().enumerate() {
            let high = y.place(*value) * inner_height();
            let (x, top) = (left + wide * kind as f64, TOP + inner_height() - high);
            let class = kind % COLOURS;
            let _ = write!(
                svg,
                r#"<rect class="f{class}" x="{x:.1}" y="{top:.1}" width="{wide:.1}" height="{high:.1}"/>"#
            );
        }
        if number % every == 0 {
            let (x, y) = (left + step * 0.4, TOP + inner_height() + 13.0);
            let _ =
                write!(svg, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="middle">{}</text>"#, escaped(name));
        }
    }
    svg += &legend.svg;
    svg + "</svg>\n"
}

fn begin(title: &str, rows: usize) -> String {
    let high = HEIGHT + 16.0 * rows as f64;
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {WIDTH} {high}" role="img" aria-label="{0}"><title>{0}</title>"#,
        escaped(title)
    )
}

const fn inner_width() -> f64 {
    WIDTH - LEFT - RIGHT
}

const fn inner_height() -> f64 {
    HEIGHT - TOP - BOTTOM
}

fn frame(x: &Axis<'_>, y: &Axis<'_>) -> String {
    let mut svg = String::new();
    let (bottom, end) = (TOP + inner_height(), WIDTH - RIGHT);
    for mark in y.marks() {
        let h = bottom - y.place(mark) * inner_height();
        let _ = write!(svg, r#"<path class="grid" d="M{LEFT} {h:.1}H{end}"/>"#);
        let text = escaped(&(y.write)(mark));
        let _ =
            write!(svg, r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{text}</text>"#, LEFT - 4.0, h + 4.0);
    }
    for mark in x.marks() {
        let text = escaped(&(x.write)(mark));
        if text.is_empty() {
            continue;
        }
        let w = LEFT + x.place(mark) * inner_width();
        let _ = write!(svg, r#"<path class="grid" d="M{w:.1} {TOP}V{bottom}"/>"#);
        let _ =
            write!(svg, r#"<text x="{w:.1}" y="{:.1}" text-anchor="middle">{text}</text>"#, bottom + 13.0);
    }
    let _ = write!(svg, r#"<path class="frame" d="M{LEFT} {TOP}V{bottom}H{end}"/>"#);
    let middle = LEFT + inner_width() / 2.0;
    let _ = write!(
        svg,
        r#"<text class="note" x="{middle:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
        bottom + 29.0,
        escaped(x.label)
    );
    let _ = write!(
        svg,
        r#"<text class="note" transform="rotate(-90)" x="{:.1}" y="10" text-anchor="middle">{}</text>"#,
        -(TOP + inner_height() / 2.0),
        escaped(y.label)
    );
    svg
}

struct Legend {
    svg: String,
    rows: usize,
}

fn legend<'a>(names: impl Iterator<Item = &'a str>) -> Legend {
    let (mut svg, mut x, mut row) = (String::new(), LEFT, 0);
    for (number, name) in names.enumerate() {
        let wide = 28.0 + 6.6 * name.chars().count() as f64;
        if x + wide > WIDTH && x > LEFT {
            (x, row) = (LEFT, row + 1);
        }
        let y = HEIGHT + 10.0 + 16.0 * f64::from(row);
        let class = number % COLOURS;
        let dash = if number >= COLOURS { " dash" } else { "" };
        let _ = write!(svg, r#"<path class="line c{class}{dash}" d="M{x:.1} {:.1}h14"/>"#, y - 4.0);
        let _ = write!(svg, r#"<text x="{:.1}" y="{y:.1}">{}</text>"#, x + 18.0, escaped(name));
        x += wide;
    }
    Legend { svg, rows: row as usize + 1 }
}

/// A text that is no markup.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            char if char.is_control() => safe.push('\u{fffd}'),
            char => safe.push(char),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(scale: Scale, from: f64, to: f64) -> Axis<'static> {
        Axis { scale, from, to, label: "a & b", write: &|mark| format!("{mark}") }
    }

    #[test]
    fn marks_are_round_numbers_within_the_axis() {
        assert_eq!(axis(Scale::Even, 0.0, 1.0).marks(), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert_eq!(axis(Scale::Logarithmic, 300.0, 1e5).marks(), [1e3, 1e4, 1e5]);
    }

    #[test]
    fn nothing_but_numbers_and_safe_text_gets_into_a_drawing() {
        let line = Line { name: "<script>".to_owned(), points: vec![(1.0, f64::NAN, 0.0), (10.0, 2.0, 0.1)] };
        let (x, y) = (axis(Scale::Logarithmic, 1.0, 10.0), axis(Scale::Even, 0.0, 1.0));
        let svg = lines("\"x\"", &x, &y, &[line], Some((0.5, "'ceiling'")));
        assert!(!svg.contains("<script>") && !svg.contains("NaN") && svg.contains("a &amp; b"), "{svg}");
        assert!(svg.contains("band"), "{svg}");
    }
}
