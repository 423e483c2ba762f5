//! Sound devices through cpal: PulseAudio's (which PipeWire serves too) first, with streams of our own, else the
//! system's own.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use ::cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use ::cpal::{
    BufferSize, Device, ErrorKind, FromSample, Host, I24, Sample, SampleFormat, SizedSample, Stream,
    StreamConfig, SupportedStreamConfig,
};

use super::device::{DeviceMic, DeviceSpeaker, Opened};
use super::loudest::Loudest;
use super::ring::{Gauge, Heard, MicFeed, SpeakerFeed, from_mic, to_speaker};
use super::watch::{self, Landscape, Seen, Side};
use crate::codec::opus::RATE;
use crate::ends::{DeviceError, DeviceInfo};

/// The PulseAudio host's name.
const PULSE: &str = "PulseAudio";
/// The host gives up building a stream after this; only then is its thread free again.
const BUILD: Duration = Duration::from_secs(5);

/// Which way sound goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    In,
    Out,
}

impl Direction {
    fn noun(self) -> &'static str {
        match self {
            Self::In => "A microphone",
            Self::Out => "A speaker",
        }
    }
}

/// The connection to the sound server. cpal never ends one that was only asked for devices, and a server has
/// room for some sixty: so there is one.
static SERVER: Mutex<Option<Arc<Host>>> = Mutex::new(None);

/// PulseAudio's host when it answers, else the system's own; none where the system has no sound hardware:
/// ALSA would complain on standard error, dozens of lines, and then find only its own null devices.
fn host() -> Option<Arc<Host>> {
    let server = || SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    // Asked without the lock: a server that hangs is to hang nobody else.
    let known = server().clone();
    if let Some(host) = known.filter(|host| host.devices().is_ok()) {
        return Some(host);
    }
    *server() = None;
    let pulse = ::cpal::available_hosts().into_iter().find(|id| id.name() == PULSE);
    match pulse.map(::cpal::host_from_id) {
        Some(Ok(host)) => return Some(server().insert(Arc::new(host)).clone()),
        Some(Err(error)) => tracing::debug!(%error, "no PulseAudio; using the system's default sound host"),
        None => {}
    }
    if !has_sound_hardware() {
        return None;
    }
    let rest = ::cpal::available_hosts().into_iter().filter(|id| id.name() != PULSE);
    rest.filter_map(|id| ::cpal::host_from_id(id).ok()).next().map(Arc::new)
}

/// One line a stream of a sound card; none where the system does not tell.
pub(crate) fn cards() -> Option<String> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    // The file is absent without a card, or with none ever.
    Some(std::fs::read_to_string("/proc/asound/pcm").unwrap_or_default())
}

fn has_sound_hardware() -> bool {
    cards().is_none_or(|cards| !cards.trim().is_empty())
}

/// Whether a device is one that a person would choose: ALSA lists its plugins (null, rate converters, …) too.
fn is_for_people(host: &Host, device: &Device) -> bool {
    const KEPT: [&str; 5] = ["default", "sysdefault:", "plughw:", "pipewire", "pulse"];
    let raw = ids(device).raw;
    if host.id().name() == "ALSA" {
        KEPT.iter().any(|kept| raw.starts_with(kept))
    } else {
        !is_monitor(device)
    }
}

fn is_pulse(host: &Host) -> bool {
    host.id().name() == PULSE
}

/// How a device can be called.
struct Ids {
    /// With the host's name in front: stable, and what [`DeviceInfo`] gives.
    full: String,
    raw: String,
    /// For people.
    name: String,
}

fn ids(device: &Device) -> Ids {
    let (full, raw) = device.id().map(|id| (id.to_string(), id.id().to_string())).unwrap_or_default();
    let name = device.description().map(|text| text.name().to_string()).unwrap_or_else(|_| raw.clone());
    Ids { full, raw, name }
}

/// PulseAudio lists what every speaker plays as a source: recording that would send the others their own voice.
fn is_monitor(device: &Device) -> bool {
    is_monitor_name(&ids(device).raw)
}

/// See [`is_monitor`]; with or without the host's name in front.
pub(crate) fn is_monitor_name(id: &str) -> bool {
    id.ends_with(".monitor")
}

/// The id of what PulseAudio calls so, as [`ids`] gives it.
pub(crate) fn pulse_id(raw: &str) -> String {
    format!("pulseaudio:{raw}")
}

fn devices(host: &Host, direction: Direction) -> Vec<Device> {
    let listed = match direction {
        Direction::In => host.input_devices().map(Iterator::collect::<Vec<_>>),
        Direction::Out => host.output_devices().map(Iterator::collect),
    };
    listed.unwrap_or_else(|error| {
        tracing::debug!(%error, "sound devices cannot be listed");
        Vec::new()
    })
}

fn default_device(host: &Host, direction: Direction) -> Option<Device> {
    match direction {
        Direction::In => {
            let default = host.default_input_device().filter(|device| !is_monitor(device));
            default.or_else(|| devices(host, direction).into_iter().find(|device| !is_monitor(device)))
        }
        Direction::Out => host.default_output_device(),
    }
}

/// The system's microphones or speakers.
pub(crate) fn list(direction: Direction) -> Vec<DeviceInfo> {
    let Some(host) = host() else { return Vec::new() };
    let default = default_device(&host, direction).map(|device| ids(&device).full);
    let all = devices(&host, direction).into_iter().filter(|device| is_for_people(&host, device));
    all.map(|device| {
        let Ids { full: id, name, .. } = ids(&device);
        DeviceInfo { default: default.as_ref() == Some(&id), id, name }
    })
    .collect()
}

fn missing(direction: Direction, wanted: Option<&str>) -> DeviceError {
    DeviceError::NotFound { what: wanted.unwrap_or(direction.noun()).to_owned() }
}

/// The device called so, or the system's default.
fn find(host: &Host, direction: Direction, wanted: Option<&str>) -> Result<Device, DeviceError> {
    let missing = || missing(direction, wanted);
    let Some(wanted_name) = wanted else {
        return default_device(host, direction).ok_or_else(missing);
    };
    let all: Vec<_> = devices(host, direction).into_iter().map(|device| (ids(&device), device)).collect();
    let named = all.iter().map(|(ids, _)| (ids.full.as_str(), ids.name.as_str()));
    let found = watch::find(named, wanted_name).and_then(|at| all.get(at));
    found.map(|(_, device)| device.clone()).ok_or_else(missing)
}

/// What devices there are, those that only an expert would choose too.
pub(crate) fn landscape() -> Landscape {
    let Some(host) = host() else { return Landscape::default() };
    let side = |direction| {
        let seen = |device: &Device| {
            let Ids { full: id, name, .. } = ids(device);
            Seen { id, name, life: 0 }
        };
        Side {
            default: default_device(&host, direction).map(|device| ids(&device).full),
            devices: devices(&host, direction).iter().map(seen).collect(),
        }
    };
    Landscape { mics: side(Direction::In), speakers: side(Direction::Out) }
}

fn trouble(what: &str, error: &::cpal::Error) -> DeviceError {
    let (what, why) = (what.to_owned(), error.to_string());
    match error.kind() {
        ErrorKind::DeviceBusy => DeviceError::Busy { what },
        ErrorKind::DeviceNotAvailable | ErrorKind::HostUnavailable => DeviceError::NotFound { what },
        ErrorKind::PermissionDenied => DeviceError::Denied { what, why },
        ErrorKind::StreamInvalidated => DeviceError::Lost { what, why },
        _ => DeviceError::Unusable { what, why },
    }
}

/// What to ask of the device.
fn config(default: &SupportedStreamConfig) -> (StreamConfig, SampleFormat) {
    let config = StreamConfig {
        channels: default.channels(),
        sample_rate: default.sample_rate(),
        buffer_size: BufferSize::Default,
    };
    (config, default.sample_format())
}

/// What part of a second ALSA's buffers hold, best first; two of them are in use. Its own choice may be
/// seconds.
const ALSA_BUFFERS: [u32; 4] = [100, 50, 20, 10];

/// Devices that stumbled over such short buffers, and how many of the sizes not to try again.
// overflow: one entry a device, and no more than 32 of them.
static STUMBLED: Mutex<Vec<(String, usize)>> = Mutex::new(Vec::new());

/// Opens this device with longer buffers from now on; false when they are as long as they get.
pub(crate) fn take_longer_buffers(id: &str) -> bool {
    let mut stumbled = STUMBLED.lock().unwrap_or_else(PoisonError::into_inner);
    if !id.starts_with("alsa:") {
        return false;
    }
    if let Some((_, left_out)) = stumbled.iter_mut().find(|(one, _)| one == id) {
        *left_out += 1;
        return *left_out < ALSA_BUFFERS.len();
    }
    if stumbled.len() < 32 {
        stumbled.push((id.to_owned(), 1));
    }
    true
}

/// The sizes of buffers to try, best first.
fn buffers(id: &str, config: &StreamConfig) -> Vec<BufferSize> {
    if !id.starts_with("alsa:") {
        return vec![config.buffer_size];
    }
    let stumbled = STUMBLED.lock().unwrap_or_else(PoisonError::into_inner);
    let left_out = stumbled.iter().find(|(one, _)| one == id).map_or(0, |(_, left_out)| *left_out);
    let left_out = left_out.min(ALSA_BUFFERS.len() - 1);
    let sizes = ALSA_BUFFERS[left_out..].iter().map(|part| BufferSize::Fixed(config.sample_rate / part));
    sizes.chain([BufferSize::Default]).collect()
}

/// Builds a stream with the first size of buffer that the device takes.
fn with_buffers<S>(
    id: &str,
    mut config: StreamConfig,
    build: impl Fn(StreamConfig) -> Result<S, ::cpal::Error>,
) -> Result<S, ::cpal::Error> {
    let sizes = buffers(id, &config);
    let last = sizes.len() - 1;
    for size in &sizes[..last] {
        config.buffer_size = *size;
        match build(config) {
            Err(error) if error.kind() == ErrorKind::UnsupportedConfig => {
                tracing::debug!(%error, ?size, "the device takes no such buffer");
            }
            built => return built,
        }
    }
    config.buffer_size = sizes[last];
    build(config)
}

/// Tells the audio thread of errors that end the stream.
fn on_error(gauge: Arc<Gauge>) -> impl FnMut(::cpal::Error) + Send + 'static {
    move |error| match error.kind() {
        ErrorKind::Xrun => {
            gauge.stumbles.fetch_add(1, Ordering::Relaxed);
        }
        ErrorKind::RealtimeDenied | ErrorKind::DeviceChanged => {
            tracing::debug!(%error, "a sound device stumbled");
        }
        _ => {
            tracing::info!(%error, "a sound device stopped");
            gauge.fail();
        }
    }
}

/// Opens a microphone; may block for seconds.
pub(crate) fn open_mic(wanted: Option<&str>, wake: &Thread) -> Result<DeviceMic, DeviceError> {
    let host = host().ok_or_else(|| missing(Direction::In, wanted))?;
    let device = find(&host, Direction::In, wanted)?;
    let Ids { full: id, raw, name } = ids(&device);
    #[cfg(target_os = "linux")]
    if is_pulse(&host) {
        let channels = super::pulse::channels(&raw).inspect_err(|error| {
            tracing::debug!(%error, "the microphone's channels are not known");
        });
        // Of several the server would make one by their mean, a quarter of a voice that is on one of four.
        let channels = channels.ok().flatten().unwrap_or(1);
        let (feed, ring, gauge) = from_mic(RATE as usize / 2, wake);
        let stream = super::pulse::stream::record(&place(&raw, wanted), channels, feed, gauge.clone());
        let stream = Box::new(stream.map_err(|error| lost(&name, &error))?);
        return Ok(DeviceMic::new(Opened { stream, name, id, rate: RATE, gauge }, ring));
    }
    let fail = |error: ::cpal::Error| trouble(&name, &error);
    let default = device.default_input_config().map_err(fail)?;
    let (config, format) = config(&default);
    let built = with_buffers(&id, config, |config| {
        let (feed, ring, gauge) = from_mic(config.sample_rate as usize / 2, wake);
        let stream = match format {
            SampleFormat::F32 => record::<f32>(&device, config, feed, gauge.clone()),
            SampleFormat::I16 => record::<i16>(&device, config, feed, gauge.clone()),
            SampleFormat::I24 => record::<I24>(&device, config, feed, gauge.clone()),
            SampleFormat::I32 => record::<i32>(&device, config, feed, gauge.clone()),
            SampleFormat::U8 => record::<u8>(&device, config, feed, gauge.clone()),
            SampleFormat::U16 => record::<u16>(&device, config, feed, gauge.clone()),
            other => return Err(unknown(other)),
        };
        Ok((stream?, ring, gauge))
    });
    let (stream, ring, gauge) = built.map_err(fail)?;
    stream.play().map_err(fail)?;
    Ok(DeviceMic::new(Opened { stream: Box::new(stream), name, id, rate: config.sample_rate, gauge }, ring))
}

fn unknown(format: SampleFormat) -> ::cpal::Error {
    ::cpal::Error::with_message(ErrorKind::UnsupportedOperation, format!("samples are {format}"))
}

fn record<T>(
    device: &Device,
    config: StreamConfig,
    mut feed: MicFeed,
    gauge: Arc<Gauge>,
) -> Result<Stream, ::cpal::Error>
where
    T: SizedSample,
    f32: FromSample<T>,
{
    let channels = usize::from(config.channels.max(1));
    let mut loudest = Loudest::new(config.channels, config.sample_rate);
    let take = move |data: &[T], _: &::cpal::InputCallbackInfo| {
        let frames = data.chunks_exact(channels);
        let heard = |frame: &[T]| {
            let mono = loudest.mono(frame.iter().map(|x| x.to_sample::<f32>()));
            let wide = match frame {
                [left, right] => [left, right].map(|x| whole(x.to_sample::<f32>())),
                // One, or so many that nobody knows which two belong together.
                _ => [mono; 2],
            };
            Heard { mono, wide }
        };
        feed.write(frames.len(), frames.map(heard));
    };
    device.build_input_stream(config, take, on_error(gauge), Some(BUILD))
}

/// Within full scale; what is not a number is silence.
pub(crate) fn whole(sample: f32) -> f32 {
    if sample.is_finite() { sample.clamp(-1.0, 1.0) } else { 0.0 }
}

/// Where a stream goes that was asked for so.
#[cfg(target_os = "linux")]
fn place(raw: &str, wanted: Option<&str>) -> super::pulse::stream::Place {
    // A name that has come from the server holds no zero.
    let device = std::ffi::CString::new(raw).unwrap_or_default();
    super::pulse::stream::Place { device, stays: wanted.is_some() }
}

#[cfg(target_os = "linux")]
fn lost(name: &str, error: &dyn std::error::Error) -> DeviceError {
    DeviceError::Lost { what: name.to_owned(), why: error.to_string() }
}

/// Opens a speaker; may block for seconds.
pub(crate) fn open_speaker(wanted: Option<&str>, wake: &Thread) -> Result<DeviceSpeaker, DeviceError> {
    let host = host().ok_or_else(|| missing(Direction::Out, wanted))?;
    let device = find(&host, Direction::Out, wanted)?;
    let Ids { full: id, name, raw } = ids(&device);
    #[cfg(target_os = "linux")]
    if is_pulse(&host) {
        let (feed, ring, gauge) = to_speaker(RATE as usize / 2, wake);
        let stream = super::pulse::stream::play(&place(&raw, wanted), feed, gauge.clone());
        let stream = Box::new(stream.map_err(|error| lost(&name, &error))?);
        return Ok(DeviceSpeaker::new(Opened { stream, name, id, rate: RATE, gauge }, ring));
    }
    let fail = |error: ::cpal::Error| trouble(&name, &error);
    let default = device.default_output_config().map_err(fail)?;
    let (config, format) = config(&default);
    let built = with_buffers(&id, config, |config| {
        let (feed, ring, gauge) = to_speaker(config.sample_rate as usize / 2, wake);
        let stream = match format {
            SampleFormat::F32 => play::<f32>(&device, config, feed, gauge.clone()),
            SampleFormat::I16 => play::<i16>(&device, config, feed, gauge.clone()),
            SampleFormat::I24 => play::<I24>(&device, config, feed, gauge.clone()),
            SampleFormat::I32 => play::<i32>(&device, config, feed, gauge.clone()),
            SampleFormat::U8 => play::<u8>(&device, config, feed, gauge.clone()),
            SampleFormat::U16 => play::<u16>(&device, config, feed, gauge.clone()),
            other => return Err(unknown(other)),
        };
        Ok((stream?, ring, gauge))
    });
    let (stream, ring, gauge) = built.map_err(fail)?;
    stream.play().map_err(fail)?;
    Ok(DeviceSpeaker::new(
        Opened { stream: Box::new(stream), name, id, rate: config.sample_rate, gauge },
        ring,
    ))
}

fn play<T>(
    device: &Device,
    config: StreamConfig,
    mut feed: SpeakerFeed,
    gauge: Arc<Gauge>,
) -> Result<Stream, ::cpal::Error>
where
    T: SizedSample + FromSample<f32>,
{
    let channels = usize::from(config.channels.max(1));
    let give = move |data: &mut [T], _: &::cpal::OutputCallbackInfo| {
        let mut frames = data.chunks_exact_mut(channels);
        feed.read(frames.len(), |[left, right]| match frames.next() {
            Some([one]) => *one = ((left + right) * 0.5).to_sample::<T>(),
            Some(frame) => {
                // Front, rear, and so on: those on the left come before those on the right.
                let sides = [left.to_sample::<T>(), right.to_sample::<T>()];
                frame.iter_mut().zip(sides.iter().cycle()).for_each(|(out, side)| *out = *side);
            }
            None => {}
        });
    };
    device.build_output_stream(config, give, on_error(gauge), Some(BUILD))
}
