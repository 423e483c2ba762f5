//! libvpx: the only file that calls it.
#![expect(unsafe_code, reason = "libvpx is a C library")]

use super::Vp8Settings;
use crate::codec::{CodecError, EncodedPicture};
use crate::frame::I420;
use crate::pool::Pool;
use bytes::Bytes;
use std::convert::Infallible;
use std::ffi::{CStr, c_int, c_uint};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Arc;
use vpx_sys::vp8e_enc_control_id as control;
use vpx_sys::{vpx_codec_ctx_t, vpx_codec_enc_cfg_t, vpx_codec_err_t, vpx_image_t};

/// What the rate control aims to have saved, and what it has left at most after a fall of the bitrate, both in ms of it.
/// What was saved at the old bitrate is seconds of the new one: from 1.7 Mb/s to 240 kb/s the second after the fall takes 346 kbit
/// without this, and 209 with it (640x360, the lab's clip). A debt from before stays as it is.
pub(super) const OPTIMAL: u32 = 600;
const IN_DEBT: u32 = 400;

/// libvpx's words for an error code.
fn words(code: vpx_codec_err_t) -> String {
    // SAFETY: the function gives a pointer to a constant string for any code.
    let text = unsafe { CStr::from_ptr(vpx_sys::vpx_codec_err_to_string(code)) };
    text.to_string_lossy().into_owned()
}

fn check(code: vpx_codec_err_t, what: &str) -> Result<(), CodecError> {
    match code {
        vpx_codec_err_t::VPX_CODEC_OK => Ok(()),
        code => Err(CodecError::Refused(format!("{what}: {}", words(code)))),
    }
}

/// An initialised libvpx context, destroyed once. Boxed: libvpx may keep its address.
struct Context(Box<vpx_codec_ctx_t>);

// SAFETY: libvpx binds a context to no thread, and we only reach it through `&mut`.
unsafe impl Send for Context {}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: the context was initialised, and nothing uses it after this.
        unsafe { vpx_sys::vpx_codec_destroy(&mut *self.0) };
    }
}

fn blank_context() -> Box<vpx_codec_ctx_t> {
    // SAFETY: all zeros is a valid value of every field (null pointers, VPX_CODEC_OK).
    Box::new(unsafe { MaybeUninit::zeroed().assume_init() })
}

pub(super) struct RawEncoder {
    context: Context,
    config: vpx_codec_enc_cfg_t,
}

// SAFETY: the configuration's only pointers are the null buffers of two-pass coding, which is not used.
unsafe impl Send for RawEncoder {}

impl RawEncoder {
    pub(super) fn new(settings: &Vp8Settings) -> Result<Self, CodecError> {
        let config = config(settings)?;
        let mut context = blank_context();
        // SAFETY: context and configuration are valid for the call; libvpx copies the configuration.
        let code = unsafe {
            vpx_sys::vpx_codec_enc_init_ver(
                &mut *context,
                vpx_sys::vpx_codec_vp8_cx(),
                &config,
                0,
                vpx_sys::VPX_ENCODER_ABI_VERSION as c_int,
            )
        };
        check(code, "start of the encoder")?;
        let mut encoder = Self { context: Context(context), config };
        encoder.control(control::VP8E_SET_CPUUSED, settings.cpu_used())?;
        encoder.control(control::VP8E_SET_STATIC_THRESHOLD, 1)?;
        encoder.control(control::VP8E_SET_TOKEN_PARTITIONS, 0)?;
        // 4 is libvpx's adaptive denoiser.
        encoder.control(control::VP8E_SET_NOISE_SENSITIVITY, if settings.denoise { 4 } else { 0 })?;
        encoder.control(control::VP8E_SET_MAX_INTRA_BITRATE_PCT, settings.max_intra_percent() as c_int)?;
        Ok(encoder)
    }

    fn control(&mut self, id: control, value: c_int) -> Result<(), CodecError> {
        // SAFETY: the context lives, and each control used here takes one int.
        let code = unsafe { vpx_sys::vpx_codec_control_(&mut *self.context.0, id as c_int, value) };
        check(code, "a setting of the encoder")
    }

    /// With `in_debt` what was saved up is forgotten, and a little more: the pictures that follow are smaller than the
    /// bitrate allows until that is saved again.
    pub(super) fn set_bitrate(&mut self, bps: u32, in_debt: bool) -> Result<(), CodecError> {
        self.config.rc_target_bitrate = (bps / 1000).max(1);
        if in_debt {
            // libvpx cuts what it has saved to what its buffer holds; the buffer is as before afterwards.
            let short = vpx_codec_enc_cfg_t {
                rc_buf_initial_sz: IN_DEBT,
                rc_buf_optimal_sz: IN_DEBT,
                rc_buf_sz: IN_DEBT,
                ..self.config
            };
            self.configure(&short)?;
        }
        let config = self.config;
        self.configure(&config)
    }

    fn configure(&mut self, config: &vpx_codec_enc_cfg_t) -> Result<(), CodecError> {
        // SAFETY: context and configuration are valid for the call; libvpx copies the configuration.
        let code = unsafe { vpx_sys::vpx_codec_enc_config_set(&mut *self.context.0, config) };
        check(code, "a change of bitrate")
    }

    pub(super) fn set_speed(&mut self, cpu_used: i32) -> Result<(), CodecError> {
        self.control(control::VP8E_SET_CPUUSED, cpu_used)
    }

    fn quantizer(&mut self) -> u8 {
        let mut index: c_int = 0;
        // SAFETY: the context lives, and this control takes the address of one int, which it writes.
        let code = unsafe {
            vpx_sys::vpx_codec_control_(
                &mut *self.context.0,
                control::VP8E_GET_LAST_QUANTIZER_64 as c_int,
                &mut index as *mut c_int,
            )
        };
        // It fails for no encoder that has encoded; if it did, quality would be taken for the best.
        if code == vpx_sys::vpx_codec_err_t::VPX_CODEC_OK { u8::try_from(index).unwrap_or(63) } else { 0 }
    }

    /// Encodes a picture of the size set up; none comes out when the rate control drops it.
    pub(super) fn encode(
        &mut self,
        picture: &I420,
        ticks: i64,
        duration: u64,
        key: bool,
    ) -> Result<Option<EncodedPicture>, CodecError> {
        let image = image_of(picture);
        let flags = if key { vpx_sys::VPX_EFLAG_FORCE_KF } else { 0 };
        // SAFETY: the image points into `picture`, which outlives the call; libvpx copies it and only reads.
        let code = unsafe {
            vpx_sys::vpx_codec_encode(
                &mut *self.context.0,
                &image,
                ticks,
                duration as _,
                flags as _,
                vpx_sys::VPX_DL_REALTIME as _,
            )
        };
        check(code, "encoding")?;
        Ok(self.packet())
    }

    fn packet(&mut self) -> Option<EncodedPicture> {
        let mut iterator = ptr::null();
        let quantizer = self.quantizer();
        let mut found = None;
        loop {
            // SAFETY: the context lives; the iterator belongs to this loop alone.
            let packet = unsafe { vpx_sys::vpx_codec_get_cx_data(&mut *self.context.0, &mut iterator) };
            // SAFETY: libvpx gives null or a packet that stays valid until the next encode.
            let Some(packet) = (unsafe { packet.as_ref() }) else { return found };
            if packet.kind == vpx_sys::vpx_codec_cx_pkt_kind::VPX_CODEC_CX_FRAME_PKT {
                // SAFETY: of a frame packet, `frame` is the union's live member, and its buffer holds
                // `sz` bytes until the next encode.
                let (bytes, flags) = unsafe {
                    let frame = &packet.data.frame;
                    (std::slice::from_raw_parts(frame.buf.cast::<u8>(), frame.sz as usize), frame.flags)
                };
                let key = flags & vpx_sys::VPX_FRAME_IS_KEY != 0;
                found = Some(EncodedPicture { data: Bytes::copy_from_slice(bytes), key, quantizer });
            }
        }
    }
}

/// libwebrtc's settings for one layer of camera video in real time.
fn config(settings: &Vp8Settings) -> Result<vpx_codec_enc_cfg_t, CodecError> {
    let mut config = MaybeUninit::<vpx_codec_enc_cfg_t>::zeroed();
    // SAFETY: the pointer is valid for writes of a configuration.
    let code =
        unsafe { vpx_sys::vpx_codec_enc_config_default(vpx_sys::vpx_codec_vp8_cx(), config.as_mut_ptr(), 0) };
    check(code, "default settings of the encoder")?;
    // SAFETY: on success libvpx has written the whole configuration.
    let mut config = unsafe { config.assume_init() };
    config.g_w = settings.width;
    config.g_h = settings.height;
    config.g_threads = settings.threads;
    config.g_timebase = vpx_sys::vpx_rational { num: 1, den: 90_000 };
    config.g_error_resilient = 0;
    config.g_pass = vpx_sys::vpx_enc_pass::VPX_RC_ONE_PASS;
    config.g_lag_in_frames = 0;
    config.rc_dropframe_thresh = 30;
    config.rc_resize_allowed = 0;
    config.rc_end_usage = vpx_sys::vpx_rc_mode::VPX_CBR;
    config.rc_target_bitrate = (settings.bitrate / 1000).max(1);
    config.rc_min_quantizer = 2;
    config.rc_max_quantizer = 56;
    config.rc_undershoot_pct = 100;
    config.rc_overshoot_pct = 15;
    config.rc_buf_initial_sz = 500;
    config.rc_buf_optimal_sz = OPTIMAL;
    config.rc_buf_sz = 1000;
    config.kf_mode = vpx_sys::vpx_kf_mode::VPX_KF_AUTO;
    config.kf_max_dist = 3000;
    Ok(config)
}

/// A libvpx image over a picture's own memory.
fn image_of(picture: &I420) -> vpx_image_t {
    // SAFETY: all zeros is a valid value of every field (null pointers, format NONE).
    let mut image: vpx_image_t = unsafe { MaybeUninit::zeroed().assume_init() };
    let [y, u, v] = picture.planes();
    image.fmt = vpx_sys::vpx_img_fmt::VPX_IMG_FMT_I420;
    (image.w, image.h) = (picture.width(), picture.height());
    (image.d_w, image.d_h) = (picture.width(), picture.height());
    image.bit_depth = 8;
    image.bps = 12;
    (image.x_chroma_shift, image.y_chroma_shift) = (1, 1);
    image.planes = [y.as_ptr().cast_mut(), u.as_ptr().cast_mut(), v.as_ptr().cast_mut(), ptr::null_mut()];
    let (luma, chroma) = (picture.width() as c_int, picture.chroma_width() as c_int);
    image.stride = [luma, chroma, chroma, 0];
    image
}

pub(super) struct RawDecoder {
    context: Context,
}

impl RawDecoder {
    pub(super) fn new() -> Result<Self, CodecError> {
        let mut context = blank_context();
        let config = vpx_sys::vpx_codec_dec_cfg_t { threads: 1, w: 0, h: 0 };
        // SAFETY: context and configuration are valid for the call; libvpx copies the configuration.
        let code = unsafe {
            vpx_sys::vpx_codec_dec_init_ver(
                &mut *context,
                vpx_sys::vpx_codec_vp8_dx(),
                &config,
                0,
                vpx_sys::VPX_DECODER_ABI_VERSION as c_int,
            )
        };
        check(code, "start of the decoder")?;
        Ok(Self { context: Context(context) })
    }

    pub(super) fn decode(&mut self, data: &[u8]) -> Result<(), CodecError> {
        let size = c_uint::try_from(data.len()).map_err(|_| CodecError::Broken("too long".into()))?;
        // SAFETY: `data` is valid for `size` bytes during the call.
        let code = unsafe {
            vpx_sys::vpx_codec_decode(&mut *self.context.0, data.as_ptr(), size, ptr::null_mut(), 0)
        };
        if code != vpx_codec_err_t::VPX_CODEC_OK {
            return Err(CodecError::Broken(words(code)));
        }
        let mut corrupt: c_int = 0;
        let id = vpx_sys::vp8_dec_control_id::VP8D_GET_FRAME_CORRUPTED as c_int;
        // SAFETY: this control writes one int.
        let code =
            unsafe { vpx_sys::vpx_codec_control_(&mut *self.context.0, id, ptr::from_mut(&mut corrupt)) };
        if code != vpx_codec_err_t::VPX_CODEC_OK || corrupt != 0 {
            return Err(CodecError::Broken("parts of the picture are missing".into()));
        }
        Ok(())
    }

    /// The picture last decoded, copied out of libvpx's bordered buffer.
    pub(super) fn picture(&mut self, pool: &mut Pool) -> Option<Arc<I420>> {
        let mut iterator = ptr::null();
        // SAFETY: the context lives; null or an image that stays valid until the next decode comes back.
        let image = unsafe { vpx_sys::vpx_codec_get_frame(&mut *self.context.0, &mut iterator).as_ref() }?;
        if image.fmt != vpx_sys::vpx_img_fmt::VPX_IMG_FMT_I420 {
            return None;
        }
        let copied = pool.picture(image.d_w, image.d_h, |picture| {
            let widths = [picture.width(), picture.chroma_width(), picture.chroma_width()];
            for (plane, target) in picture.planes_mut().into_iter().enumerate() {
                let (width, stride) = (widths[plane] as usize, image.stride[plane] as usize);
                for (row, line) in target.chunks_exact_mut(width).enumerate() {
                    // SAFETY: the plane holds this row: the picture has the image's size (the decoder's
                    // bounds on size are narrower than those of I420), and a row is `stride` bytes apart.
                    let source =
                        unsafe { std::slice::from_raw_parts(image.planes[plane].add(row * stride), width) };
                    line.copy_from_slice(source);
                }
            }
            Ok::<(), Infallible>(())
        });
        match copied {
            Ok(picture) => Some(picture),
            Err(never) => match never {},
        }
    }
}
