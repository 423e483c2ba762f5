//! VP8 both ways, the threads around it, and the sink for shown pictures.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use bytes::Bytes;
use media::codec::vp8::{Vp8Decoder, Vp8Encoder, Vp8Settings};
use media::codec::{CodecError, EncodedPicture, VideoDecoder, VideoEncoder};
use media::pool::Pool;
use media::{EncodedFrame, Frame, I420, RtpPacket, Slot, VideoIn, VideoOut, VideoSettings};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

const WAIT: Duration = Duration::from_secs(20);

/// A picture with detail that moves with `n`.
fn moving(width: u32, height: u32, n: u32) -> I420 {
    let mut picture = I420::black(width, height);
    let [y, u, v] = picture.planes_mut();
    for (at, sample) in y.iter_mut().enumerate() {
        let (x, row) = (at as u32 % width + 3 * n, at as u32 / width);
        *sample = (60 + (x / 8 + row / 8) % 2 * 60 + x % 64 + row % 32) as u8;
    }
    u.fill(100);
    v.fill((120 + n % 40) as u8);
    picture
}

/// Peak signal to noise ratio over all planes, dB.
fn psnr(a: &I420, b: &I420) -> f64 {
    let squares = a.packed().iter().zip(b.packed()).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2));
    10.0 * (255.0 * 255.0 / (squares.sum::<f64>() / a.packed().len() as f64).max(1e-9)).log10()
}

/// As that, but grainy, so that no bitrate is too much for it.
fn grainy(width: u32, height: u32, n: u32) -> I420 {
    let mut picture = moving(width, height, n);
    let mut dice = n.wrapping_mul(0x9e37_79b9) | 1;
    for sample in picture.planes_mut()[0].iter_mut() {
        dice ^= dice << 13;
        dice ^= dice >> 17;
        dice ^= dice << 5;
        *sample = sample.saturating_add((dice % 24) as u8);
    }
    picture
}

fn encode(encoder: &mut Vp8Encoder, n: u32, key: bool) -> Option<EncodedPicture> {
    let (width, height) = encoder.size();
    encoder.push(&moving(width, height, n), i64::from(n) * 3000, key).unwrap();
    encoder.pop()
}

#[test]
fn pictures_come_back_nearly_as_they_went_in() {
    for (width, height) in [(640, 360), (321, 241), (64, 48)] {
        let mut encoder = Vp8Encoder::new(Vp8Settings::new(width, height, 2)).unwrap();
        let mut decoder = Vp8Decoder::new().unwrap();
        let mut pool = Pool::new();
        let (mut sum, mut count) = (0.0, 0);
        for n in 0..30 {
            let Some(encoded) = encode(&mut encoder, n, false) else { continue };
            assert_eq!(encoded.key, n == 0);
            decoder.push(&encoded.data).unwrap();
            let picture = decoder.pop(&mut pool).unwrap();
            assert_eq!((picture.width(), picture.height()), (width, height));
            sum += psnr(&picture, &moving(width, height, n));
            count += 1;
        }
        assert!(count >= 25, "{count}");
        assert!(sum / f64::from(count) > 30.0, "{width}x{height}: {:.1} dB", sum / f64::from(count));
    }
}

#[test]
fn a_forced_keyframe_lands_on_its_picture() {
    let mut encoder = Vp8Encoder::new(Vp8Settings::new(320, 180, 2)).unwrap();
    for n in 0..40 {
        let encoded = encode(&mut encoder, n, n == 23);
        assert!(n != 23 || encoded.is_some());
        assert_eq!(encoded.is_some_and(|encoded| encoded.key), n == 0 || n == 23, "{n}");
    }
}

#[test]
fn a_change_of_bitrate_shows_within_a_second() {
    let settings = Vp8Settings { bitrate: 1_500_000, ..Vp8Settings::new(640, 360, 2) };
    let mut encoder = Vp8Encoder::new(settings).unwrap();
    let mut second = |from: u32| -> usize {
        (from..from + 30)
            .filter_map(|n| encode(&mut encoder, n, false))
            .map(|encoded| encoded.data.len())
            .sum()
    };
    second(0);
    let high = second(30);
    second(60);
    encoder.set_bitrate(200_000).unwrap();
    let mut second = |from: u32| -> usize {
        (from..from + 30)
            .filter_map(|n| encode(&mut encoder, n, false))
            .map(|encoded| encoded.data.len())
            .sum()
    };
    second(90);
    let low = second(120);
    assert!(low * 8 < 300_000, "{} b/s", low * 8);
    assert!(low * 2 < high, "{high} then {low} bytes");
}

#[test]
fn after_a_fall_of_the_bitrate_the_next_pictures_fit_into_it() {
    let settings = Vp8Settings { bitrate: 1_500_000, ..Vp8Settings::new(640, 360, 2) };
    let mut encoder = Vp8Encoder::new(settings).unwrap();
    let bits = |encoder: &mut Vp8Encoder, n: u32| {
        encoder.push(&grainy(640, 360, n), i64::from(n) * 3000, false).unwrap();
        encoder.pop().map_or(0, |encoded| encoded.data.len() * 8)
    };
    let before: usize = (0..90).map(|n| bits(&mut encoder, n)).sum();
    assert!(before > 3_000_000, "{before}");
    encoder.set_bitrate(200_000).unwrap();
    let first: usize = (90..100).map(|n| bits(&mut encoder, n)).sum();
    assert!(first < 50_000, "{first} bits in a third of a second");
    // Nor is it used less for long.
    let second: usize = (100..160).map(|n| bits(&mut encoder, n)).sum();
    assert!((300_000..500_000).contains(&second), "{second} bits in two seconds");
}

#[test]
fn what_is_no_picture_is_an_error_and_a_keyframe_mends_it() {
    let mut encoder = Vp8Encoder::new(Vp8Settings::new(64, 48, 2)).unwrap();
    let key = encode(&mut encoder, 0, true).unwrap().data;
    let delta = encode(&mut encoder, 1, false).unwrap().data;
    let mut decoder = Vp8Decoder::new().unwrap();
    let mut pool = Pool::new();
    assert!(matches!(decoder.push(&delta), Err(CodecError::Broken(_))));
    for garbage in [vec![], vec![0], vec![0xff; 3], vec![0; 100], (0..=255).collect()] {
        assert!(matches!(decoder.push(&garbage), Err(CodecError::Broken(_))), "{garbage:?}");
        assert!(decoder.push(&delta).is_err());
        decoder.push(&key).unwrap();
        assert!(decoder.pop(&mut pool).is_some());
    }
}

/// The most memory that this process has used so far, in bytes.
#[cfg(target_os = "linux")]
fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Libvpx makes its buffers as soon as it has read a size: 1.6 GB for the largest that VP8 can name.
#[cfg(target_os = "linux")]
#[test]
fn a_header_over_1920x1088_is_refused_before_libvpx_sees_it() {
    let mut encoder = Vp8Encoder::new(Vp8Settings::new(64, 48, 2)).unwrap();
    let key = encode(&mut encoder, 0, true).unwrap().data;
    let delta = encode(&mut encoder, 1, false).unwrap().data;
    let sized = |width: u16, height: u16| {
        let mut data = key.to_vec();
        data[6..8].copy_from_slice(&width.to_le_bytes());
        data[8..10].copy_from_slice(&height.to_le_bytes());
        data
    };
    let (mut decoder, mut pool) = (Vp8Decoder::new().unwrap(), Pool::new());
    // The largest that is taken comes as far as libvpx, which misses its data; a second makes no new buffers.
    for _ in 0..2 {
        assert!(matches!(decoder.push(&sized(1920, 1088)), Ok(()) | Err(CodecError::Broken(_))));
    }
    let before = most_memory();
    for (width, height) in [(1921, 1088), (1920, 1089), (2, 16_383), (16_383, 2), (16_383, 16_383)] {
        decoder.push(&key).unwrap();
        assert!(decoder.pop(&mut pool).is_some());
        // The two bits above a side are a scale, and not its own.
        for scale in [0, 0xc000] {
            let large = sized(width | scale, height | scale);
            let (width, height) = (u32::from(width), u32::from(height));
            assert_eq!(decoder.push(&large), Err(CodecError::TooLarge { width, height }));
            assert!(matches!(decoder.push(&delta), Err(CodecError::Broken(_))), "a keyframe is needed");
        }
    }
    // The system counts it in batches: the same may be a little less when it is read again.
    let grown = most_memory().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes for pictures that are refused");
}

fn frame(picture: I420) -> Frame {
    Frame { image: Arc::new(picture), captured: Instant::now() }
}

fn start_out(settings: VideoSettings) -> (VideoOut, Slot<Frame>, Receiver<EncodedFrame>) {
    let slot = Slot::default();
    // overflow: a test that encodes more than this without reading fails.
    let (sender, encoded) = sync_channel(256);
    let out = VideoOut::spawn(slot.clone(), Box::new(move |frame| sender.try_send(frame).unwrap()), settings);
    (out, slot, encoded)
}

/// Gives pictures until one comes out encoded.
fn push(
    slot: &Slot<Frame>,
    encoded: &Receiver<EncodedFrame>,
    size: (u32, u32),
    captured: Instant,
) -> EncodedFrame {
    slot.put(Frame { captured, ..frame(moving(size.0, size.1, 0)) });
    encoded.recv_timeout(WAIT).expect("an encoded picture in time")
}

#[test]
fn the_encoder_thread_follows_size_and_wishes() {
    let (out, slot, encoded) = start_out(VideoSettings::default());
    let start = Instant::now();
    let at = |n: u32| start + Duration::from_secs(1) * n / 30;
    let first = push(&slot, &encoded, (640, 360), at(1));
    assert!(first.key && (first.width, first.height) == (640, 360));
    let second = push(&slot, &encoded, (640, 360), at(2));
    assert!(!second.key);
    assert_eq!(second.timestamp.wrapping_sub(first.timestamp).abs_diff(3000), 0);
    out.request_keyframe();
    assert!(push(&slot, &encoded, (640, 360), at(3)).key);
    // Within 200 ms of the last one a wish waits, and is not lost.
    out.request_keyframe();
    let asked = Instant::now();
    let late = (4..).find(|n| push(&slot, &encoded, (640, 360), at(*n)).key).unwrap();
    assert!(late > 4 || asked.elapsed() >= Duration::from_millis(150));
    let large = push(&slot, &encoded, (1920, 1080), at(late + 1));
    assert!(large.key && (large.width, large.height) == (1280, 720));
    let stats = out.stats();
    assert_eq!((stats.width, stats.height, stats.bitrate), (1280, 720, 2_000_000));
    assert!(stats.frames_encoded >= 5 && stats.keyframes >= 4 && stats.encode_ms > 0.0);
    out.set_bitrate(300_000);
    push(&slot, &encoded, (1280, 720), at(late + 2));
    assert_eq!(out.stats().bitrate, 300_000);
}

/// Else the first picture after a wait is as large as all that were left out, and the network behind again.
#[test]
fn pictures_left_out_for_the_network_leave_nothing_to_spend() {
    let slot = Slot::default();
    let (sender, encoded) = sync_channel(256);
    let (asked, asks) = sync_channel(256);
    let waits = Arc::new(AtomicBool::new(false));
    let behind = waits.clone();
    let out = VideoOut::spawn_paced(
        slot.clone(),
        Box::new(move |frame| sender.try_send(frame).unwrap()),
        Box::new(move || {
            // Before the next picture is given, which may change it.
            let waits = behind.load(Ordering::Relaxed);
            asked.try_send(()).unwrap();
            waits
        }),
        VideoSettings { bitrate: Some(400_000), ..VideoSettings::default() },
    );
    let start = Instant::now();
    let at = |n: u32| start + Duration::from_secs(1) * n / 30;
    for n in 1..=150_u32 {
        waits.store((120..132).contains(&n), Ordering::Relaxed);
        // Nothing moves meanwhile: that alone would make the next picture larger.
        let shown = if n < 120 { n } else { n.saturating_sub(12).max(119) };
        slot.put(Frame { captured: at(n), ..frame(grainy(320, 180, shown)) });
        asks.recv_timeout(WAIT).expect("a picture taken");
    }
    drop(out);
    let all: Vec<EncodedFrame> = encoded.iter().collect();
    assert!(all.iter().all(|frame| !(at(120)..at(132)).contains(&frame.captured)), "none is left out");
    let first = all.iter().position(|frame| frame.captured >= at(132)).unwrap();
    let before = &all[first - 30..first];
    let mean = before.iter().map(|frame| frame.data.len()).sum::<usize>() / before.len();
    assert!(all[first].data.len() < 2 * mean, "{} after {mean} bytes each", all[first].data.len());
}

#[test]
fn off_sinks_nothing_and_on_starts_with_a_keyframe() {
    let (out, slot, encoded) = start_out(VideoSettings::default());
    let start = Instant::now();
    let at = |n: u32| start + Duration::from_secs(n.into());
    push(&slot, &encoded, (64, 48), at(1));
    out.set_on(false);
    slot.put(Frame { captured: at(2), ..frame(moving(64, 48, 1)) });
    assert!(encoded.recv_timeout(Duration::from_millis(200)).is_err());
    out.set_on(true);
    assert!(push(&slot, &encoded, (64, 48), at(3)).key);
    drop(out);
    assert!(encoded.recv_timeout(WAIT).is_err());
}

#[test]
fn suspended_sinks_nothing_and_goes_on_with_a_keyframe() {
    let (out, slot, encoded) = start_out(VideoSettings::default());
    let start = Instant::now();
    let at = |n: u32| start + Duration::from_secs(n.into());
    push(&slot, &encoded, (64, 48), at(1));
    assert!(!push(&slot, &encoded, (64, 48), at(2)).key);
    assert!(out.set_suspended(true) && !out.set_suspended(true), "once");
    assert!(out.stats().suspended);
    slot.put(Frame { captured: at(3), ..frame(moving(64, 48, 1)) });
    assert!(encoded.recv_timeout(Duration::from_millis(200)).is_err());
    assert!(out.set_suspended(false) && !out.stats().suspended);
    assert!(push(&slot, &encoded, (64, 48), at(4)).key);
}

/// A picture as RTP packets of at most 500 bytes, numbered from `seq`.
fn packets(data: &[u8], seq: u16, timestamp: u32) -> Vec<RtpPacket> {
    let count = data.chunks(500).count();
    let packet = |(at, chunk): (usize, &[u8])| RtpPacket {
        seq: seq.wrapping_add(at as u16),
        timestamp,
        marker: at + 1 == count,
        payload: Bytes::from([&[if at == 0 { 0x10 } else { 0 }], chunk].concat()),
        arrived: Instant::now(),
        sender_us: None,
    };
    data.chunks(500).enumerate().map(packet).collect()
}

#[test]
fn the_decoder_thread_shows_recovers_and_goes_black() {
    let slot = Slot::default();
    // overflow: more wishes than this are dropped; the test counts the first.
    let (sender, wishes) = sync_channel(16);
    let input = VideoIn::spawn("test", vec![slot.clone()], Box::new(move || _ = sender.try_send(())));
    let inlet = input.inlet();
    let mut encoder = Vp8Encoder::new(Vp8Settings::new(320, 180, 2)).unwrap();
    let mut seq = 65_500;
    let mut next = |n: u32, key: bool| -> Vec<RtpPacket> {
        let packets = packets(&encode(&mut encoder, n, key).unwrap().data, seq, n * 3000);
        seq = seq.wrapping_add(packets.len() as u16);
        packets
    };
    let shown = || slot.wait(Instant::now() + WAIT).expect("a picture in time");
    next(0, false).into_iter().for_each(|packet| inlet.push(packet));
    assert!(psnr(&shown().image, &moving(320, 180, 0)) > 25.0);
    // A lost packet: the picture stands still, a keyframe is wished for, and mends it.
    next(1, false).into_iter().skip(1).for_each(|packet| inlet.push(packet));
    next(2, false).into_iter().for_each(|packet| inlet.push(packet));
    wishes.recv_timeout(WAIT).expect("a wish for a keyframe");
    assert!(slot.take().is_none());
    next(3, true).into_iter().for_each(|packet| inlet.push(packet));
    assert!(psnr(&shown().image, &moving(320, 180, 3)) > 25.0);
    input.clear();
    assert!(*shown().image == I420::black(320, 180));
    // What was still on its way does not bring the old picture back.
    next(4, false).into_iter().for_each(|packet| inlet.push(packet));
    wishes.recv_timeout(WAIT).expect("a wish for a keyframe");
    assert!(slot.take().is_none());
    let stats = input.stats();
    assert_eq!((stats.frames_decoded, stats.key_frames_decoded), (2, 2));
    assert_eq!((stats.width, stats.height, stats.packets_lost), (320, 180, 1));
    assert!(stats.plis >= 1 && stats.frames_dropped >= 1);
}

/// A clip's first line and its pictures.
fn parse(bytes: &[u8], size: usize) -> (String, Vec<(u128, Vec<u8>)>) {
    let line = |bytes: &[u8]| {
        String::from_utf8(bytes.split(|byte| *byte == b'\n').next().unwrap().to_vec()).unwrap()
    };
    let header = line(bytes);
    let mut rest = &bytes[header.len() + 1..];
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let frame = line(rest);
        let time = frame.strip_prefix("FRAME Xt=").unwrap().parse().unwrap();
        rest = &rest[frame.len() + 1..];
        frames.push((time, rest[..size].to_vec()));
        rest = &rest[size..];
    }
    (header, frames)
}

/// Puts a picture and waits until it is taken.
#[cfg(unix)]
fn put_and_see_taken(slot: &Slot<Frame>, picture: I420) {
    slot.put(frame(picture));
    let deadline = Instant::now() + WAIT;
    while slot.peek().is_some() {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
}

#[test]
#[cfg(unix)]
fn a_sink_writes_every_picture_at_one_size() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.y4m");
    let slot = Slot::default();
    let sink = media::Y4mSink::spawn(&path, slot.clone(), None).unwrap();
    put_and_see_taken(&slot, I420::black(64, 48));
    put_and_see_taken(&slot, moving(128, 96, 0));
    drop(sink);
    let (header, frames) = parse(&std::fs::read(&path).unwrap(), I420::bytes(64, 48));
    assert!(header.starts_with("YUV4MPEG2 W64 H48 "), "{header}");
    assert_eq!(frames.len(), 2);
    assert!(frames[0].1 == I420::black(64, 48).packed() && frames[0].0 <= frames[1].0);
    let missing = dir.path().join("no/such/folder.y4m");
    assert!(media::Y4mSink::spawn(&missing, Slot::default(), None).is_err());
}

#[test]
#[cfg(unix)]
fn a_slow_reader_of_a_pipe_costs_pictures_and_nothing_else() {
    use std::io::Read;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let slot = Slot::default();
    let sink = media::Y4mSink::spawn(&path, slot.clone(), Some((640, 360))).unwrap();
    // Nobody reads: pictures go nowhere, and nothing waits.
    (0..5).for_each(|n| put_and_see_taken(&slot, moving(640, 360, n)));
    let mut reader = std::fs::OpenOptions::new().read(true).custom_flags_nonblocking().open(&path).unwrap();
    // A reader that reads nothing: the pipe fills up, then pictures are dropped, at once.
    let started = Instant::now();
    (0..200).for_each(|n| slot.put(frame(moving(64, 36, n))));
    assert!(started.elapsed() < WAIT);
    put_and_see_taken_or_stuck(&slot);
    drop(sink);
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    assert!(bytes.starts_with(b"YUV4MPEG2 W640 H360 "));
    assert!(slot.overwritten() > 0);
}

/// Keeps putting pictures until one stays: the sink waits for its reader.
#[cfg(unix)]
fn put_and_see_taken_or_stuck(slot: &Slot<Frame>) {
    let deadline = Instant::now() + WAIT;
    loop {
        assert!(Instant::now() < deadline);
        slot.put(frame(moving(640, 360, 0)));
        let look = Instant::now() + Duration::from_millis(300);
        while slot.peek().is_some() && Instant::now() < look {
            std::thread::yield_now();
        }
        if slot.peek().is_some() {
            return;
        }
    }
}

#[cfg(unix)]
trait NonBlocking {
    fn custom_flags_nonblocking(&mut self) -> &mut Self;
}

#[cfg(unix)]
impl NonBlocking for std::fs::OpenOptions {
    fn custom_flags_nonblocking(&mut self) -> &mut Self {
        use std::os::unix::fs::OpenOptionsExt;
        self.custom_flags(libc::O_NONBLOCK)
    }
}
