//! One participant's media and connection, from the sockets to the display.

use super::fanout::Fanout;
use super::report::Meter;
use super::translate;
use crate::Display;
use crate::machine::{Input, OpenPeer, PeerKey};
use crate::stats::Stats;
use media::display::Y4mSink;
use media::{Audio, AudioInlet, Frame, RtpPacket, Slot, VideoIn, VideoOut};
use peer::{Estimate, Kind, Peer, PeerConfig, PeerError, RtpIn};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};

/// Fields are dropped in this order: first nothing comes in any more, then what took it ends.
pub(super) struct Leg {
    peer: Arc<Peer>,
    video_in: VideoIn,
    _audio_in: AudioInlet,
    _sink: Option<Y4mSink>,
    meter: Meter,
    probe: Slot<Frame>,
    path: watch::Receiver<Estimate>,
    /// Media could flow once; a lost path may come back by itself.
    pub(super) connected: bool,
}

/// What a leg is built between.
pub(super) struct Ends<'a> {
    pub(super) audio: &'a Audio,
    pub(super) fanout: &'a Fanout,
    pub(super) display: &'a Display,
    pub(super) inputs: &'a mpsc::Sender<Input>,
    pub(super) paths_changed: &'a Arc<Notify>,
    pub(super) muted: bool,
    pub(super) camera_off: bool,
}

impl Leg {
    pub(super) fn open(open: &OpenPeer, ends: &Ends<'_>) -> Result<Self, PeerError> {
        let key = open.key;
        let probe = first_frame_probe(key, ends.inputs.clone());
        let (outputs, sink) = outputs(open, ends, probe.clone());
        let (ask, asked) = mpsc::channel(1);
        // overflow: a keyframe is already being asked for.
        let wanted = Box::new(move || {
            let _ = ask.try_send(());
        });
        let video_in = VideoIn::spawn(&open.id.0, outputs, wanted);
        let audio_in = ends.audio.add_remote(key);
        video_in.follow(audio_in.lips());

        let (events, reports) = mpsc::channel(256);
        let config = PeerConfig {
            ice_servers: open.ice_servers.iter().map(translate::ice_server).collect(),
            polite: open.polite,
            relay_only: open.relay_only,
            certificates: signaling::own_certificates(),
        };
        let (video_inlet, audio_inlet) = (video_in.inlet(), audio_in.clone());
        let on_rtp = Arc::new(move |kind, packet: RtpIn| match kind {
            Kind::Video => video_inlet.push(rtp(packet)),
            Kind::Audio => audio_inlet.push(rtp(packet)),
        });
        let peer = Arc::new(Peer::new(config, events, on_rtp)?);
        let (audio_writer, audio_source) = peer::source(Kind::Audio);
        let (video_writer, video_source) = peer::source(Kind::Video);
        peer.sender(Kind::Audio).set_enabled(!ends.muted);
        peer.sender(Kind::Video).set_enabled(!ends.camera_off);
        peer.sender(Kind::Audio).replace_track(Some(audio_source))?;
        peer.sender(Kind::Video).replace_track(Some(video_source))?;
        ends.fanout.add(key, audio_writer, video_writer, peer.backlog());
        let path = peer.estimate();
        tokio::spawn(relay_path(path.clone(), ends.paths_changed.clone()));
        tokio::spawn(relay_reports(key, reports, ends.inputs.clone()));
        tokio::spawn(relay_keyframes(asked, Arc::downgrade(&peer)));
        if open.offer {
            peer.negotiate()?;
        }
        Ok(Self {
            peer,
            video_in,
            _audio_in: audio_in,
            _sink: sink,
            meter: Meter::default(),
            probe,
            path,
            connected: false,
        })
    }

    pub(super) fn peer(&self) -> &Peer {
        &self.peer
    }

    pub(super) fn set_enabled(&self, kind: Kind, on: bool) {
        self.peer.sender(kind).set_enabled(on);
    }

    pub(super) fn clear_view(&self) {
        self.video_in.clear();
    }

    /// Closes the connection and joins the decoder, away from the engine's task.
    pub(super) fn close(self) {
        let Self { peer, video_in, _audio_in, _sink, probe, .. } = self;
        // What it calls holds it: closed, it lets go of itself.
        probe.close();
        tokio::spawn(async move {
            peer.close().await;
            // Joins a thread that may be in the middle of a picture.
            let joined = tokio::task::spawn_blocking(move || drop((video_in, _audio_in, _sink)));
            if let Err(error) = joined.await {
                tracing::error!(%error, "a decoder ended badly");
            }
        });
    }

    /// What the path carries; the decoder is told how long an answer takes.
    pub(super) fn follow_path(&self) -> Estimate {
        let estimate = *self.path.borrow();
        if let Some(trip) = estimate.round_trip {
            self.video_in.set_round_trip(trip.min(Duration::from_secs(10)));
        }
        estimate
    }

    pub(super) async fn stats(
        &mut self,
        key: PeerKey,
        audio: &Audio,
        video_out: &VideoOut,
        audio_target: u32,
    ) -> Stats {
        let peer = self.peer.stats().await;
        // Who sends nothing has no reports of it.
        if self.path.borrow().round_trip.is_none()
            && let Some(trip) = peer.transport.current_round_trip_time
        {
            self.video_in.set_round_trip(Duration::from_secs_f64(trip.clamp(0.0, 10.0)));
        }
        let mut stats =
            self.meter.merge(&peer, &self.video_in.stats(), audio.remote_stats(key), &video_out.stats());
        stats.outbound_audio.target_bitrate = f64::from(audio_target);
        stats
    }
}

/// Where their pictures go, and one more place that tells of the first.
fn outputs(open: &OpenPeer, ends: &Ends<'_>, probe: Slot<Frame>) -> (Vec<Slot<Frame>>, Option<Y4mSink>) {
    let mut outputs = vec![probe];
    let shown = super::show(ends.display, &open.id.0, &open.view, ends.inputs);
    let sink = shown.and_then(|(slot, sink)| {
        outputs.push(slot);
        sink
    });
    (outputs, sink)
}

fn first_frame_probe(key: PeerKey, inputs: mpsc::Sender<Input>) -> Slot<Frame> {
    let probe = Slot::<Frame>::default();
    let inside = probe.clone();
    probe.set_waker(Some(Box::new(move || {
        if let Some(frame) = inside.take() {
            inside.close();
            let input = Input::FirstFrame(key, frame.image.width(), frame.image.height());
            super::hand_in(&inputs, input);
        }
    })));
    probe
}

fn rtp(packet: RtpIn) -> RtpPacket {
    let RtpIn { seq, timestamp, marker, payload, arrived, sender_us, .. } = packet;
    RtpPacket { seq, timestamp, marker, payload, arrived, sender_us }
}

/// Ends with the connection.
async fn relay_path(mut path: watch::Receiver<Estimate>, changed: Arc<Notify>) {
    while path.changed().await.is_ok() {
        path.borrow_and_update();
        changed.notify_one();
    }
}

async fn relay_reports(
    key: PeerKey,
    mut reports: mpsc::Receiver<peer::PeerEvent>,
    inputs: mpsc::Sender<Input>,
) {
    while let Some(report) = reports.recv().await {
        if inputs.send(translate::peer_event(key, report)).await.is_err() {
            return;
        }
    }
}

/// Ends with the decoder, whose closure holds the other end of `asked`.
async fn relay_keyframes(mut asked: mpsc::Receiver<()>, peer: std::sync::Weak<Peer>) {
    while asked.recv().await.is_some() {
        let Some(peer) = peer.upgrade() else { return };
        if let Err(error) = peer.request_keyframe() {
            tracing::debug!(%error, "no keyframe asked for");
        }
    }
}
