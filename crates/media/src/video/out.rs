//! Pictures out: one thread that encodes whatever the camera gave last.

use super::adapt::{Adapt, Encoding, Limitation, Shape};
use super::rate::Rate;
use super::time::{Budget, Cadence, MediaClock};
use crate::codec::vp8::{Vp8Encoder, Vp8Settings, default_bitrate, most_bitrate};
use crate::codec::{CodecError, VideoEncoder};
use crate::convert::{fit, scale};
use crate::frame::{Frame, I420};
use crate::pool::Pool;
use crate::slot::Slot;
use bytes::Bytes;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// An encoded picture with its place in time.
#[derive(Clone, Debug)]
pub struct EncodedFrame {
    /// One whole VP8 picture.
    pub data: Bytes,
    /// Whether it can be decoded without any picture before it.
    pub key: bool,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// RTP time, 90 kHz, from `captured` and a random start; never the same for two pictures.
    pub timestamp: u32,
    /// When the camera took it.
    pub captured: Instant,
}

/// How pictures are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VideoSettings {
    /// Larger pictures are scaled down to fit into this.
    pub max_width: u32,
    /// Larger pictures are scaled down to fit into this.
    pub max_height: u32,
    /// Pictures per second; more are left out.
    pub max_fps: u32,
    /// Bits per second; by default what suits the picture's size.
    pub bitrate: Option<u32>,
    /// libvpx's denoiser: better from a noisy camera, 35-40 % more CPU time.
    pub denoise: bool,
}

impl Default for VideoSettings {
    fn default() -> Self {
        Self { max_width: 1280, max_height: 720, max_fps: 30, bitrate: None, denoise: false }
    }
}

/// What the encoder has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct VideoOutStats {
    /// Pictures handed to the sink.
    pub frames_encoded: u64,
    /// Keyframes among them.
    pub keyframes: u64,
    /// Pixels across of the last one.
    pub width: u32,
    /// Pixels down of the last one.
    pub height: u32,
    /// Pictures in the last second.
    pub fps: f64,
    /// Milliseconds to encode one, a running mean.
    pub encode_ms: f64,
    /// Target, bits per second.
    pub bitrate: u32,
    /// Pictures that the rate control or a network that is behind left out.
    pub frames_dropped: u64,
    /// Why pictures are smaller or fewer than the camera gives.
    pub limitation: Limitation,
    /// Nothing is sent, so that the sound does not suffer.
    pub suspended: bool,
}

/// Forced keyframes come no closer than this; libvpx's own are not counted.
const KEYFRAME_GAP: Duration = Duration::from_millis(200);

/// Marks "no bitrate was set": the default for the size holds.
const BY_SIZE: u32 = 0;

struct Shared {
    key_wanted: AtomicBool,
    bitrate: AtomicU32,
    suspended: AtomicBool,
    stop: AtomicBool,
    /// Held while the sink is called, so that turning it off is final.
    gate: Mutex<Gate>,
    stats: Mutex<(VideoOutStats, Rate)>,
}

/// Whether pictures may leave: those only that were taken since it was last opened.
#[derive(Clone, Copy)]
struct Gate {
    on: bool,
    since: Instant,
}

impl Gate {
    fn lets(&self, captured: Instant) -> bool {
        self.on && captured >= self.since
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The values guarded are whole after each assignment, whoever panicked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread "video encoder"; dropping it joins the thread.
pub struct VideoOut {
    shared: Arc<Shared>,
    input: Slot<Frame>,
    thread: Option<JoinHandle<()>>,
}

impl VideoOut {
    /// Starts encoding what comes into `input`, turned on. The sink is called on the encoder's thread and
    /// must not block; it may ask for keyframes, but not call [`VideoOut::set_on`].
    pub fn spawn(
        input: Slot<Frame>,
        sink: Box<dyn FnMut(EncodedFrame) + Send>,
        settings: VideoSettings,
    ) -> VideoOut {
        Self::spawn_paced(input, sink, Box::new(|| false), settings)
    }

    /// As [`Self::spawn`]; a picture is left out before it is encoded, so that none depends on it, whenever `behind`
    /// says that earlier ones still wait for the network. It is called on the encoder's thread.
    pub fn spawn_paced(
        input: Slot<Frame>,
        sink: Box<dyn FnMut(EncodedFrame) + Send>,
        behind: Box<dyn Fn() -> bool + Send>,
        settings: VideoSettings,
    ) -> VideoOut {
        // A picture that waits in the slot already may be taken.
        let started = Instant::now().checked_sub(Duration::from_secs(1)).unwrap_or_else(Instant::now);
        let shared = Arc::new(Shared {
            key_wanted: AtomicBool::new(false),
            bitrate: AtomicU32::new(settings.bitrate.unwrap_or(BY_SIZE)),
            suspended: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            gate: Mutex::new(Gate { on: true, since: started }),
            stats: Mutex::default(),
        });
        let worker = Worker::new(shared.clone(), input.clone(), Ways { sink, behind }, settings);
        let thread = std::thread::Builder::new()
            .name("video encoder".into())
            .spawn(move || worker.run())
            .inspect_err(|error| tracing::error!(%error, "no thread for the video encoder: no video is sent"))
            .ok();
        VideoOut { shared, input, thread }
    }

    /// The next picture becomes a keyframe; wishes within 200 ms of the last one made are fulfilled then.
    pub fn request_keyframe(&self) {
        self.shared.key_wanted.store(true, Ordering::Relaxed);
    }

    /// Bits per second from the next picture on.
    pub fn set_bitrate(&self, bps: u32) {
        self.shared.bitrate.store(bps.clamp(30_000, 20_000_000), Ordering::Relaxed);
    }

    /// Suspended, nothing is sent until the network carries more than sound; goes on with a keyframe. Leaves
    /// [`Self::set_on`] as it is.
    pub fn set_suspended(&self, suspended: bool) -> bool {
        let before = self.shared.suspended.swap(suspended, Ordering::Relaxed);
        if before && !suspended {
            self.request_keyframe();
        }
        lock(&self.shared.stats).0.suspended = suspended;
        before != suspended
    }

    /// Off: nothing is encoded, and once this returns the sink is not called. On: starts with a keyframe.
    pub fn set_on(&self, on: bool) {
        self.request_keyframe();
        let mut gate = lock(&self.shared.gate);
        if gate.on != on {
            *gate = Gate { on, since: Instant::now() };
        }
    }

    /// What was done so far.
    pub fn stats(&self) -> VideoOutStats {
        let stats = lock(&self.shared.stats);
        VideoOutStats { fps: stats.1.per_second(Instant::now()), ..stats.0 }
    }
}

impl Drop for VideoOut {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.input.nudge();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the video encoder's thread panicked");
        }
    }
}

/// What the encoder's thread calls.
struct Ways {
    sink: Box<dyn FnMut(EncodedFrame) + Send>,
    behind: Box<dyn Fn() -> bool + Send>,
}

struct Worker {
    shared: Arc<Shared>,
    input: Slot<Frame>,
    ways: Ways,
    settings: VideoSettings,
    encoder: Option<Box<dyn VideoEncoder>>,
    adapt: Adapt,
    cadence: Cadence,
    budget: Budget,
    /// As the encoder has them.
    bitrate: u32,
    speed: i32,
    clock: MediaClock,
    forced: Option<Instant>,
    scaled: Pool,
}

impl Worker {
    fn new(shared: Arc<Shared>, input: Slot<Frame>, ways: Ways, settings: VideoSettings) -> Self {
        Self {
            shared,
            input,
            ways,
            adapt: Adapt::new(settings.max_fps),
            cadence: Cadence::default(),
            budget: Budget::default(),
            settings,
            encoder: None,
            bitrate: 0,
            speed: 0,
            clock: MediaClock::new(Instant::now()),
            forced: None,
            scaled: Pool::new(),
        }
    }

    fn run(mut self) {
        while !self.shared.stop.load(Ordering::Relaxed) && !self.input.is_closed() {
            let far = Instant::now() + Duration::from_secs(3600);
            let Some(frame) = self.input.wait(far) else { continue };
            if !lock(&self.shared.gate).lets(frame.captured) || self.shared.suspended.load(Ordering::Relaxed)
            {
                self.budget.pause();
                continue;
            }
            let shape = self.shape(&frame.image);
            if !self.cadence.takes(frame.captured, shape.fps) {
                continue;
            }
            self.budget.take(frame.captured, shape.fps);
            if (self.ways.behind)() {
                // The bitrate will follow: that says nothing of this size's quality.
                self.count_dropped();
                continue;
            }
            if let Err(error) = self.encode(&frame, shape) {
                tracing::warn!(%error, "a picture was not encoded; the next one gets a new encoder");
                self.encoder = None;
            }
        }
    }

    /// What to make of a picture of the camera's.
    fn shape(&mut self, image: &I420) -> Shape {
        let most = (self.settings.max_width, self.settings.max_height);
        let size = fit((image.width(), image.height()), most);
        let bitrate = match self.shared.bitrate.load(Ordering::Relaxed) {
            BY_SIZE => default_bitrate(size.0, size.1),
            bps => bps.min(most_bitrate(size.0, size.1)),
        };
        self.adapt.set_bitrate(bitrate);
        self.adapt.set_source(size);
        self.adapt.shape()
    }

    fn dropped(&mut self) {
        self.adapt.encoded(Encoding { quantizer: None, took: Duration::ZERO }, Instant::now());
        self.count_dropped();
    }

    fn count_dropped(&self) {
        let mut guard = lock(&self.shared.stats);
        guard.0.frames_dropped += 1;
        guard.0.limitation = self.adapt.limitation();
    }

    fn encode(&mut self, frame: &Frame, shape: Shape) -> Result<(), CodecError> {
        let started = Instant::now();
        let picture = self.fitted(&frame.image, shape);
        self.prepare(shape)?;
        let Some(encoder) = &mut self.encoder else { return Ok(()) };
        let force = self.shared.key_wanted.load(Ordering::Relaxed)
            && self.forced.is_none_or(|last| started.saturating_duration_since(last) >= KEYFRAME_GAP);
        if force {
            // Taken before encoding: a wish that comes meanwhile is for a later keyframe.
            self.shared.key_wanted.store(false, Ordering::Relaxed);
            self.forced = Some(started);
        }
        let ticks = self.clock.ticks(frame.captured);
        encoder.push(&picture, self.budget.spend(), force)?;
        let Some(encoded) = encoder.pop() else {
            // The rate control dropped the picture, and the wish with it.
            self.dropped();
            if force {
                self.request_again();
            }
            return Ok(());
        };
        if force && !encoded.key {
            self.request_again();
        }
        let took = started.elapsed();
        self.adapt.encoded(Encoding { quantizer: Some(encoded.quantizer), took }, started + took);
        self.deliver(frame, &picture, encoded, ticks, started);
        Ok(())
    }

    fn request_again(&mut self) {
        self.forced = None;
        self.shared.key_wanted.store(true, Ordering::Relaxed);
    }

    fn deliver(
        &mut self,
        frame: &Frame,
        picture: &I420,
        encoded: crate::codec::EncodedPicture,
        ticks: i64,
        started: Instant,
    ) {
        let (width, height) = (picture.width(), picture.height());
        let gate = lock(&self.shared.gate);
        if !gate.lets(frame.captured) {
            return;
        }
        self.count((width, height), encoded.key, started);
        (self.ways.sink)(EncodedFrame {
            key: encoded.key,
            data: encoded.data,
            width,
            height,
            timestamp: self.clock.timestamp(ticks),
            captured: frame.captured,
        });
    }

    fn count(&self, (width, height): (u32, u32), key: bool, started: Instant) {
        let now = Instant::now();
        let mut guard = lock(&self.shared.stats);
        let (stats, rate) = &mut *guard;
        rate.count(now);
        let spent = now.saturating_duration_since(started).as_secs_f64() * 1e3;
        let old = if stats.frames_encoded == 0 { spent } else { stats.encode_ms };
        *stats = VideoOutStats {
            frames_encoded: stats.frames_encoded + 1,
            keyframes: stats.keyframes + u64::from(key),
            width,
            height,
            fps: 0.0,
            encode_ms: old + (spent - old) / 16.0,
            bitrate: self.bitrate,
            limitation: self.adapt.limitation(),
            ..*stats
        };
    }

    /// The picture, scaled down if it is larger than what we send.
    fn fitted(&mut self, image: &Arc<I420>, Shape { width, height, .. }: Shape) -> Arc<I420> {
        if (width, height) == (image.width(), image.height()) {
            return image.clone();
        }
        let scaled = self.scaled.picture(width, height, |target| {
            scale(image, target);
            Ok::<(), std::convert::Infallible>(())
        });
        match scaled {
            Ok(picture) => picture,
            Err(never) => match never {},
        }
    }

    /// Sees to an encoder of this shape at the wanted bitrate. A new one starts with a keyframe by itself.
    fn prepare(&mut self, Shape { width, height, fps }: Shape) -> Result<(), CodecError> {
        let (bitrate, speed) = (self.adapt.bitrate(), self.adapt.speed());
        match &mut self.encoder {
            Some(encoder) if encoder.size() == (width, height) => {
                if bitrate != self.bitrate {
                    encoder.set_bitrate(bitrate)?;
                }
            }
            _ => {
                let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
                let settings = Vp8Settings {
                    bitrate,
                    fps,
                    denoise: self.settings.denoise,
                    ..Vp8Settings::new(width, height, cores)
                };
                // The old one goes first: two at once would double the memory for nothing.
                self.encoder = None;
                self.encoder = Some(Box::new(Vp8Encoder::new(settings)?));
                self.speed = 0;
            }
        }
        if let Some(encoder) = &mut self.encoder
            && speed != self.speed
        {
            encoder.set_speed(speed)?;
            self.speed = speed;
        }
        self.bitrate = bitrate;
        Ok(())
    }
}
