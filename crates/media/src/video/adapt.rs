//! Which size, frame rate and encoder speed keep the picture best at the bitrate there is, and with the
//! processor there is. Pure: time is an argument.
//!
//! Down one level when the encoder cannot keep its quality (quantizer at its end, or pictures dropped), at
//! once when the bitrate is far too low for the level; up again when quality is good and the bitrate suits
//! the next level, after a while that grows with each failure. Short of processor time the encoder first
//! works faster, then smaller.

use std::time::{Duration, Instant};

/// Why pictures are smaller or fewer than the camera gives (W3C `RTCQualityLimitationReason`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Limitation {
    /// They are not.
    #[default]
    None,
    /// The network.
    Bandwidth,
    /// The processor.
    Cpu,
}

/// What to encode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) fps: u32,
}

/// What became of a picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Encoding {
    /// VP8's, 0 (best) to 63; `None`: dropped by the rate control.
    pub(super) quantizer: Option<u8>,
    pub(super) took: Duration,
}

/// Bits for each pixel below which a level is not even tried.
const LEAST_BITS: f64 = 0.014;
/// Bits for each pixel of a keyframe at its coarsest, and how many seconds it may take to send.
const KEY_BITS: f64 = 0.25;
const KEY_TIME: f64 = 0.8;
/// A level is gone back up to only with this much more than its least.
const ROOM: f64 = 1.5;
/// And with this much more at once.
const PLENTY: f64 = 3.0;
/// Quantizer at which a picture falls apart, and at which a larger one can be afforded.
const COARSE: f64 = 52.0;
const FINE: f64 = 36.0;
/// Share of dropped pictures that is too much.
const DROPPED: f64 = 0.3;
/// Quality is judged over so long.
const WINDOW: Duration = Duration::from_millis(1500);
/// A better level is waited for so long, twice as long after each that failed, up to a minute.
const PATIENCE: Duration = Duration::from_secs(4);
const MOST_PATIENCE: Duration = Duration::from_secs(60);
/// Share of the time between pictures that encoding may take, and below which there is plenty.
const BUSY: f64 = 0.75;
const IDLE: f64 = 0.35;
/// libvpx's speeds that are tried when short of time: how much faster than usual.
const SPEEDS: [i32; 3] = [0, 2, 6];
/// The least picture.
const LEAST_HEIGHT: u32 = 180;

#[derive(Debug, Default)]
struct Window {
    since: Option<Instant>,
    encoded: u32,
    dropped: u32,
    quantizers: f64,
    took: Duration,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Adapt {
    levels: Vec<Shape>,
    source: (u32, u32),
    most_fps: u32,
    bitrate: u32,
    /// The level that the bitrate allows, and the best that the processor does.
    level: usize,
    cpu_level: usize,
    speed: usize,
    window: Window,
    good_since: Option<Instant>,
    idle_since: Option<Instant>,
    raised: Option<Instant>,
    patience: Duration,
}

impl Adapt {
    pub(super) fn new(most_fps: u32) -> Self {
        Self {
            levels: Vec::new(),
            source: (0, 0),
            most_fps: most_fps.max(1),
            bitrate: u32::MAX,
            level: 0,
            cpu_level: 0,
            speed: 0,
            window: Window::default(),
            good_since: None,
            idle_since: None,
            raised: None,
            patience: PATIENCE,
        }
    }

    /// Pictures of this size come.
    pub(super) fn set_source(&mut self, size: (u32, u32)) {
        if size != self.source {
            self.source = size;
            self.levels = levels(size, self.most_fps);
            self.level = self.affordable();
            self.cpu_level = 0;
            self.forget();
        }
    }

    /// Bits a second from now on.
    pub(super) fn set_bitrate(&mut self, bps: u32) {
        if f64::from(bps) < 0.8 * f64::from(self.bitrate) {
            // The rate control works off its debt: that is judged once it is paid.
            self.window = Window::default();
        }
        self.bitrate = bps;
        let affordable = self.affordable();
        if affordable > self.level {
            self.level = affordable;
            self.forget();
        }
    }

    /// Bits a second.
    pub(super) fn bitrate(&self) -> u32 {
        self.bitrate
    }

    fn affordable(&self) -> usize {
        let bitrate = f64::from(self.bitrate);
        let fits = |shape: &Shape| bitrate >= least(shape) && bitrate * KEY_TIME >= key_bits(shape);
        self.levels.iter().position(fits).unwrap_or(self.levels.len().saturating_sub(1))
    }

    fn forget(&mut self) {
        self.window = Window::default();
        (self.good_since, self.idle_since) = (None, None);
    }

    /// What to encode now.
    pub(super) fn shape(&self) -> Shape {
        let (width, height) = self.source;
        let whole = Shape { width, height, fps: self.most_fps };
        self.levels.get(self.level.max(self.cpu_level)).copied().unwrap_or(whole)
    }

    /// How much faster than usual libvpx should work.
    pub(super) fn speed(&self) -> i32 {
        SPEEDS.get(self.speed).copied().unwrap_or_default()
    }

    /// Why it is less than the camera gives.
    pub(super) fn limitation(&self) -> Limitation {
        match (self.cpu_level, self.level) {
            (0, 0) => Limitation::None,
            (cpu, level) if cpu > level => Limitation::Cpu,
            _ => Limitation::Bandwidth,
        }
    }

    /// A picture was encoded, or dropped.
    pub(super) fn encoded(&mut self, encoding: Encoding, now: Instant) {
        let window = &mut self.window;
        let since = *window.since.get_or_insert(now);
        match encoding.quantizer {
            Some(quantizer) => {
                window.encoded += 1;
                window.quantizers += f64::from(quantizer);
                window.took += encoding.took;
            }
            None => window.dropped += 1,
        }
        if now.saturating_duration_since(since) >= WINDOW {
            let window = std::mem::take(&mut self.window);
            self.judge_quality(&window, now);
            self.judge_time(&window, now);
        }
    }

    fn judge_quality(&mut self, window: &Window, now: Instant) {
        let all = f64::from(window.encoded + window.dropped);
        let dropped = f64::from(window.dropped) / all.max(1.0);
        let quantizer = window.quantizers / f64::from(window.encoded).max(1.0);
        let bad = dropped > DROPPED || (quantizer > COARSE && dropped > 0.05) || window.encoded == 0;
        let good = dropped < 0.05 && quantizer < FINE;
        if bad {
            self.good_since = None;
            self.worse(now);
        } else if good && self.level > 0 {
            let since = *self.good_since.get_or_insert(now);
            let (next, bitrate) = (&self.levels[self.level - 1], f64::from(self.bitrate));
            let room = bitrate >= ROOM * least(next) && bitrate * KEY_TIME >= ROOM * key_bits(next);
            // Where there is plenty a bad moment has passed; but not where it was tried in vain.
            let plenty = bitrate >= PLENTY * least(next) && self.patience == PATIENCE;
            let patience = if plenty { WINDOW } else { self.patience };
            if room && now.saturating_duration_since(since) >= patience {
                self.level -= 1;
                (self.good_since, self.raised) = (None, Some(now));
            }
        } else {
            self.good_since = None;
        }
    }

    fn worse(&mut self, now: Instant) {
        if self.level + 1 >= self.levels.len() {
            return;
        }
        // A level that failed soon after it was tried is not tried again soon.
        let failed = self.raised.take().is_some_and(|at| now.saturating_duration_since(at) < 4 * WINDOW);
        self.patience = if failed { (self.patience * 2).min(MOST_PATIENCE) } else { PATIENCE };
        self.level += 1;
    }

    fn judge_time(&mut self, window: &Window, now: Instant) {
        if window.encoded < 5 {
            return;
        }
        let load = window.took.as_secs_f64() / f64::from(window.encoded) * f64::from(self.shape().fps);
        if load > BUSY {
            self.idle_since = None;
            if self.speed + 1 < SPEEDS.len() {
                self.speed += 1;
            } else {
                self.cpu_level = (self.level.max(self.cpu_level) + 1).min(self.levels.len() - 1);
            }
        } else if load < IDLE && (self.speed > 0 || self.cpu_level > 0) {
            let since = *self.idle_since.get_or_insert(now);
            if now.saturating_duration_since(since) >= 2 * PATIENCE {
                self.idle_since = None;
                if self.cpu_level > 0 { self.cpu_level -= 1 } else { self.speed -= 1 }
            }
        } else {
            self.idle_since = None;
        }
    }
}

/// What a keyframe takes at its coarsest.
fn key_bits(shape: &Shape) -> f64 {
    f64::from(shape.width * shape.height) * KEY_BITS
}

fn least(shape: &Shape) -> f64 {
    f64::from(shape.width * shape.height * shape.fps) * LEAST_BITS
}

/// From the best to the least: large pictures shrink first, then there are fewer of them, then they shrink on.
fn levels((width, height): (u32, u32), fps: u32) -> Vec<Shape> {
    let half = (fps / 2).max(1);
    let third = (fps / 3).max(1);
    let scaled = |quarters: u32, fps| {
        let side = |length: u32| (length * quarters / 8) & !1;
        Shape { width: side(width), height: side(height), fps }
    };
    let mut all = vec![Shape { width, height, fps }];
    let large = width * height > 700 * 400;
    if large {
        all.extend([scaled(6, fps), scaled(4, fps), scaled(4, half), scaled(3, half), scaled(2, half)]);
        all.push(scaled(2, third));
    } else {
        all.push(Shape { width, height, fps: half });
        all.extend([scaled(6, half), scaled(4, half), scaled(4, third)]);
    }
    all.retain(|shape| shape.height >= LEAST_HEIGHT.min(height) && shape.width >= 2 && shape.height >= 2);
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_millis(33);
    const QUICK: Duration = Duration::from_millis(5);

    /// An encoder of scenes that take so many bits a pixel to look good.
    struct Encoder {
        needs: f64,
        took: Duration,
        now: Instant,
    }

    impl Encoder {
        fn new() -> Self {
            Self { needs: 0.03, took: QUICK, now: Instant::now() }
        }

        fn run(&mut self, adapt: &mut Adapt, seconds: u32) {
            for n in 0..seconds * 30 {
                self.now += FRAME;
                let shape = adapt.shape();
                if n % (30 / shape.fps) != 0 {
                    continue;
                }
                let bits = f64::from(adapt.bitrate) / f64::from(shape.width * shape.height * shape.fps);
                let quantizer = (45.0 - 30.0 * (bits / self.needs).log2()).clamp(2.0, 56.0);
                // At its coarsest it drops pictures.
                let drops = quantizer >= 56.0 && n % 3 == 0;
                let quantizer = (!drops).then_some(quantizer as u8);
                adapt.encoded(Encoding { quantizer, took: self.took }, self.now);
            }
        }
    }

    fn adapt(size: (u32, u32), bitrate: u32) -> Adapt {
        let mut adapt = Adapt::new(30);
        adapt.set_bitrate(bitrate);
        adapt.set_source(size);
        adapt
    }

    #[test]
    fn levels_fall_from_the_whole_picture_to_a_small_one() {
        for size in [(1280, 720), (640, 360), (640, 480), (320, 180), (64, 48)] {
            let all = levels(size, 30);
            assert_eq!(all[0], Shape { width: size.0, height: size.1, fps: 30 });
            assert!(all.windows(2).all(|pair| least(&pair[1]) < least(&pair[0])), "{all:?}");
            assert!(all.iter().all(|shape| shape.fps >= 10 && shape.height >= size.1.min(180)));
        }
    }

    #[test]
    fn with_enough_of_both_nothing_is_limited() {
        let (mut adapt, mut encoder) = (adapt((640, 360), 1_500_000), Encoder::new());
        encoder.run(&mut adapt, 20);
        assert_eq!(adapt.shape(), Shape { width: 640, height: 360, fps: 30 });
        assert_eq!((adapt.limitation(), adapt.speed()), (Limitation::None, 0));
    }

    #[test]
    fn a_thin_link_makes_it_less_at_once_and_a_good_one_more_in_steps() {
        let (mut adapt, mut encoder) = (adapt((1280, 720), 2_000_000), Encoder::new());
        encoder.run(&mut adapt, 5);
        adapt.set_bitrate(100_000);
        let at_once = adapt.shape();
        assert!(at_once.width <= 640, "{at_once:?}");
        assert_eq!(adapt.limitation(), Limitation::Bandwidth);
        encoder.run(&mut adapt, 10);
        let judged = adapt.shape();
        assert!(judged.fps < at_once.fps, "{judged:?} looks no better than {at_once:?}");
        adapt.set_bitrate(2_000_000);
        encoder.run(&mut adapt, 60);
        assert_eq!(adapt.shape(), Shape { width: 1280, height: 720, fps: 30 });
    }

    #[test]
    fn it_does_not_swing_between_two_levels() {
        let (mut adapt, mut encoder) = (adapt((1280, 720), 500_000), Encoder::new());
        let (mut before, mut changes) = (adapt.shape(), 0);
        for _ in 0..180 {
            encoder.run(&mut adapt, 1);
            changes += u32::from(std::mem::replace(&mut before, adapt.shape()) != adapt.shape());
        }
        assert!(changes < 12, "{changes} changes in three minutes");
    }

    #[test]
    fn a_slow_processor_works_faster_first_and_smaller_then() {
        let (mut adapt, mut encoder) = (adapt((1280, 720), 2_000_000), Encoder::new());
        encoder.took = Duration::from_millis(30);
        encoder.run(&mut adapt, 2);
        assert_eq!((adapt.speed(), adapt.limitation()), (2, Limitation::None));
        encoder.run(&mut adapt, 6);
        assert_eq!((adapt.speed(), adapt.limitation()), (6, Limitation::Cpu));
        encoder.took = QUICK;
        encoder.run(&mut adapt, 120);
        assert_eq!((adapt.speed(), adapt.limitation()), (0, Limitation::None));
    }
}
