//! Codecs: what is pushed in comes out encoded or decoded by `pop`. No threads in here.

pub mod opus;
pub mod vp8;

use crate::frame::I420;
use crate::pool::Pool;
use bytes::Bytes;
use std::sync::Arc;

/// What a codec could not do, by what there is to do about it.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum CodecError {
    /// The data makes no picture: show nothing of it, ask for a keyframe, carry on from there.
    #[error("the picture cannot be decoded ({0}): a keyframe is needed")]
    Broken(String),
    /// The stream is larger than anything we show: it is refused before memory is spent on it.
    #[error(
        "a picture of {width}x{height} is larger than the {} x {} that is taken",
        vp8::MAX_WIDTH,
        vp8::MAX_HEIGHT
    )]
    TooLarge {
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
    },
    /// The codec does not take this size, or its settings: make another one.
    #[error("the codec refuses to work ({0}): make a new one")]
    Refused(String),
}

/// An encoded picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedPicture {
    /// The codec's bytes, one whole picture.
    pub data: Bytes,
    /// Whether it can be decoded without any picture before it.
    pub key: bool,
    /// How coarse it is: VP8's quantizer index as libvpx tells it, 0 (best) to 63.
    pub quantizer: u8,
}

/// A live video encoder of one picture size.
pub trait VideoEncoder: Send {
    /// Encodes a picture of exactly [`VideoEncoder::size`]. `ticks` (1/90000 s) must grow from call to call.
    /// With `key` it becomes a keyframe.
    fn push(&mut self, picture: &I420, ticks: i64, key: bool) -> Result<(), CodecError>;
    /// What the last push gave: nothing when the rate control dropped the picture.
    fn pop(&mut self) -> Option<EncodedPicture>;
    /// Bits per second from the next picture on.
    fn set_bitrate(&mut self, bps: u32) -> Result<(), CodecError>;
    /// Works so much faster than usual from the next picture on, and less well: 0 to 6.
    fn set_speed(&mut self, faster: i32) -> Result<(), CodecError>;
    /// Pixels across and down.
    fn size(&self) -> (u32, u32);
}

/// A video decoder; follows the stream's size by itself.
pub trait VideoDecoder: Send {
    /// Decodes one whole encoded picture. After an error a keyframe is needed.
    fn push(&mut self, data: &[u8]) -> Result<(), CodecError>;
    /// The picture that the last push gave, written into memory of `pool`.
    fn pop(&mut self, pool: &mut Pool) -> Option<Arc<I420>>;
}
