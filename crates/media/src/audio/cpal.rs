//! Sound devices through cpal: PulseAudio (which PipeWire serves too) at 10 ms first, else the system's own.

use std::sync::Arc;
use std::thread::Thread;
use std::time::Duration;

use ::cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use ::cpal::{
    BufferSize, Device, ErrorKind, FromSample, Host, I24, Sample, SampleFormat, SizedSample, Stream,
    StreamConfig, SupportedStreamConfig,
};

use super::device::{DeviceMic, DeviceSpeaker, Opened};
use super::mix;
use super::ring::{Gauge, MicFeed, SpeakerFeed, from_mic, to_speaker};
use crate::codec::opus::RATE;
use crate::ends::{DeviceError, DeviceInfo};

/// The PulseAudio host's name.
const PULSE: &str = "PulseAudio";
/// 10 ms: with "default" the PulseAudio host keeps 380 ms.
const PULSE_FRAMES: u32 = 480;
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

/// PulseAudio's host when it answers, else the system's own; none where the system has no sound hardware:
/// ALSA would complain on standard error, dozens of lines, and then find only its own null devices.
fn host() -> Option<Host> {
    let pulse = ::cpal::available_hosts().into_iter().find(|id| id.name() == PULSE);
    match pulse.map(::cpal::host_from_id) {
        Some(Ok(host)) => return Some(host),
        Some(Err(error)) => tracing::debug!(%error, "no PulseAudio; using the system's default sound host"),
        None => {}
    }
    if !has_sound_hardware() {
        return None;
    }
    let rest = ::cpal::available_hosts().into_iter().filter(|id| id.name() != PULSE);
    rest.filter_map(|id| ::cpal::host_from_id(id).ok()).next()
}

fn has_sound_hardware() -> bool {
    if !cfg!(target_os = "linux") {
        return true;
    }
    // One line a stream of a card; empty or absent without cards.
    std::fs::read_to_string("/proc/asound/pcm").is_ok_and(|list| !list.trim().is_empty())
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
    ids(device).raw.ends_with(".monitor")
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

/// The device called so: by id, then by name, then by a part of its name.
fn find(host: &Host, direction: Direction, wanted: Option<&str>) -> Result<Device, DeviceError> {
    let missing = || missing(direction, wanted);
    let Some(wanted_name) = wanted else {
        return default_device(host, direction).ok_or_else(missing);
    };
    let all: Vec<_> = devices(host, direction).into_iter().map(|device| (ids(&device), device)).collect();
    let part = wanted_name.to_lowercase();
    let by = |test: &dyn Fn(&Ids) -> bool| all.iter().find(|(ids, _)| test(ids));
    let found = by(&|ids| ids.full == wanted_name || ids.raw == wanted_name)
        .or_else(|| by(&|ids| ids.name == wanted_name))
        .or_else(|| by(&|ids| !part.is_empty() && ids.name.to_lowercase().contains(&part)));
    found.map(|(_, device)| device.clone()).ok_or_else(missing)
}

/// Whether a device of this id is still there; true when nobody can tell.
pub(crate) fn is_there(direction: Direction, id: &str) -> bool {
    let Some(host) = host() else { return true };
    let all = devices(&host, direction);
    all.is_empty() || all.iter().any(|device| ids(device).full == id)
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

/// What to ask of the device: PulseAudio converts by itself, better there than twice.
fn config(host: &Host, default: &SupportedStreamConfig) -> (StreamConfig, SampleFormat) {
    if is_pulse(host) {
        let config =
            StreamConfig { channels: 1, sample_rate: RATE, buffer_size: BufferSize::Fixed(PULSE_FRAMES) };
        return (config, SampleFormat::F32);
    }
    let config = StreamConfig {
        channels: default.channels(),
        sample_rate: default.sample_rate(),
        buffer_size: BufferSize::Default,
    };
    (config, default.sample_format())
}

/// Tells the audio thread of errors that end the stream.
fn on_error(gauge: Arc<Gauge>) -> impl FnMut(::cpal::Error) + Send + 'static {
    move |error| match error.kind() {
        ErrorKind::Xrun | ErrorKind::RealtimeDenied | ErrorKind::DeviceChanged => {
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
    let Ids { full: id, name, .. } = ids(&device);
    let fail = |error: ::cpal::Error| trouble(&name, &error);
    let default = device.default_input_config().map_err(fail)?;
    let (config, format) = config(&host, &default);
    let (feed, ring, gauge) = from_mic(config.sample_rate as usize / 2, wake);
    let stream = match format {
        SampleFormat::F32 => record::<f32>(&device, config, feed, gauge.clone()),
        SampleFormat::I16 => record::<i16>(&device, config, feed, gauge.clone()),
        SampleFormat::I24 => record::<I24>(&device, config, feed, gauge.clone()),
        SampleFormat::I32 => record::<i32>(&device, config, feed, gauge.clone()),
        SampleFormat::U8 => record::<u8>(&device, config, feed, gauge.clone()),
        SampleFormat::U16 => record::<u16>(&device, config, feed, gauge.clone()),
        other => return Err(DeviceError::Unusable { what: name, why: format!("samples are {other}") }),
    };
    let stream = stream.map_err(fail)?;
    stream.play().map_err(fail)?;
    Ok(DeviceMic::new(Opened { stream, name, id, rate: config.sample_rate, gauge }, ring))
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
    let take = move |data: &[T], _: &::cpal::InputCallbackInfo| {
        let frames = data.chunks_exact(channels);
        feed.write(frames.len(), frames.map(|frame| mix::mono(frame.iter().map(|x| x.to_sample::<f32>()))));
    };
    device.build_input_stream(config, take, on_error(gauge), Some(BUILD))
}

/// Opens a speaker; may block for seconds.
pub(crate) fn open_speaker(wanted: Option<&str>, wake: &Thread) -> Result<DeviceSpeaker, DeviceError> {
    let host = host().ok_or_else(|| missing(Direction::Out, wanted))?;
    let device = find(&host, Direction::Out, wanted)?;
    let Ids { full: id, name, .. } = ids(&device);
    let fail = |error: ::cpal::Error| trouble(&name, &error);
    let default = device.default_output_config().map_err(fail)?;
    let (config, format) = config(&host, &default);
    let (feed, ring, gauge) = to_speaker(config.sample_rate as usize / 2, wake);
    let stream = match format {
        SampleFormat::F32 => play::<f32>(&device, config, feed, gauge.clone()),
        SampleFormat::I16 => play::<i16>(&device, config, feed, gauge.clone()),
        SampleFormat::I24 => play::<I24>(&device, config, feed, gauge.clone()),
        SampleFormat::I32 => play::<i32>(&device, config, feed, gauge.clone()),
        SampleFormat::U8 => play::<u8>(&device, config, feed, gauge.clone()),
        SampleFormat::U16 => play::<u16>(&device, config, feed, gauge.clone()),
        other => return Err(DeviceError::Unusable { what: name, why: format!("samples are {other}") }),
    };
    let stream = stream.map_err(fail)?;
    stream.play().map_err(fail)?;
    Ok(DeviceSpeaker::new(Opened { stream, name, id, rate: config.sample_rate, gauge }, ring))
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
        feed.read(frames.len(), |x| {
            if let Some(frame) = frames.next() {
                frame.fill(x.to_sample::<T>());
            }
        });
    };
    device.build_output_stream(config, give, on_error(gauge), Some(BUILD))
}
