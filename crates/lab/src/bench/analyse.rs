//! From what was recorded to figures, one direction at a time.

use super::figures::{Cost, Figures, Net, Picture, Series, Sound};
use super::freeze::freezes;
use super::quality::{psnr, ssim};
use super::rate;
use super::record::{Record, Source};
use super::scenario::{ADAPTS, Scenario};
use crate::delay::{Sighting, delays_with_times, filled, percentile};
use crate::link::{BIN, Trace};
use anyhow::Result;
use std::ops::Range;
use std::time::{Duration, Instant};

/// The time that is measured, by both clocks.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) start: Instant,
    pub(super) us: Range<u64>,
    /// When the link was whole again, or the address another.
    pub(super) mended_us: Option<u64>,
    /// Whether pictures from before that do not count as being back.
    pub(super) fresh: bool,
}

impl Span {
    pub(super) fn seconds(&self) -> f64 {
        (self.us.end - self.us.start) as f64 / 1e6
    }

    /// Seconds since the start of measuring.
    fn at(&self, us: u64) -> f64 {
        (us as f64 - self.us.start as f64) / 1e6
    }
}

/// One direction: from an end's camera to the other's display.
pub(super) struct Direction<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) span: &'a Span,
    pub(super) from: &'a Record,
    pub(super) to: &'a Record,
    pub(super) trace: &'a Trace,
    pub(super) cost: Cost,
}

impl Direction<'_> {
    /// All but PESQ, which another program tells.
    pub(super) fn figures(&self, clip: &mut Source) -> Result<(Figures, Series)> {
        let delays = self.delays();
        let sent = self.sent();
        let figures = Figures {
            seconds: self.span.seconds(),
            picture: self.picture(&delays, clip)?,
            sound: self.sound(),
            net: self.net(&sent),
            cost: self.cost,
        };
        let target = |stat: &super::record::Stat| Some((self.span.at(stat.at_us), stat.target_kbps?));
        let within = |at: &f64| (0.0..self.span.seconds()).contains(at);
        let series = Series {
            sent_kbps: sent,
            target_kbps: self.from.stats.iter().filter_map(target).filter(|(at, _)| within(at)).collect(),
            delay_ms: delays,
            queue_ms: self.queue(),
        };
        Ok((figures, series))
    }

    /// Of each picture shown in the span: when, seconds, and how long it took, ms.
    fn delays(&self) -> Vec<(f64, f64)> {
        let within = self.to.shown.iter().filter(|shown| self.span.us.contains(&shown.at_us));
        let sighting =
            |shown: &super::record::Shown| Some(Sighting { number: shown.number?, at_us: shown.at_us });
        let shown: Vec<_> = within.filter_map(sighting).collect();
        let all = delays_with_times(&filled(&self.from.source), &shown);
        all.into_iter().map(|(at, ms)| (self.span.at(at), ms)).collect()
    }

    fn picture(&self, delays: &[(f64, f64)], clip: &mut Source) -> Result<Picture> {
        let times: Vec<u64> = self.to.shown.iter().map(|shown| shown.at_us).collect();
        let within = || self.to.shown.iter().filter(|shown| self.span.us.contains(&shown.at_us));
        let (mut likeness, mut noise) = (Vec::new(), Vec::new());
        for look in self.to.looks.iter().filter(|look| self.span.us.contains(&look.at_us)) {
            let Some(source) = clip.luma(look.number)? else { continue };
            likeness.extend(ssim(&source, &look.luma, super::record::SIZE.0 as usize));
            noise.extend(psnr(&source, &look.luma));
        }
        let took: Vec<f64> = delays.iter().map(|(_, ms)| *ms).collect();
        Ok(Picture {
            frames_per_second: within().count() as f64 / self.span.seconds(),
            freezes: freezes(&times, self.span.us.clone()),
            delay_p50_ms: percentile(&took, 0.5),
            delay_p95_ms: percentile(&took, 0.95),
            ssim: mean(&likeness),
            psnr: mean(&noise),
            compared: likeness.len(),
            unread: within().filter(|shown| shown.number.is_none()).count(),
            back_s: self.back(delays),
            lips_p95_ms: self.lips(),
        })
    }

    fn lips(&self) -> Option<f64> {
        let within = self.to.stats.iter().filter(|stat| self.span.us.contains(&stat.at_us));
        let apart: Vec<f64> = within.filter_map(|stat| stat.lips_ms).map(f64::abs).collect();
        percentile(&apart, 0.95)
    }

    fn back(&self, delays: &[(f64, f64)]) -> Option<f64> {
        let mended = self.span.at(self.span.mended_us?);
        let taken = |(at, ms): &(f64, f64)| if self.span.fresh { at - ms / 1000.0 } else { *at };
        delays.iter().find(|delay| taken(delay) >= mended).map(|(at, _)| at - mended)
    }

    fn sound(&self) -> Sound {
        let adapts = ADAPTS.as_secs_f64();
        let mut step_start = 0.0;
        let worst = self.scenario.steps.iter().filter_map(|(seconds, _)| {
            let from = step_start + adapts.min(seconds / 2.0);
            step_start += seconds;
            self.concealed(from, step_start)
        });
        let worst_step_percent = worst.reduce(f64::max);
        let concealed_percent = self.concealed(0.0, self.span.seconds());
        // Counters are told once a second: those told after two seconds are from after the first.
        let mended = self.span.mended_us.map(|us| self.span.at(us));
        let mended_percent = mended.and_then(|at| self.concealed(at + 2.0, at + 4.0));
        Sound { pesq: None, windows: Vec::new(), concealed_percent, worst_step_percent, mended_percent }
    }

    /// Percent of the samples played between two moments that were made up.
    fn concealed(&self, from: f64, to: f64) -> Option<f64> {
        let stat = |at: f64| self.to.stat_at(self.span.us.start + (at * 1e6) as u64);
        let (before, after) = (stat(from)?, stat(to)?);
        let samples = after.samples - before.samples;
        (samples > 0.0).then(|| (after.concealed - before.concealed) / samples * 100.0)
    }

    /// Given to the link in each tenth of a second, kb/s.
    fn sent(&self) -> Vec<f64> {
        let kilobits = |bin: &crate::link::Bin| bin.sent as f64 * 8.0 / 1000.0 / BIN.as_secs_f64();
        self.trace.bins(self.span.start, self.end()).iter().map(kilobits).collect()
    }

    fn end(&self) -> Instant {
        self.span.start + Duration::from_secs_f64(self.span.seconds())
    }

    fn net(&self, sent: &[f64]) -> Net {
        let bins = self.trace.bins(self.span.start, self.end());
        let waits: Vec<f64> = self
            .trace
            .waits(self.span.start, self.end())
            .map(|(_, wait)| wait.as_secs_f64() * 1000.0)
            .collect();
        let rates = self.scenario.rates().into_iter();
        let changes: Vec<rate::Change> = rates
            .filter_map(|(at, rate)| Some(((at * 10.0).round() as usize, rate? as f64 / 1000.0)))
            .collect();
        let plis = [self.span.us.start, self.span.us.end].map(|at| self.to.stat_at(at).map(|stat| stat.plis));
        let packets = bins.iter().map(|bin| u64::from(bin.packets)).sum::<u64>();
        let lost = bins.iter().map(|bin| u64::from(bin.lost)).sum::<u64>();
        Net {
            sent_kbps: mean(sent).unwrap_or_default(),
            lost_percent: lost as f64 * 100.0 / packets.max(1) as f64,
            queue_p95_ms: percentile(&waits, 0.95),
            pli_a_second: plis[0].zip(plis[1]).map(|(before, after)| (after - before) / self.span.seconds()),
            used_percent: rate::used_percent(sent, &changes, (ADAPTS.as_secs_f64() * 10.0) as usize),
            download_kbps: None,
            down_s: rate::down_after(sent, &changes),
            back_s: rate::back_after(sent, &changes),
        }
    }

    /// The longest wait of each tenth of a second.
    fn queue(&self) -> Vec<(f64, f64)> {
        let start = self.span.start.saturating_duration_since(self.trace.start());
        let mut worst: Vec<(f64, f64)> = Vec::new();
        for (at, wait) in self.trace.waits(self.span.start, self.end()) {
            let tenth = ((at - start).as_secs_f64() * 10.0).floor() / 10.0;
            let ms = wait.as_secs_f64() * 1000.0;
            match worst.last_mut() {
                Some((last, most)) if *last == tenth => *most = most.max(ms),
                _ => worst.push((tenth, ms)),
            }
        }
        worst
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::super::record::{Look, Shown, Stat};
    use super::super::scenario;
    use super::*;
    use crate::link::Way;
    use crate::link::model::Pipe;
    use crate::mark::{Clip, Colour, write_clip};

    const START_US: u64 = 1_000_000_000;

    /// An outage from 8 to 11 s; the link has 1000 bytes each 20 ms, else.
    fn pipe(start: Instant) -> Pipe {
        let mut pipe = Pipe::new(Way::default(), 1, start);
        for number in 0..1500u32 {
            let now = start + Duration::from_millis(20) * number;
            if [400, 550].contains(&number) {
                pipe.set(Way { outage: number == 400, ..Way::default() }, now);
            }
            pipe.push(vec![0; 1000], now);
        }
        pipe
    }

    /// 30 pictures a second, each shown 40 ms after it was taken; none from 8 to 11.5 s.
    fn ends() -> (Record, Record) {
        let (mut from, mut to) = (Record::default(), Record::default());
        for i in 0..960u32 {
            let at_us = START_US - 1_000_000 + u64::from(i) * 1_000_000 / 30;
            let number = i % 600;
            from.source.push(Sighting { number, at_us });
            let at_us = at_us + 40_000;
            if !(START_US + 8_000_000..START_US + 11_500_000).contains(&at_us) {
                to.shown.push(Shown { number: Some(number), at_us });
            }
        }
        for second in 0..32u64 {
            // From the ninth second to the eleventh half of the sound is made up.
            let made_up = second.clamp(9, 11) - 9;
            let stat = Stat {
                at_us: START_US - 1_000_000 + second * 1_000_000,
                concealed: made_up as f64 * 24_000.0,
                samples: second as f64 * 48_000.0,
                plis: made_up as f64,
                target_kbps: Some(500.0),
                lips_ms: Some(if second < 2 { -20.0 } else { 10.0 }),
            };
            to.stats.push(stat);
            from.stats.push(stat);
        }
        (from, to)
    }

    #[test]
    fn figures_are_those_of_what_was_recorded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clip.y4m");
        write_clip(&path, &Clip { frames: 2, ..Clip::new(Colour::Green, 1) }).unwrap();
        let mut clip = Source::open(&path).unwrap();
        let scenario = scenario::all().into_iter().find(|scenario| scenario.name == "N11b").unwrap();
        let start = Instant::now();
        let us = START_US..START_US + 30_000_000;
        let span = Span { start, us, mended_us: Some(START_US + 11_000_000), fresh: false };
        let (from, mut to) = ends();
        let luma = clip.luma(1).unwrap().unwrap();
        to.looks =
            [START_US - 5, START_US + 5].map(|at_us| Look { number: 1, at_us, luma: luma.clone() }).to_vec();
        let cost = Cost { cpu: 0.5, pss_megabytes: 20.0 };
        let pipe = pipe(start);
        let direction =
            Direction { scenario: &scenario, span: &span, from: &from, to: &to, trace: pipe.trace(), cost };
        let (figures, series) = direction.figures(&mut clip).unwrap();

        let picture = &figures.picture;
        assert_eq!(
            (picture.delay_p50_ms, picture.compared, picture.unread),
            (Some(40.0), 1, 0),
            "{picture:?}"
        );
        assert_eq!((picture.ssim, picture.freezes.count), (Some(1.0), 1));
        assert!((picture.back_s.unwrap() - 0.5).abs() < 0.04, "{picture:?}");
        assert!((picture.frames_per_second - 26.5).abs() < 0.1, "{picture:?}");
        assert!((figures.frozen_percent() - 3.5 / 0.3).abs() < 0.2, "{picture:?}");
        let sound = &figures.sound;
        assert!((sound.concealed_percent.unwrap() - 100.0 / 30.0).abs() < 0.01, "{sound:?}");
        assert_eq!((sound.mended_percent, picture.lips_p95_ms), (Some(0.0), Some(10.0)));
        let net = &figures.net;
        assert!((net.sent_kbps - 400.0).abs() < 1.0 && (net.lost_percent - 10.0).abs() < 0.1, "{net:?}");
        assert_eq!((net.queue_p95_ms, net.down_s, net.back_s), (None, None, None));
        assert!((net.pli_a_second.unwrap() - 2.0 / 30.0).abs() < 1e-9, "{net:?}");
        assert_eq!((series.sent_kbps.len(), series.target_kbps.len()), (300, 30));
    }
}
