//! Sound to and from a sound server that speaks PulseAudio's protocol, each stream on a connection and a thread of
//! its own: PulseAudio keeps all that one connection plays on one sink. What the server keeps is chosen here: little
//! enough for a conversation, and more for a while once it ran dry.

use std::ffi::CString;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use pulseaudio::protocol::stream::{BufferAttr, StreamFlags};
use pulseaudio::protocol::{self, ChannelMap, Command, ProtocolError, SampleFormat, SampleSpec};

use super::{CONTROL, LAYOUTS, Talk};
use crate::audio::cpal::whole;
use crate::audio::loudest::Loudest;
use crate::audio::margin::Margin;
use crate::audio::ring::{Gauge, Heard, MicFeed, SpeakerFeed};
use crate::codec::opus::RATE;

/// A sample is a 32 bit float, little endian.
const SAMPLE: usize = 4;
/// Left and right.
const WIDE: usize = 2;
/// What the server asks for and gives at a time: 5 ms.
const PIECE: u32 = RATE / 200;
/// What it keeps to play, its device's share too: 20 ms. With as little as twice what it asks for at a time its
/// device would wake up for every half millisecond.
const KEPT: u32 = 4 * PIECE;
/// Pieces that it keeps more once it ran dry, and at most.
const MORE: u32 = 2;
const MOST: u32 = 20;
/// It may ask for this much at once (2 s), and no more is made.
const MOST_ASKED: usize = 2 * RATE as usize;

/// A stream that lasts until this is dropped.
pub(crate) struct PulseStream {
    socket: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl PulseStream {
    fn start(
        name: &str,
        socket: UnixStream,
        gauge: Arc<Gauge>,
        mut run: impl FnMut() -> Result<(), ProtocolError> + Send + 'static,
    ) -> Result<Self, ProtocolError> {
        let run = move || {
            if let Err(error) = run() {
                tracing::info!(%error, "a stream of the sound server's ended");
            }
            gauge.fail();
        };
        let thread = std::thread::Builder::new().name(name.into()).spawn(run)?;
        Ok(Self { socket, thread: Some(thread) })
    }
}

impl Drop for PulseStream {
    fn drop(&mut self) {
        // The thread reads until then.
        let _gone_already = self.socket.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

/// Where a stream goes: the device's name at the server; `stays` there whatever becomes of the default.
pub(crate) struct Place {
    pub(crate) device: CString,
    pub(crate) stays: bool,
}

fn no_server() -> ProtocolError {
    std::io::Error::from(std::io::ErrorKind::NotConnected).into()
}

fn spec(channels: u8) -> SampleSpec {
    SampleSpec { format: SampleFormat::Float32Le, channels, sample_rate: RATE }
}

fn flags(place: &Place) -> StreamFlags {
    StreamFlags { adjust_latency: true, no_move: place.stays, ..Default::default() }
}

/// What the server is to keep of so many frames of a speaker's, and to ask for.
fn kept(frames: u32) -> BufferAttr {
    let bytes = |frames: u32| frames * (WIDE * SAMPLE) as u32;
    BufferAttr {
        target_length: bytes(frames),
        minimum_request_length: bytes(PIECE),
        // After a gap sound goes on with what there is.
        pre_buffering: bytes(PIECE),
        ..Default::default()
    }
}

/// Plays what the feed has until it is dropped, or the gauge says that it failed.
///
/// # Errors
/// When there is no server, or it does not let us.
pub(crate) fn play(
    place: &Place,
    feed: SpeakerFeed,
    gauge: Arc<Gauge>,
) -> Result<PulseStream, ProtocolError> {
    let mut talk = Talk::connect(c"Snug")?.ok_or_else(no_server)?;
    let params = protocol::PlaybackStreamParams {
        sample_spec: spec(WIDE as u8),
        channel_map: ChannelMap::stereo(),
        sink_name: Some(place.device.clone()),
        buffer_attr: kept(KEPT),
        flags: flags(place),
        ..Default::default()
    };
    let made: protocol::CreatePlaybackStreamReply = talk.ask(&Command::CreatePlaybackStream(params))?;
    talk.socket.get_ref().set_read_timeout(None)?;
    let margin = Margin::default();
    let (channel, ours) = (made.channel, gauge.clone());
    let mut player = Player { channel, margin, given: 0, feed, gauge: ours, out: Vec::new() };
    let socket = talk.socket.get_ref().try_clone()?;
    PulseStream::start("pulse speaker", socket, gauge, move || {
        player.give(&mut talk, made.requested_bytes as usize)?;
        loop {
            player.next(&mut talk)?;
        }
    })
}

struct Player {
    channel: u32,
    /// Pieces that the server keeps beyond the least.
    margin: Margin,
    /// Frames given so far.
    given: u64,
    feed: SpeakerFeed,
    gauge: Arc<Gauge>,
    /// A message on its way.
    out: Vec<u8>,
}

impl Player {
    /// Does what the server's next message asks for.
    fn next(&mut self, talk: &mut Talk) -> Result<(), ProtocolError> {
        talk.read()?;
        match talk.command()? {
            Command::Request(request) if request.channel == self.channel => {
                self.give(talk, request.length as usize)
            }
            Command::Underflow(_) => {
                let before = self.margin.level();
                self.margin.ran_dry(MORE, MOST, self.played());
                let more = self.margin.level().saturating_sub(before);
                if more == 0 {
                    return Ok(());
                }
                self.gauge.kept_more.fetch_add((more * PIECE) as usize, Ordering::Relaxed);
                self.keep(talk)
            }
            Command::PlaybackStreamKilled(_) => Err(ProtocolError::Invalid("the device is gone".into())),
            _ => Ok(()),
        }
    }

    fn give(&mut self, talk: &mut Talk, bytes: usize) -> Result<(), ProtocolError> {
        let frames = (bytes / (WIDE * SAMPLE)).min(MOST_ASKED);
        if frames == 0 {
            return Ok(());
        }
        self.out.clear();
        self.out.resize(protocol::DESCRIPTOR_SIZE, 0);
        let out = &mut self.out;
        self.feed.read(frames, |sides| sides.iter().for_each(|x| out.extend(x.to_le_bytes())));
        let (length, flags) = ((frames * WIDE * SAMPLE) as u32, protocol::DescriptorFlags::empty());
        let descriptor = protocol::Descriptor { length, channel: self.channel, offset: 0, flags };
        if let Some(header) = self.out.first_chunk_mut() {
            protocol::encode_descriptor(header, &descriptor);
        }
        talk.socket.get_mut().write_all(&self.out)?;
        self.given += frames as u64;
        if self.margin.lasted(self.played()) { self.keep(talk) } else { Ok(()) }
    }

    /// How long it has played.
    fn played(&self) -> Duration {
        Duration::from_millis(self.given * 1000 / u64::from(RATE))
    }

    /// Tells the server what to keep from now on. It asks for more at once, or for nothing until it has no more.
    fn keep(&mut self, talk: &mut Talk) -> Result<(), ProtocolError> {
        let frames = KEPT + self.margin.level() * PIECE;
        tracing::debug!(frames, "the sound server keeps");
        let other = protocol::SetPlaybackStreamBufferAttrParams {
            index: self.channel,
            buffer_attr: kept(frames),
            adjust_latency: true,
            early_requests: false,
        };
        talk.send(&Command::SetPlaybackStreamBufferAttr(other))
    }
}

/// Hears what a source gives on so many channels, until it is dropped or the gauge says that it failed.
///
/// # Errors
/// As [`play`].
pub(crate) fn record(
    place: &Place,
    channels: u16,
    mut feed: MicFeed,
    gauge: Arc<Gauge>,
) -> Result<PulseStream, ProtocolError> {
    let mut talk = Talk::connect(c"Snug")?.ok_or_else(no_server)?;
    let count = usize::from(channels.max(1));
    let layout = LAYOUTS.iter().find(|layout| layout.len() == count);
    let channel_map = layout.map_or_else(ChannelMap::mono, |layout| ChannelMap::new(layout.iter().copied()));
    let params = protocol::RecordStreamParams {
        sample_spec: spec(channels.max(1) as u8),
        channel_map,
        source_name: Some(place.device.clone()),
        buffer_attr: BufferAttr { fragment_size: PIECE * (count * SAMPLE) as u32, ..Default::default() },
        flags: flags(place),
        ..Default::default()
    };
    let made: protocol::CreateRecordStreamReply = talk.ask(&Command::CreateRecordStream(params))?;
    talk.socket.get_ref().set_read_timeout(None)?;
    let mut loudest = Loudest::new(channels, RATE);
    let socket = talk.socket.get_ref().try_clone()?;
    PulseStream::start("pulse microphone", socket, gauge, move || {
        loop {
            let from = talk.read()?;
            if from == made.channel {
                let frames = talk.message.chunks_exact(count * SAMPLE);
                feed.write(frames.len(), frames.map(|frame| heard(frame, &mut loudest)));
            } else if from == CONTROL && matches!(talk.command()?, Command::RecordStreamKilled(_)) {
                return Err(ProtocolError::Invalid("the device is gone".into()));
            }
        }
    })
}

fn heard(frame: &[u8], loudest: &mut Loudest) -> Heard {
    let mut samples =
        frame.chunks_exact(SAMPLE).map(|bytes| bytes.try_into().map_or(0.0, f32::from_le_bytes));
    let mono = loudest.mono(samples.clone());
    let wide = match (samples.next(), samples.next(), samples.next()) {
        (Some(left), Some(right), None) => [left, right].map(whole),
        // One, or so many that nobody knows which two belong together.
        _ => [mono; 2],
    };
    Heard { mono, wide }
}
