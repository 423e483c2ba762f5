//! Sound to and from a sound server that speaks PulseAudio's protocol, each stream on a connection and a thread of
//! its own: PulseAudio keeps all that one connection plays on one sink. What the server keeps is chosen here: little
//! enough for a conversation, and more for a while once it ran dry.

use std::ffi::CString;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::JoinHandle;

use pulseaudio::protocol::stream::{BufferAttr, StreamFlags};
use pulseaudio::protocol::{self, ChannelMap, Command, ProtocolError, SampleFormat, SampleSpec};

use super::{CONTROL, LAYOUTS, Talk};
use crate::audio::cpal::whole;
use crate::audio::loudest::Loudest;
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
/// At most, 120 ms.
const MOST_KEPT: u32 = 24 * PIECE;
/// So much more once it ran dry, 10 ms, and a piece less again after each half minute without.
const MORE: u32 = 2 * PIECE;
const QUIET: usize = 30 * RATE as usize;
/// What was too little once is tried again after two minutes, for it may have been the machine; what was too little
/// when it was tried again, after an hour: the device needs more, and each try is a click.
const SOME: usize = 120 * RATE as usize;
const LONG: usize = 3600 * RATE as usize;
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
    let mut player = Player { channel: made.channel, kept: Kept::new(), feed, out: Vec::new() };
    let socket = talk.socket.get_ref().try_clone()?;
    PulseStream::start("pulse speaker", socket, gauge, move || {
        player.give(&mut talk, made.requested_bytes as usize)?;
        loop {
            player.next(&mut talk)?;
        }
    })
}

/// How much the server is to keep, by when it ran dry. Pure; all in frames.
#[derive(Debug)]
struct Kept {
    frames: u32,
    /// Played since that was last changed, or too little.
    given: usize,
    /// The most that was too little, and the most that was so when it was tried again; 0 once it was enough.
    bad: u32,
    worse: u32,
}

impl Kept {
    fn new() -> Self {
        Self { frames: KEPT, given: 0, bad: 0, worse: 0 }
    }

    /// It ran dry: what to keep from now on.
    fn ran_dry(&mut self) -> u32 {
        // Of what has just been asked for it says nothing.
        if self.given > self.frames as usize {
            if self.frames <= self.bad {
                self.worse = self.worse.max(self.frames);
            }
            self.bad = self.bad.max(self.frames);
        }
        self.given = 0;
        self.frames = (self.frames + MORE).min(MOST_KEPT);
        self.frames
    }

    /// So much more was played: what to keep from now on, if that is less.
    fn played(&mut self, frames: usize) -> Option<u32> {
        self.given = self.given.saturating_add(frames);
        if self.given >= QUIET {
            self.bad = if self.frames <= self.bad { 0 } else { self.bad };
            self.worse = if self.frames <= self.worse { 0 } else { self.worse };
        }
        let less = self.frames.saturating_sub(PIECE).max(KEPT);
        let patience = match less {
            less if less <= self.worse => LONG,
            less if less <= self.bad => SOME,
            _ => QUIET,
        };
        if less == self.frames || self.given < patience {
            return None;
        }
        self.given = 0;
        self.frames = less;
        Some(less)
    }
}

struct Player {
    channel: u32,
    kept: Kept,
    feed: SpeakerFeed,
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
                let before = self.kept.frames;
                let frames = self.kept.ran_dry();
                if frames == before { Ok(()) } else { self.keep(talk, frames) }
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
        self.kept.played(frames).map_or(Ok(()), |frames| self.keep(talk, frames))
    }

    /// Has the server keep so much from now on. It asks for more at once, or for nothing until it has no more.
    fn keep(&mut self, talk: &mut Talk, frames: u32) -> Result<(), ProtocolError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: usize = RATE as usize;
    const MS: u32 = RATE / 1000;

    /// Plays for so long on a device that runs dry with less than it needs, and says when.
    fn play(kept: &mut Kept, seconds: usize, needs: impl Fn(usize) -> u32) -> Vec<usize> {
        let mut dry = Vec::new();
        for second in 0..seconds {
            let had = kept.frames;
            kept.played(SECOND);
            if had < needs(second) {
                kept.ran_dry();
                dry.push(second);
            }
        }
        dry
    }

    #[test]
    fn a_device_that_needs_more_runs_dry_a_few_times_and_then_no_more() {
        for needs in [22, 27, 33, 61] {
            let mut kept = Kept::new();
            let dry = play(&mut kept, 1800, |_| needs * MS);
            let late = dry.iter().filter(|second| **second > 300).count();
            assert_eq!(late, 0, "{needs} ms: {dry:?}");
            assert!(kept.frames < (needs + 11) * MS, "{needs} ms: {kept:?}");
        }
    }

    #[test]
    fn what_a_busy_machine_needed_for_a_moment_is_given_back() {
        let mut kept = Kept::new();
        let dry = play(&mut kept, 900, |second| if second < 10 { 75 * MS } else { 15 * MS });
        assert!(dry.iter().all(|second| *second < 10), "{dry:?}");
        assert_eq!(kept.frames, KEPT);
        assert!(play(&mut kept, 60, |_| u32::MAX).len() == 60 && kept.frames == MOST_KEPT);
    }
}
