//! A scenario's plots as one SVG file: what was sent, and how long pictures took, over time. Pure.

use super::scenario::Scenario;
use super::{Entry, Kind};
use std::fmt::Write;

const WIDTH: f64 = 720.0;
const LEFT: f64 = 56.0;
const PANEL: f64 = 120.0;
const GAP: f64 = 34.0;
/// Nothing above this is drawn, ms: an outage's catching up would flatten the rest.
const MOST_DELAY: f64 = 1500.0;

/// A panel's place and scale.
struct Panel {
    top: f64,
    seconds: f64,
    most: f64,
}

impl Panel {
    fn x(&self, seconds: f64) -> f64 {
        LEFT + seconds / self.seconds * (WIDTH - LEFT - 10.0)
    }

    fn y(&self, value: f64) -> f64 {
        self.top + PANEL * (1.0 - (value / self.most).min(1.0))
    }

    fn line(&self, points: &[(f64, f64)], colour: &str) -> String {
        let place = |(at, value): &(f64, f64)| format!("{:.1},{:.1}", self.x(*at), self.y(*value));
        let points: Vec<String> = points.iter().map(place).collect();
        format!("<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\"/>\n", points.join(" "))
    }

    fn dots(&self, points: &[(f64, f64)], colour: &str) -> String {
        let mut path = String::new();
        for (at, value) in points {
            // Writing to a String cannot fail.
            let _ = write!(path, "M{:.1} {:.1}h1", self.x(*at), self.y(*value));
        }
        format!("<path d=\"{path}\" stroke=\"{colour}\" stroke-width=\"1.5\"/>\n")
    }

    /// Frame, scale and words.
    fn frame(&self, title: &str, unit: &str) -> String {
        let (right, bottom) = (self.x(self.seconds), self.top + PANEL);
        let mut text = format!(
            "<path d=\"M{LEFT} {}V{bottom}H{right}\" fill=\"none\" stroke=\"#888\"/>\n<text x=\"{LEFT}\" y=\"{}\">{title}</text>\n",
            self.top,
            self.top - 6.0
        );
        for part in [0.0, 0.5, 1.0] {
            let (value, y) = (self.most * part, self.y(self.most * part) + 4.0);
            let _ = writeln!(
                text,
                "<text x=\"{}\" y=\"{y:.0}\" text-anchor=\"end\">{value:.0}</text>",
                LEFT - 4.0
            );
        }
        let step = if self.seconds > 20.0 { 10.0 } else { 2.0 };
        let mut at = step;
        while at <= self.seconds {
            let _ = writeln!(
                text,
                "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"middle\">{at:.0} s</text>",
                self.x(at),
                bottom + 13.0
            );
            at += step;
        }
        let _ = writeln!(text, "<text x=\"4\" y=\"{:.0}\">{unit}</text>", self.top - 6.0);
        text
    }
}

/// The first run of each kind of direction, one below the other; `None` when there is none.
pub fn svg(scenario: &Scenario, entries: &[Entry]) -> Option<String> {
    let mut drawn: Vec<&Entry> = Vec::new();
    for entry in entries.iter().filter(|entry| entry.scenario == scenario.name) {
        if drawn.iter().all(|one| (one.from, one.to) != (entry.from, entry.to)) {
            drawn.push(entry);
        }
    }
    if drawn.is_empty() {
        return None;
    }
    let most_sent = drawn.iter().flat_map(|entry| &entry.series.sent_kbps).copied().fold(100.0, f64::max);
    // What floods a line is seen well enough at twice its rate.
    let line = scenario.rates().iter().filter_map(|(_, rate)| *rate).max();
    let most_sent = line.map_or(most_sent, |line| most_sent.min(line as f64 / 500.0));
    let delays = || drawn.iter().flat_map(|entry| &entry.series.delay_ms).map(|(_, ms)| *ms);
    let most_delay = delays().fold(100.0, f64::max).min(MOST_DELAY);
    let mut body = String::new();
    let mut top = 24.0;
    for entry in &drawn {
        let seconds = entry.figures.seconds;
        let who = format!("{:?} → {:?}", entry.from, entry.to);
        let panel = Panel { top, seconds, most: most_sent };
        body += &sent(&panel, scenario, entry, &who);
        let panel = Panel { top: top + PANEL + GAP, seconds, most: most_delay };
        body += &panel.frame(&format!("{who}: source to display (green), queue (grey)"), "ms");
        body += &panel.line(&entry.series.queue_ms, "#aaa");
        body += &panel.dots(&entry.series.delay_ms, "#2a2");
        top += 2.0 * (PANEL + GAP);
    }
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{top}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{body}</svg>\n"
    ))
}

fn sent(panel: &Panel, scenario: &Scenario, entry: &Entry, who: &str) -> String {
    let mut text =
        panel.frame(&format!("{who}: sent (blue), encoder's target (orange), line (black)"), "kb/s");
    let sent: Vec<(f64, f64)> =
        entry.series.sent_kbps.iter().enumerate().map(|(i, kbps)| (i as f64 / 10.0, *kbps)).collect();
    text += &panel.line(&sent, if entry.from == Kind::Snug { "#26c" } else { "#69c" });
    let rates = scenario.rates();
    for (index, (from, rate)) in rates.iter().enumerate() {
        let to = rates.get(index + 1).map_or(panel.seconds, |next| next.0);
        if let Some(rate) = rate {
            let kbps = *rate as f64 / 1000.0;
            text += &panel.line(&[(*from, kbps), (to, kbps)], "#000");
        }
    }
    text += &panel.line(&entry.series.target_kbps, "#e80");
    text
}

#[cfg(test)]
mod tests {
    use super::super::figures::{Figures, Series};
    use super::*;

    #[test]
    fn each_kind_of_direction_is_drawn_once_and_within_the_picture() {
        let scenario = super::super::scenario::all().swap_remove(9);
        let series = Series {
            sent_kbps: vec![1000.0; 420],
            target_kbps: vec![(1.0, 900.0), (2.0, 99_999.0)],
            delay_ms: vec![(0.5, 30.0), (1.0, 90_000.0)],
            queue_ms: vec![(0.1, 10.0)],
        };
        let figures = Figures { seconds: 42.0, ..Figures::default() };
        let entry =
            Entry { scenario: scenario.name, from: Kind::Snug, to: Kind::Snug, run: 0, figures, series };
        let entries =
            [entry.clone(), Entry { run: 1, ..entry.clone() }, Entry { to: Kind::Chromium, ..entry }];
        let picture = svg(&scenario, &entries).unwrap();
        assert_eq!(picture.matches("Snug → Snug: sent").count(), 1);
        assert_eq!(picture.matches("Snug → Chromium: sent").count(), 1);
        assert!(!picture.contains("NaN") && !picture.contains(",-") && picture.contains("40 s"), "{picture}");
        assert_eq!(svg(&super::super::scenario::all()[0], &entries), None);
    }
}
