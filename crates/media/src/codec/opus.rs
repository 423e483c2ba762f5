//! Opus for a call: voice as 48 kHz mono, music as stereo; whatever comes in is brought to 48 kHz.

use bytes::Bytes;
use opus::{Application, Bitrate, Channels, Signal};

/// Samples a second, here and everywhere in [`crate::audio`].
pub const RATE: u32 = 48_000;
/// Samples of a packet that we send: 20 ms.
pub const PACKET: usize = 960;
/// And of one for a thin path: 40 ms.
pub const LONG_PACKET: usize = 1920;
/// The longest packet that Opus allows: 120 ms.
pub const MAX_PACKET: usize = 5760;

/// Bits a second of payload that Opus is run at: below it speech is no longer understood, above it nothing is gained.
pub const BITRATES: std::ops::RangeInclusive<u32> = 6_000..=128_000;
/// Loss from which on packets carry a copy of the one before: less is better spent on the sound itself.
const FEC_FROM: f32 = 0.01;
/// Expected loss in percent beyond which the copies get no better.
const MOST_LOSS: i32 = 30;
/// Music begins with this many bits a second.
const MUSIC: i32 = 128_000;

/// The codec refused; carry on with the next packet.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("Opus could not {what}: {why}")]
pub struct OpusError {
    what: &'static str,
    why: String,
}

fn failed(what: &'static str) -> impl FnOnce(opus::Error) -> OpusError {
    move |error| OpusError { what, why: error.to_string() }
}

/// Samples at 48 kHz that a packet holds; `None` when it is no Opus packet.
pub fn duration(payload: &[u8]) -> Option<u32> {
    if payload.is_empty() {
        return None;
    }
    let samples = opus::packet::get_nb_samples(payload, RATE).ok()?;
    (1..=MAX_PACKET).contains(&samples).then_some(samples as u32)
}

/// Whether a packet carries a copy of the one before (RFC 6716, 4.2.4 and 4.2.5).
pub fn has_copy(payload: &[u8]) -> bool {
    // Configurations from 16 on are CELT alone, which has none.
    if payload.first().is_none_or(|toc| toc >> 3 >= 16) {
        return false;
    }
    let (Ok(parsed), Ok(samples)) =
        (opus::packet::parse(payload), opus::packet::get_samples_per_frame(payload, RATE))
    else {
        return false;
    };
    let Some(first) = parsed.frames.first().and_then(|frame| frame.first()) else { return false };
    // One bit of voice activity for each 20 ms, then whether there is a copy; the same again for stereo.
    let parts = (samples / PACKET).clamp(1, 3);
    let stereo = is_stereo(payload);
    first >> (7 - parts) & 1 != 0 || (stereo && first >> (6 - 2 * parts) & 1 != 0)
}

/// Whether a packet holds left and right.
pub fn is_stereo(payload: &[u8]) -> bool {
    payload.first().is_some_and(|toc| toc & 0x04 != 0)
}

/// Whether a packet says only that its time is a pause (DTX): a byte that names the coding, and no sound. A sender
/// that pauses sends one of these, and then nothing for a while (RFC 7587, 3.1.3).
pub fn is_pause(payload: &[u8]) -> bool {
    (1..=2).contains(&payload.len())
}

/// Such a packet, of the coding that `packet` has.
pub fn pause_after(packet: &[u8]) -> Option<Bytes> {
    // The number of frames is in the last two bits: one, of no length.
    packet.first().map(|toc| Bytes::copy_from_slice(&[toc & 0xfc]))
}

/// Speech at 32 kb/s has PESQ 4.0 with it, 3.6 with 5, and no more with 10; it costs half as much again as 5.
const COMPLEXITY: i32 = 8;

/// Encodes speech, packets of mono with in-band error correction, or music, packets of stereo.
#[derive(Debug)]
pub struct OpusEncoder {
    inner: opus::Encoder,
    packet: Box<[u8; 1275]>,
    channels: usize,
}

impl OpusEncoder {
    /// An encoder for voice at 32 kb/s, ready for 10 % loss.
    pub fn new() -> Result<Self, OpusError> {
        let fail = failed;
        let mut inner = opus::Encoder::new(RATE, Channels::Mono, Application::Voip).map_err(fail("start"))?;
        inner.set_bitrate(Bitrate::Bits(32_000)).map_err(fail("take a bitrate"))?;
        inner.set_signal(Signal::Voice).map_err(fail("take a signal kind"))?;
        inner.set_inband_fec(true).map_err(fail("switch error correction on"))?;
        inner.set_packet_loss_perc(10).map_err(fail("take an expected loss"))?;
        inner.set_dtx(false).map_err(fail("switch DTX off"))?;
        inner.set_complexity(COMPLEXITY).map_err(fail("take a complexity"))?;
        Ok(Self { inner, packet: Box::new([0; 1275]), channels: 1 })
    }

    /// An encoder for music at 128 kb/s: stereo, and nothing of speech's in it.
    pub fn music() -> Result<Self, OpusError> {
        let fail = failed;
        let mut inner =
            opus::Encoder::new(RATE, Channels::Stereo, Application::Audio).map_err(fail("start"))?;
        inner.set_bitrate(Bitrate::Bits(MUSIC)).map_err(fail("take a bitrate"))?;
        inner.set_signal(Signal::Music).map_err(fail("take a signal kind"))?;
        inner.set_packet_loss_perc(10).map_err(fail("take an expected loss"))?;
        inner.set_dtx(false).map_err(fail("switch DTX off"))?;
        inner.set_complexity(COMPLEXITY).map_err(fail("take a complexity"))?;
        Ok(Self { inner, packet: Box::new([0; 1275]), channels: 2 })
    }

    /// Samples of a frame: 1, or 2 where left and right take turns.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Bits a second of payload from the next packet on, clamped to [`BITRATES`].
    pub fn set_bitrate(&mut self, bitrate: u32) -> Result<(), OpusError> {
        let bitrate = bitrate.clamp(*BITRATES.start(), *BITRATES.end());
        self.inner.set_bitrate(Bitrate::Bits(bitrate as i32)).map_err(failed("take a bitrate"))
    }

    /// The share of packets expected to be lost, 0 to 1: the copy that each packet carries of the one before is
    /// made better with it, and left out below 1 %.
    pub fn set_expected_loss(&mut self, loss: f32) -> Result<(), OpusError> {
        // What is no number counts as no loss.
        let percent = ((loss.max(0.0) * 100.0).round() as i32).min(MOST_LOSS);
        let copies = loss >= FEC_FROM;
        self.inner.set_inband_fec(copies).map_err(failed("switch error correction"))?;
        self.inner
            .set_packet_loss_perc(if copies { percent } else { 0 })
            .map_err(failed("take an expected loss"))
    }

    /// Encodes [`PACKET`] or [`LONG_PACKET`] frames of [`Self::channels`] samples each, -1.0 to 1.0.
    pub fn encode(&mut self, pcm: &[f32]) -> Result<Bytes, OpusError> {
        let bytes = self.inner.encode_float(pcm, &mut self.packet[..]).map_err(failed("encode"))?;
        Ok(Bytes::copy_from_slice(&self.packet[..bytes]))
    }

    /// Forgets what was heard so far, so that nothing of it is in the next packet.
    pub fn reset(&mut self) -> Result<(), OpusError> {
        self.inner.reset_state().map_err(failed("reset"))
    }
}

/// Decodes to 48 kHz and fills in what was lost.
#[derive(Debug)]
pub struct OpusDecoder {
    inner: opus::Decoder,
}

impl OpusDecoder {
    /// A decoder to mono; stereo packets are mixed down by it.
    pub fn new() -> Result<Self, OpusError> {
        Ok(Self { inner: opus::Decoder::new(RATE, Channels::Mono).map_err(failed("start"))? })
    }

    /// A decoder to stereo: left and right take turns in all that it puts out, which is twice as long as is said
    /// below. Of a packet of mono both are the same.
    pub fn stereo() -> Result<Self, OpusError> {
        Ok(Self { inner: opus::Decoder::new(RATE, Channels::Stereo).map_err(failed("start"))? })
    }

    /// Decodes a packet into `out` ([`MAX_PACKET`] long) and says how many frames it gave.
    pub fn decode(&mut self, payload: &[u8], out: &mut [f32]) -> Result<usize, OpusError> {
        if payload.is_empty() {
            // libopus takes an empty packet for a loss; a sender that sends one means nothing by it.
            return Err(OpusError { what: "decode", why: "empty packet".into() });
        }
        self.fill(payload, out, false).map_err(failed("decode"))
    }

    /// Fills `out` with the lost packet before `next`, from the copy that `next` carries of it, or else
    /// with a continuation of what was heard. `out` must be as long as the lost packet.
    pub fn recover(&mut self, next: &[u8], out: &mut [f32]) -> Result<usize, OpusError> {
        if next.is_empty() {
            return self.conceal(out);
        }
        self.fill(next, out, true).map_err(failed("recover"))
    }

    /// Fills `out` (a multiple of 2.5 ms) with a fading continuation of what was heard.
    pub fn conceal(&mut self, out: &mut [f32]) -> Result<usize, OpusError> {
        self.fill(&[], out, false).map_err(failed("conceal"))
    }

    /// A packet that no encoder made can be hundreds of times as loud as full scale, or no number at all.
    fn fill(&mut self, payload: &[u8], out: &mut [f32], copy: bool) -> Result<usize, opus::Error> {
        let frames = self.inner.decode_float(payload, out, copy)?;
        for sample in out {
            *sample = if sample.is_nan() { 0.0 } else { sample.clamp(-1.0, 1.0) };
        }
        Ok(frames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::measure::{Lcg, rms, tone_share};

    fn tone(frequency: f32, samples: usize) -> Vec<f32> {
        (0..samples)
            .map(|n| (n as f32 * frequency * std::f32::consts::TAU / RATE as f32).sin() * 0.4)
            .collect()
    }

    #[test]
    fn a_tone_comes_back_as_that_tone() {
        let (mut encoder, mut decoder) = (OpusEncoder::new().unwrap(), OpusDecoder::new().unwrap());
        let (mut heard, mut out) = (Vec::new(), [0.0; MAX_PACKET]);
        for packet in tone(1000.0, RATE as usize).chunks_exact(PACKET) {
            let payload = encoder.encode(packet).unwrap();
            assert_eq!(duration(&payload), Some(PACKET as u32));
            let samples = decoder.decode(&payload, &mut out).unwrap();
            heard.extend_from_slice(&out[..samples]);
        }
        let steady = &heard[RATE as usize / 2..];
        assert!(tone_share(steady, 1000.0) > 0.95, "{}", tone_share(steady, 1000.0));
        assert!((rms(steady) - 0.283).abs() < 0.06, "{}", rms(steady));
    }

    #[test]
    fn the_next_packet_gives_the_lost_one_back() {
        // A signal that concealment cannot guess: noise bursts at the rhythm of speech.
        let mut noise = Lcg::new(7);
        let pcm: Vec<f32> = (0..RATE as usize)
            .map(|n| {
                let loud = (n / 2880) % 2 == 0;
                (n as f32 * 0.02).sin() * if loud { 0.5 } else { 0.01 } + noise.next_f32() * 0.002
            })
            .collect();
        let mut encoder = OpusEncoder::new().unwrap();
        let packets: Vec<_> = pcm.chunks_exact(PACKET).map(|p| encoder.encode(p).unwrap()).collect();
        let (mut error_fec, mut error_guess) = (0.0, 0.0);
        for lost in (10..packets.len() - 1).step_by(4) {
            let run = |fec: bool| {
                let mut decoder = OpusDecoder::new().unwrap();
                let mut out = [0.0; MAX_PACKET];
                for packet in &packets[..lost] {
                    decoder.decode(packet, &mut out).unwrap();
                }
                let samples = if fec {
                    decoder.recover(&packets[lost + 1], &mut out[..PACKET]).unwrap()
                } else {
                    decoder.conceal(&mut out[..PACKET]).unwrap()
                };
                assert_eq!(samples, PACKET);
                out[..PACKET].to_vec()
            };
            let truth = {
                let mut decoder = OpusDecoder::new().unwrap();
                let mut out = [0.0; MAX_PACKET];
                for packet in &packets[..=lost] {
                    decoder.decode(packet, &mut out).unwrap();
                }
                out[..PACKET].to_vec()
            };
            let error =
                |guess: &[f32]| -> f32 { guess.iter().zip(&truth).map(|(a, b)| (a - b).powi(2)).sum() };
            error_fec += error(&run(true));
            error_guess += error(&run(false));
        }
        assert!(error_fec < error_guess * 0.5, "recovered {error_fec}, guessed {error_guess}");
    }

    #[test]
    fn what_no_encoder_made_is_no_louder_than_full_scale() {
        let (mut decoder, mut bytes) = (OpusDecoder::new().unwrap(), Lcg::new(3));
        let (mut loudest, mut out) = (0.0f32, [0.0; MAX_PACKET]);
        for n in 0..4000 {
            // SILK, hybrid and CELT, in turn.
            let mut payload = vec![[0x40, 0x68, 0xe8, 0x78][n % 4]];
            payload.extend((0..80).map(|_| ((bytes.next_f32() + 1.0) * 128.0) as u8));
            let Ok(samples) = decoder.decode(&payload, &mut out) else { continue };
            loudest = out[..samples].iter().fold(loudest, |loudest, x| loudest.max(x.abs()));
        }
        // What libopus makes of them is louder.
        assert_eq!(loudest, 1.0);
    }

    /// Bytes of packets 25 to 50 of a warbling voice, and how many of them carry a copy of the one before.
    fn spent(encoder: &mut OpusEncoder) -> (usize, usize) {
        let pcm: Vec<f32> = (0..RATE as usize)
            .map(|n| {
                let at = n as f32 / RATE as f32;
                let pitch = 140.0 + 30.0 * (at * 9.0).sin();
                (1..12)
                    .map(|k| (at * pitch * k as f32 * std::f32::consts::TAU).sin() * 0.1 / k as f32)
                    .sum::<f32>()
            })
            .collect();
        let packets: Vec<_> = pcm.chunks_exact(PACKET).map(|p| encoder.encode(p).unwrap()).collect();
        let copies = packets[25..].iter().filter(|p| has_copy(p)).count();
        (packets[25..].iter().map(Bytes::len).sum(), copies)
    }

    #[test]
    fn bitrate_and_expected_loss_are_obeyed_at_once() {
        let mut encoder = OpusEncoder::new().unwrap();
        let mut bytes = Vec::new();
        for (bitrate, real) in [(0, 6_000), (12_000, 12_000), (64_000, 64_000), (u32::MAX, 128_000)] {
            encoder.set_bitrate(bitrate).unwrap();
            bytes.push(spent(&mut encoder).0);
            let last = bytes[bytes.len() - 1] * 16;
            assert!((real / 2..=real * 12 / 10).contains(&last), "{last} b/s at {real}");
        }
        encoder.set_bitrate(32_000).unwrap();
        let with = 20..=25;
        for (loss, copies) in [
            (0.0, 0..=0),
            (0.005, 0..=0),
            (f32::NAN, 0..=0),
            (0.05, with.clone()),
            (0.3, with.clone()),
            (7.0, with),
        ] {
            encoder.set_expected_loss(loss).unwrap();
            let carried = spent(&mut encoder).1;
            assert!(copies.contains(&carried), "{carried} copies at {loss}");
        }
    }

    #[test]
    fn what_is_no_packet_is_an_error() {
        let mut decoder = OpusDecoder::new().unwrap();
        let mut out = [0.0; MAX_PACKET];
        assert!(duration(&[]).is_none() && !has_copy(&[]));
        assert!(decoder.decode(&[], &mut out).is_err());
        let mut noise = Lcg::new(3);
        for length in 1..400 {
            let garbage: Vec<u8> = (0..length).map(|_| noise.next_u32() as u8).collect();
            has_copy(&garbage);
            if let Ok(samples) = decoder.decode(&garbage, &mut out) {
                assert!(samples <= MAX_PACKET);
            }
        }
    }
}
