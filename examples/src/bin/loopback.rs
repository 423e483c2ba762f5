//! A camera's pictures through the VP8 encoder and back through the decoder, without any network.
//!
//! ```text
//! cargo run -p examples --bin loopback
//! cargo run -p examples --bin loopback -- --camera file:clip.y4m --seconds 10 --bitrate 500000
//! ```
//!
//! Shows how `media`'s parts fit: the camera's thread leaves its latest picture in a [`Slot`], an encoder of
//! that size turns it into VP8, a decoder turns that into a picture again. Each second one line tells the
//! sizes, the bitrate, how near the decoded picture is to the camera's (PSNR of luma, in dB: more is better,
//! above 35 few people see a difference) and how long encoding and decoding took.

use anyhow::{Context, Result, bail};
use clap::Parser;
use media::codec::vp8::{Vp8Decoder, Vp8Encoder, Vp8Settings};
use media::codec::{VideoDecoder, VideoEncoder};
use media::pool::Pool;
use media::{Camera, CameraEvent, CameraUse, Frame, I420, Slot};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

/// A camera through the encoder and back.
#[derive(Parser)]
struct Args {
    /// A camera's name or id, `default`, `pattern` or `file:CLIP.y4m`.
    #[arg(long, default_value = "pattern")]
    camera: CameraUse,
    /// How long, in seconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Bits a second; by default what suits the picture's size.
    #[arg(long, value_parser = clap::value_parser!(u32).range(20_000..=20_000_000))]
    bitrate: Option<u32>,
}

/// How long a camera may take to give its next picture.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> Result<()> {
    let args = Args::parse();
    let pictures = Slot::<Frame>::default();
    // overflow: an event is dropped; only the first failure matters here.
    let (events, reports) = sync_channel(8);
    let camera = Camera::spawn(
        vec![pictures.clone()],
        Box::new(move |event| {
            let _ = events.try_send(event);
        }),
    );
    camera.use_source(args.camera.clone());

    let mut codec: Option<Codec> = None;
    let mut total = Tally::default();
    let mut second = Tally::default();
    let mut until: Option<Instant> = None;
    loop {
        check(&reports)?;
        let Some(frame) = pictures.wait(Instant::now() + Duration::from_millis(100)) else {
            if total.started.elapsed() > PATIENCE + Duration::from_secs(args.seconds) {
                bail!("the camera {} gives no pictures: choose another one with --camera", args.camera);
            }
            continue;
        };
        let until = *until.get_or_insert(frame.captured + Duration::from_secs(args.seconds));
        let size = (frame.image.width(), frame.image.height());
        // A camera may change its size while it runs; an encoder has one size.
        let codec = match codec.take() {
            Some(fitting) if fitting.encoder.size() == size => codec.insert(fitting),
            _ => codec.insert(Codec::new(size, args.bitrate)?),
        };
        let round = codec.round(&frame)?;
        second.add(&round);
        total.add(&round);
        if second.started.elapsed() >= Duration::from_secs(1) {
            second.print(size, "");
            second = Tally::default();
        }
        if Instant::now() >= until {
            total.print(size, " in all");
            return Ok(());
        }
    }
}

/// What the camera tells of itself, so that a failure is not waited out.
fn check(reports: &Receiver<CameraEvent>) -> Result<()> {
    while let Ok(event) = reports.try_recv() {
        match event {
            CameraEvent::Opened { name, width, height, .. } => println!("{name} gives {width}x{height}"),
            CameraEvent::Failed { error, .. } | CameraEvent::Lost { error, .. } => bail!(error),
            CameraEvent::Closed => bail!("no camera is open: choose one with --camera"),
        }
    }
    Ok(())
}

struct Codec {
    encoder: Vp8Encoder,
    decoder: Vp8Decoder,
    /// The decoder writes its pictures into memory that is used again.
    pool: Pool,
    began: Instant,
}

/// What one picture cost and gave.
struct Round {
    bytes: usize,
    /// Mean squared error of luma; none when the rate control left the picture out.
    error: Option<f64>,
    encode: Duration,
    decode: Duration,
}

impl Codec {
    fn new((width, height): (u32, u32), bitrate: Option<u32>) -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        let mut settings = Vp8Settings::new(width, height, cores);
        settings.bitrate = bitrate.unwrap_or(settings.bitrate);
        println!("encoding {width}x{height} at {} kb/s", settings.bitrate / 1000);
        let (encoder, decoder) = (Vp8Encoder::new(settings)?, Vp8Decoder::new()?);
        Ok(Self { encoder, decoder, pool: Pool::new(), began: Instant::now() })
    }

    fn round(&mut self, frame: &Frame) -> Result<Round> {
        let start = Instant::now();
        // RTP's clock for video: 90 000 ticks a second.
        let ticks = start.duration_since(self.began).as_micros() as i64 * 9 / 100;
        // A real call asks for a keyframe when the other side lost something. Here nothing is lost: the
        // first picture is one, and that is all it takes.
        self.encoder.push(&frame.image, ticks, false)?;
        let encode = start.elapsed();
        let Some(encoded) = self.encoder.pop() else {
            return Ok(Round { bytes: 0, error: None, encode, decode: Duration::ZERO });
        };
        let start = Instant::now();
        self.decoder.push(&encoded.data)?;
        let decoded = self.decoder.pop(&mut self.pool).context("the decoder gave no picture")?;
        let decode = start.elapsed();
        let error = Some(squared_error(&frame.image, &decoded));
        Ok(Round { bytes: encoded.data.len(), error, encode, decode })
    }
}

fn squared_error(one: &I420, two: &I420) -> f64 {
    let (one, two) = (one.planes()[0], two.planes()[0]);
    let sum: u64 = one.iter().zip(two).map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum();
    sum as f64 / one.len().max(1) as f64
}

/// The sums of a stretch of time.
struct Tally {
    started: Instant,
    frames: u32,
    left_out: u32,
    bytes: usize,
    error: f64,
    encode: Duration,
    decode: Duration,
}

impl Default for Tally {
    fn default() -> Self {
        let (started, zero) = (Instant::now(), Duration::ZERO);
        Self { started, frames: 0, left_out: 0, bytes: 0, error: 0.0, encode: zero, decode: zero }
    }
}

impl Tally {
    fn add(&mut self, round: &Round) {
        self.frames += 1;
        self.left_out += u32::from(round.error.is_none());
        self.bytes += round.bytes;
        self.error += round.error.unwrap_or_default();
        self.encode += round.encode;
        self.decode += round.decode;
    }

    fn print(&self, (width, height): (u32, u32), label: &str) {
        let frames = f64::from(self.frames.max(1));
        let seconds = self.started.elapsed().as_secs_f64();
        let error = self.error / f64::from((self.frames - self.left_out).max(1));
        let psnr = if error > 0.0 { 10.0 * (255.0 * 255.0 / error).log10() } else { 99.0 };
        let kbps = self.bytes as f64 * 8.0 / 1000.0 / seconds;
        let ms = |time: Duration| time.as_secs_f64() * 1000.0 / frames;
        println!(
            "{width}x{height} {:.1} fps{label}, {kbps:.0} kb/s, PSNR {psnr:.1} dB, encode {:.2} ms, decode {:.2} ms, left out {}",
            frames / seconds,
            ms(self.encode),
            ms(self.decode),
            self.left_out
        );
    }
}
