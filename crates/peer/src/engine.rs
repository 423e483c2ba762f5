//! Builds the RTCPeerConnection: codecs, interceptors, ICE settings. docs/decisions.md has the figures.

use crate::addresses::LocalAddresses;
use crate::clock::Clocks;
use crate::controller::{Controller, Estimate};
use crate::gate::{Door, GATE_SLOT, Gate};
use crate::keyframe::KeyframeWanted;
use crate::nack::NackGenerator;
use crate::net::Net;
use crate::pacer::{PaceControl, Pacer};
use crate::reports::Reports;
use crate::tap::{Counts, TAP_SLOT, Tap};
use crate::{IceServer, PeerConfig};
use rtc::ice::mdns::MulticastDnsMode;
use rtc::interceptor::{NackResponderBuilder, Registry, Slot};
use rtc::peer_connection::configuration::interceptor_registry::{
    configure_nack, configure_rtcp_reports, configure_simulcast_extension_headers, configure_twcc_sender_only,
};
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_OPUS, MIME_TYPE_VP8, MediaEngine};
use rtc::peer_connection::transport::RTCDtlsRole;
use rtc::rtp_transceiver::rtp_sender::{RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RtpCodecKind};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use webrtc::error::Result;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfiguration,
    RTCConfigurationBuilder, RTCIceTransportPolicy, SettingEngine, SettingEngineBuilder,
};

pub(crate) const VP8_PAYLOAD_TYPE: u8 = 96;
pub(crate) const OPUS_PAYLOAD_TYPE: u8 = 111;
pub(crate) const RED_PAYLOAD_TYPE: u8 = 63;
const MIME_TYPE_RED: &str = "audio/red";
/// Packets kept to be sent again: four seconds at 2 Mb/s.
const KEPT_PACKETS: u16 = 1024;
/// What is sent again comes this many packets late at most; the stack's own 64 are 0.3 s of video, and what is
/// later is taken for an attack.
pub(crate) const REPLAY_WINDOW: usize = 1024;
/// A path from which nothing came for so long is called disconnected, one for so much longer failed; and how
/// often it is asked for a sign of life, so that one that is back is known to be.
const SILENT: Duration = Duration::from_secs(3);
const GIVEN_UP: Duration = Duration::from_secs(60);
const KEEP_ALIVE: Duration = Duration::from_millis(800);
/// How often all untried pairs are checked (RFC 8445's pace; the stack's own is 200 ms, which a join waits
/// for), and how often before a pair is given up: 7.5 s.
const CHECK_EVERY: Duration = Duration::from_millis(25);
const CHECKS: u16 = 300;

/// What the interceptors share with the rest.
#[derive(Clone)]
pub(crate) struct Wires {
    pub(crate) audio: Arc<Door>,
    pub(crate) video: Arc<Door>,
    pub(crate) counts: Arc<Mutex<Counts>>,
    pub(crate) keyframe: Arc<KeyframeWanted>,
    pub(crate) pace: Arc<PaceControl>,
    pub(crate) clocks: Arc<Clocks>,
    pub(crate) estimate: watch::Sender<Estimate>,
}

pub(crate) fn vp8() -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: MIME_TYPE_VP8.into(),
        clock_rate: 90_000,
        channels: 0,
        sdp_fmtp_line: String::new(),
        rtcp_feedback: vec![RTCPFeedback { typ: "ccm".into(), parameter: "fir".into() }],
    }
}

/// We take pauses (DTX), and may send stereo, for music. That we would rather be sent stereo is not said: a browser
/// would then send a voice as stereo, at twice its bitrate.
pub(crate) fn opus() -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: MIME_TYPE_OPUS.into(),
        clock_rate: 48_000,
        channels: 2,
        sdp_fmtp_line: "minptime=10;useinbandfec=1;usedtx=1;sprop-stereo=1".into(),
        rtcp_feedback: vec![],
    }
}

/// Opus with copies of earlier packets (RFC 2198), as browsers name it.
pub(crate) fn red() -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: MIME_TYPE_RED.into(),
        clock_rate: 48_000,
        channels: 2,
        sdp_fmtp_line: format!("{OPUS_PAYLOAD_TYPE}/{OPUS_PAYLOAD_TYPE}"),
        rtcp_feedback: vec![],
    }
}

/// Codecs and the chain of interceptors. No RTX: rtc 0.21 unwraps it above the NACK generator, which then
/// asks for ever.
pub(crate) fn media(wires: &Wires) -> Result<(MediaEngine, Registry)> {
    let mut engine = MediaEngine::default();
    let opus = RTCRtpCodecParameters { rtp_codec: opus(), payload_type: OPUS_PAYLOAD_TYPE };
    let vp8 = RTCRtpCodecParameters { rtp_codec: vp8(), payload_type: VP8_PAYLOAD_TYPE };
    engine.register_codec(opus, RtpCodecKind::Audio)?;
    let red = RTCRtpCodecParameters { rtp_codec: red(), payload_type: RED_PAYLOAD_TYPE };
    engine.register_codec(red, RtpCodecKind::Audio)?;
    engine.register_codec(vp8, RtpCodecKind::Video)?;

    // Replacing in a slot is logged as a warning, so NACK's feedback is registered on a registry of its own.
    drop(configure_nack(Registry::new(), &mut engine));
    configure_simulcast_extension_headers(&mut engine)?;
    let registry = configure_twcc_sender_only(configure_rtcp_reports(Registry::new()), &mut engine)?
        .with(Slot::TwccReceiver, Reports::new())
        .with(Slot::NackGenerator, NackGenerator::new(wires.pace.clone(), wires.video.ssrc))
        .with(Slot::NackResponder, NackResponderBuilder::new().with_size(KEPT_PACKETS).build())
        .with(Slot::Pacer, Pacer::new(wires.pace.clone(), wires.keyframe.clone(), wires.audio.ssrc))
        .with(
            Slot::CongestionControl,
            Controller::new(wires.pace.clone(), wires.keyframe.clone(), wires.estimate.clone()),
        )
        .with(Slot::from(GATE_SLOT), Gate::new(vec![wires.audio.clone(), wires.video.clone()]))
        .with(Slot::from(TAP_SLOT), Tap::new(wires, wires.audio.ssrc, wires.video.ssrc));
    Ok((engine, registry))
}

/// The waits are what an agent gives better candidates to show up; media starts on the first path that
/// works instead. As the answering side we are DTLS server: Chromium refuses a changed role when it offers
/// again.
pub(crate) fn settings(relay_only: bool, mdns: MulticastDnsMode) -> SettingEngine {
    let relay_wait = if relay_only { Duration::ZERO } else { Duration::from_millis(500) };
    SettingEngineBuilder::new()
        .with_prflx_acceptance_min_wait(Some(Duration::ZERO))
        .with_srflx_acceptance_min_wait(Some(Duration::from_millis(200)))
        .with_relay_acceptance_min_wait(Some(relay_wait))
        .with_srtp_replay_protection_window(REPLAY_WINDOW)
        .with_srtcp_replay_protection_window(REPLAY_WINDOW)
        .with_ice_timeouts(Some(SILENT), Some(GIVEN_UP), Some(KEEP_ALIVE))
        .with_ice_connection_attempts(Some(CHECK_EVERY), Some(CHECKS))
        .with_answering_dtls_role(RTCDtlsRole::Server)
        .with_discard_local_candidates_during_ice_restart(true)
        .with_multicast_dns_mode(mdns)
        .build()
}

/// Builds the connection with our two transceivers' worth of settings, but no track yet.
pub(crate) async fn build(
    config: &PeerConfig,
    net: &Net,
    wires: &Wires,
    handler: Arc<dyn PeerConnectionEventHandler>,
) -> Result<Arc<dyn PeerConnection>> {
    if config.relay_only {
        // A question on our own network would tell whoever is on it, too, where we are.
        return build_with(config, net, wires, handler, MulticastDnsMode::Disabled).await;
    }
    match build_with(config, net, wires, handler.clone(), MulticastDnsMode::QueryOnly).await {
        Ok(connection) => Ok(connection),
        // Where there is only the loopback, multicast cannot be joined.
        Err(error) => {
            tracing::debug!(%error, "no multicast DNS: .local candidates will not be resolved");
            build_with(config, net, wires, handler, MulticastDnsMode::Disabled).await
        }
    }
}

async fn build_with(
    config: &PeerConfig,
    net: &Net,
    wires: &Wires,
    handler: Arc<dyn PeerConnectionEventHandler>,
    mdns: MulticastDnsMode,
) -> Result<Arc<dyn PeerConnection>> {
    let (engine, registry) = media(wires)?;
    let connection = PeerConnectionBuilder::new()
        .with_configuration(configuration(net, &config.ice_servers, config.relay_only))
        .with_media_engine(engine)
        .with_interceptor_registry(registry)
        .with_setting_engine(settings(config.relay_only, mdns))
        .with_handler(handler)
        .with_runtime(Arc::new(net.clone()))
        .with_udp_addrs(vec![LocalAddresses(net.clone())])
        .build()
        .await?;
    Ok(Arc::new(connection))
}

/// What may be changed while the connection lives: its servers.
pub(crate) fn configuration(net: &Net, servers: &[IceServer], relay_only: bool) -> RTCConfiguration {
    let configuration = RTCConfigurationBuilder::default().with_ice_servers(net.for_stack(servers));
    if relay_only {
        configuration.with_ice_transport_policy(RTCIceTransportPolicy::Relay).build()
    } else {
        configuration.build()
    }
}
