//! The camera's thread with the sources that need no device, and clips that are no clips.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use media::{Camera, CameraEvent, CameraUse, DeviceError, Frame, Slot};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

const WAIT: Duration = Duration::from_secs(20);

fn start() -> (Camera, Slot<Frame>, Receiver<CameraEvent>) {
    let slot = Slot::default();
    // overflow: a test that makes more events than this fails when it misses one.
    let (sender, events) = sync_channel(64);
    let camera = Camera::spawn(vec![slot.clone()], Box::new(move |event| drop(sender.try_send(event))));
    (camera, slot, events)
}

/// A clip whose pictures are grey of the given lumas.
fn clip(dir: &Path, name: &str, (width, height): (u32, u32), fps: u32, lumas: &[u8]) -> PathBuf {
    let path = dir.join(name);
    let mut file = std::fs::File::create(&path).unwrap();
    writeln!(file, "YUV4MPEG2 W{width} H{height} F{fps}:1 Ip A1:1 C420jpeg").unwrap();
    for luma in lumas {
        file.write_all(b"FRAME\n").unwrap();
        file.write_all(&vec![*luma; (width * height) as usize]).unwrap();
        file.write_all(&vec![128; 2 * (width.div_ceil(2) * height.div_ceil(2)) as usize]).unwrap();
    }
    path
}

fn luma(frame: &Frame) -> u8 {
    frame.image.packed()[0]
}

fn next(slot: &Slot<Frame>) -> Frame {
    slot.wait(Instant::now() + WAIT).expect("a picture in time")
}

fn opened(events: &Receiver<CameraEvent>) -> (CameraUse, u32, u32) {
    match events.recv_timeout(WAIT).expect("an event in time") {
        CameraEvent::Opened { source, width, height, .. } => (source, width, height),
        other => panic!("{other:?}"),
    }
}

#[test]
fn switching_clips_delivers_the_other_ones_pictures() {
    let dir = tempfile::tempdir().unwrap();
    let a = CameraUse::File(clip(dir.path(), "a.y4m", (64, 48), 50, &[50, 60]));
    let b = CameraUse::File(clip(dir.path(), "b.y4m", (31, 17), 50, &[200, 210]));
    let (camera, slot, events) = start();
    camera.use_source(a.clone());
    assert_eq!(opened(&events), (a, 64, 48));
    assert_eq!(luma(&next(&slot)), 50);
    camera.use_source(b.clone());
    assert_eq!(opened(&events), (b, 31, 17));
    // The event comes after the last picture of the old clip and before the first of the new one.
    let frame = std::iter::repeat_with(|| next(&slot)).find(|frame| frame.image.width() == 31).unwrap();
    assert!([200, 210].contains(&luma(&frame)));
    assert!((0..5).all(|_| next(&slot).image.width() == 31));
}

#[test]
fn a_clip_is_looped_and_paced() {
    let dir = tempfile::tempdir().unwrap();
    let path = clip(dir.path(), "a.y4m", (16, 16), 20, &[20, 40, 60]);
    let (camera, slot, events) = start();
    camera.use_source(CameraUse::File(path));
    opened(&events);
    let frames: Vec<Frame> = (0..8).map(|_| next(&slot)).collect();
    for pair in frames.windows(2) {
        // A slow machine leaves whole pictures out, and never shows one early.
        let gap = pair[1].captured - pair[0].captured;
        let steps = (gap.as_secs_f64() * 20.0).round() as usize;
        assert!(steps >= 1);
        if steps < 20 {
            assert_eq!(
                (usize::from(luma(&pair[0])) / 20 - 1 + steps) % 3,
                usize::from(luma(&pair[1])) / 20 - 1
            );
        }
    }
}

#[test]
fn a_switch_that_fails_keeps_the_old_source() {
    let dir = tempfile::tempdir().unwrap();
    let a = CameraUse::File(clip(dir.path(), "a.y4m", (64, 48), 50, &[50]));
    let missing = CameraUse::File(dir.path().join("missing.y4m"));
    let (camera, slot, events) = start();
    camera.use_source(a.clone());
    opened(&events);
    camera.use_source(missing.clone());
    match events.recv_timeout(WAIT).unwrap() {
        CameraEvent::Failed { source, error: DeviceError::NotFound { .. }, fell_back: true } => {
            assert_eq!(source, missing);
        }
        other => panic!("{other:?}"),
    }
    slot.take();
    assert_eq!(luma(&next(&slot)), 50);
    // Off and on again opens what was in use, not what failed.
    camera.set_on(false);
    assert_eq!(events.recv_timeout(WAIT).unwrap(), CameraEvent::Closed);
    camera.set_on(true);
    assert_eq!(opened(&events).0, a);
}

#[test]
fn a_first_source_that_fails_leaves_nothing_open() {
    let (camera, slot, events) = start();
    camera.use_source(CameraUse::Device("no such camera".into()));
    let event = events.recv_timeout(WAIT).unwrap();
    assert!(matches!(
        event,
        CameraEvent::Failed { fell_back: false, error: DeviceError::NotFound { .. }, .. }
    ));
    camera.use_source(CameraUse::Pattern);
    assert_eq!(opened(&events), (CameraUse::Pattern, 640, 360));
    assert_eq!(next(&slot).image.width(), 640);
}

#[cfg(target_os = "linux")]
fn holds_open(path: &Path) -> bool {
    let links = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    links.filter_map(|link| std::fs::read_link(link.path()).ok()).any(|target| target == path)
}

#[test]
#[cfg(target_os = "linux")]
fn off_closes_the_source_and_keeps_the_choice() {
    let dir = tempfile::tempdir().unwrap();
    let path = clip(dir.path(), "a.y4m", (64, 48), 50, &[50]);
    let path = path.canonicalize().unwrap();
    let (camera, slot, events) = start();
    camera.use_source(CameraUse::File(path.clone()));
    opened(&events);
    next(&slot);
    assert!(holds_open(&path));
    camera.set_on(false);
    assert_eq!(events.recv_timeout(WAIT).unwrap(), CameraEvent::Closed);
    assert!(!holds_open(&path));
    slot.take();
    assert!(slot.wait(Instant::now() + Duration::from_millis(200)).is_none());
    // A choice made while off is opened when on.
    camera.use_source(CameraUse::Pattern);
    camera.set_on(true);
    assert_eq!(opened(&events).0, CameraUse::Pattern);
    next(&slot);
}

#[test]
fn clips_that_are_none_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let whole = std::fs::read(clip(dir.path(), "whole.y4m", (16, 16), 30, &[50])).unwrap();
    let header = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let mut cases: Vec<(String, Vec<u8>)> = vec![
        ("empty".into(), vec![]),
        ("garbage".into(), vec![0xa5; 5000]),
        ("long line".into(), vec![b'A'; 5000]),
        ("no size".into(), b"YUV4MPEG2 F30:1\nFRAME\n".to_vec()),
        ("huge".into(), b"YUV4MPEG2 W99999999 H16 F30:1\nFRAME\n".to_vec()),
        ("rate".into(), b"YUV4MPEG2 W16 H16 F1:0\nFRAME\n".to_vec()),
        ("4:4:4".into(), b"YUV4MPEG2 W16 H16 F30:1 C444\nFRAME\n".to_vec()),
        ("10 bit".into(), b"YUV4MPEG2 W16 H16 F30:1 C420p10\nFRAME\n".to_vec()),
        ("not text".into(), b"YUV4MPEG2 W16 H16 \xff\xfe\nFRAME\n".to_vec()),
    ];
    cases.push(("no frame".into(), whole[..header].to_vec()));
    cases.push(("no FRAME".into(), [&whole[..header], b"GARBAGE\n", &[0; 384]].concat()));
    cases.push(("cut first frame".into(), whole[..whole.len() - 1].to_vec()));
    let (camera, _slot, events) = start();
    for (name, bytes) in cases {
        let path = dir.path().join(&name);
        std::fs::write(&path, bytes).unwrap();
        camera.use_source(CameraUse::File(path));
        match events.recv_timeout(WAIT).unwrap() {
            CameraEvent::Failed { error: DeviceError::Unusable { why, .. }, .. } => assert!(!why.is_empty()),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn a_cut_last_picture_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = clip(dir.path(), "a.y4m", (16, 16), 50, &[50, 100, 150]);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 200]).unwrap();
    let (camera, slot, events) = start();
    camera.use_source(CameraUse::File(path));
    opened(&events);
    let lumas: Vec<u8> = (0..12).map(|_| luma(&next(&slot))).collect();
    assert!(lumas.iter().all(|luma| [50, 100].contains(luma)) && lumas.contains(&100), "{lumas:?}");
}
