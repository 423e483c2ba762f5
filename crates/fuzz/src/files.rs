//! Files in the place of devices, and what a camera hands over.

use media::convert::Jpeg;
use media::{I420, audio, y4m as clip};
use std::io::Cursor;

/// Larger pictures are read no further than their header, for the sake of speed.
const MOST_BYTES: usize = 1 << 20;

/// A y4m clip: read, skipped, rewound, read again.
pub fn y4m(data: &[u8]) {
    let Ok(mut reader) = clip::Reader::new(Cursor::new(data)) else { return };
    let header = reader.header();
    assert!((2..=I420::MAX_SIDE).contains(&header.width) && (2..=I420::MAX_SIDE).contains(&header.height));
    assert!((0.001..=10.0).contains(&header.interval().as_secs_f64()), "{header:?}");
    if I420::bytes(header.width, header.height) > MOST_BYTES {
        return;
    }
    let mut picture = I420::black(header.width, header.height);
    let mut count = 0;
    while reader.read(&mut picture).is_ok() && reader.skip().is_ok() {
        count += 1;
        // The shortest frame is its line and six bytes.
        assert!(count <= data.len() / 12, "more pictures than there are bytes");
    }
    let first = reader.rewind().map(|()| reader.read(&mut picture).is_ok());
    assert!(count == 0 || !matches!(first, Ok(false)), "a picture that was there is gone");
}

/// A wav file as a microphone, for a fifth of a second, stereo half the time.
pub fn wav(data: &[u8]) {
    if let Ok(samples) = audio::examine::wav(data, 20) {
        assert_eq!(samples, 9600 * 3 / 2);
    }
}

/// A camera's JPEG. The first two bytes are the size that was set.
pub fn mjpeg(data: &[u8]) {
    let Some((&[width, height], jpeg)) = data.split_first_chunk::<2>() else { return };
    let mut picture = I420::black(u32::from(width), u32::from(height));
    let mut decoder = Jpeg::default();
    let first = decoder.decode(jpeg, &mut picture).is_ok();
    assert_eq!(decoder.decode(jpeg, &mut picture).is_ok(), first, "the one before makes a difference");
}
