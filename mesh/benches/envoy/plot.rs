//! The figures as a picture: how many times better than Envoy, and what was asked for.

use std::fmt::Write as _;

use crate::{Bar, Row};

const LABEL: f64 = 330.0;
const WIDTH: f64 = 860.0;
const LINE: f64 = 34.0;
const TOP: f64 = 58.0;
/// Everything from here on is drawn as far.
const MOST: f64 = 16.0;

/// A bar for each row, on a logarithmic scale on which Envoy is 1 and better is to the right.
pub fn svg(rows: &[Row]) -> String {
    let height = TOP + LINE * rows.len() as f64 + 30.0;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"16\" y=\"24\" font-size=\"16\" font-weight=\"bold\">nacre-mesh against Envoy in the same slot</text>\n\
         <text x=\"16\" y=\"43\" fill=\"#555\">per second of the proxy's own CPU time; right of 1 is better than Envoy; \
         the mark is what was asked for</text>\n"
    );
    for tick in [0.5, 1.0, 2.0, 4.0, 8.0, 16.0] {
        let x = place(tick);
        let _ = writeln!(
            text,
            "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{:.1}\" stroke=\"{}\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555\">{tick}</text>",
            height - 28.0,
            if tick == 1.0 { "#333" } else { "#ddd" },
            height - 10.0,
        );
    }
    for (number, row) in rows.iter().enumerate() {
        let y = TOP + LINE * number as f64 + 6.0;
        let (better, wanted) = match row.bar {
            Bar::AtLeast(bar) => (row.ratio, bar),
            Bar::AtMost(bar) => (1.0 / row.ratio, 1.0 / bar),
            Bar::Absolute(bar) => (1.0 / row.ratio, row.envoy / bar),
        };
        let (from, to) = (place(1.0).min(place(better)), place(1.0).max(place(better)));
        let (label, base, mark, colour) = (
            LABEL - 10.0,
            y + 15.0,
            place(wanted),
            if better >= wanted {
                "#2e6f95"
            } else {
                "#c98a2b"
            },
        );
        let _ = writeln!(
            text,
            "<text x=\"{label:.1}\" y=\"{base:.1}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{from:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"20\" fill=\"{colour}\"/>\
             <line x1=\"{mark:.1}\" y1=\"{:.1}\" x2=\"{mark:.1}\" y2=\"{:.1}\" stroke=\"#b03a2e\" stroke-width=\"2\"/>\
             <text x=\"{:.1}\" y=\"{base:.1}\" fill=\"#333\">{}</text>",
            row.what,
            to - from,
            y - 3.0,
            y + 23.0,
            to.max(mark) + 6.0,
            figures(row),
        );
    }
    text.push_str("</svg>\n");
    text
}

fn figures(row: &Row) -> String {
    let digits = usize::from(row.nacre < 100.0);
    format!(
        "{:.digits$} : {:.digits$} {}",
        row.nacre, row.envoy, row.unit
    )
}

fn place(ratio: f64) -> f64 {
    let span = WIDTH - LABEL - 130.0;
    LABEL + span * (ratio.clamp(0.5, MOST) / 0.5).log2() / (MOST / 0.5).log2()
}
