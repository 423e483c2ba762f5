//! What one direction of one call showed.

use super::freeze::Freezes;
use serde::Serialize;

/// One direction of one call.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    /// What was measured, seconds.
    pub seconds: f64,
    /// At the far side.
    pub picture: Picture,
    /// At the far side.
    pub sound: Sound,
    /// On the link.
    pub net: Net,
    /// Of the end that sends this direction (and receives the other).
    pub cost: Cost,
}

/// What the far side saw.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Picture {
    /// Pictures shown a second.
    pub frames_per_second: f64,
    /// By W3C's rule.
    pub freezes: Freezes,
    /// Source to display.
    pub delay_p50_ms: Option<f64>,
    /// Source to display.
    pub delay_p95_ms: Option<f64>,
    /// Mean structural similarity of luma, against the source's picture of the same number.
    pub ssim: Option<f64>,
    /// Mean peak signal to noise of luma, dB.
    pub psnr: Option<f64>,
    /// How many pictures that is of.
    pub compared: usize,
    /// Pictures whose number could not be read.
    pub unread: usize,
    /// After an outage or a change of address: seconds until a picture was shown again.
    pub back_s: Option<f64>,
    /// Of the time, once it was measured, 95 % had lips and voice no further apart, ms; Snug tells it.
    pub lips_p95_ms: Option<f64>,
}

/// What the far side heard.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Sound {
    /// Wide-band PESQ (P.862.2), the median of the windows; `None` where `pesq` was not to be had.
    pub pesq: Option<f64>,
    /// Of each window of 8 s.
    pub windows: Vec<f64>,
    /// Samples made up, of all that were played.
    pub concealed_percent: Option<f64>,
    /// The same of the worst of the schedule's steps, each without its first seconds.
    pub worst_step_percent: Option<f64>,
    /// After an outage or a change of address: the same of two seconds, from a second after it on.
    pub mended_percent: Option<f64>,
}

/// What the link saw.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Net {
    /// Given to the link (IP bytes).
    pub sent_kbps: f64,
    /// Of the packets, lost by chance or at the queue.
    pub lost_percent: f64,
    /// How long 95 of 100 packets at most waited for the line; of links with a rate.
    pub queue_p95_ms: Option<f64>,
    /// Keyframes that the far side asked for.
    pub pli_a_second: Option<f64>,
    /// For each step with a rate: what was sent of what the line takes, without the step's first seconds.
    pub used_percent: Vec<f64>,
    /// After the worst fall of the rate: seconds until no more was sent than the line takes. `None`: no fall,
    /// or never.
    pub down_s: Option<f64>,
    /// What a download the same way got.
    pub download_kbps: Option<f64>,
    /// After the rate's return: seconds until 80 % of what was sent before was sent again.
    pub back_s: Option<f64>,
}

impl Net {
    /// The least of `used_percent`.
    pub fn least_used_percent(&self) -> Option<f64> {
        self.used_percent.iter().copied().reduce(f64::min)
    }

    /// The most of `used_percent`.
    pub fn most_used_percent(&self) -> Option<f64> {
        self.used_percent.iter().copied().reduce(f64::max)
    }
}

/// What an end took of the machine.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Cost {
    /// Processor seconds a second, whole process tree.
    pub cpu: f64,
    /// Proportional set size of the whole process tree, at the end.
    pub pss_megabytes: f64,
}

/// What changed over time, for plots. Times are seconds since measuring began.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Series {
    /// Sent in each tenth of a second, kb/s.
    pub sent_kbps: Vec<f64>,
    /// The encoder's target, once a second.
    pub target_kbps: Vec<(f64, f64)>,
    /// Of each picture shown: source to display, ms.
    pub delay_ms: Vec<(f64, f64)>,
    /// Of packets: wait for the line, ms; the worst of each tenth of a second.
    pub queue_ms: Vec<(f64, f64)>,
}

impl Figures {
    /// The part of the time in which the picture stood still.
    pub fn frozen_percent(&self) -> f64 {
        self.picture.freezes.total_ms / 10.0 / self.seconds
    }
}
