//! Two peers in one process: how a WebRTC connection comes to be, with the signaling in plain sight.
//!
//! ```text
//! cargo run -p examples --bin two_peers
//! ```
//!
//! Ann offers, Ben answers, each tells the other where it can be reached (candidates); then packets go both
//! ways, encrypted, over real sockets. In a real call a server carries what here two loops carry. Nothing
//! is captured or encoded: `peer` takes any frames, and these are made up.

use anyhow::{Context, Result, bail};
use peer::{ConnectionState, Encoded, Kind, Peer, PeerConfig, PeerEvent, RtpIn, SourceWriter, source};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, timeout_at};

/// Packets of each kind that each side waits for.
const ENOUGH: usize = 25;
const PATIENCE: Duration = Duration::from_secs(20);

/// What can happen at either side: its connection tells something, or a packet comes.
enum Happening {
    Told(PeerEvent),
    Packet(Kind, RtpIn),
}

struct Side {
    name: &'static str,
    peer: Peer,
    audio: SourceWriter,
    video: SourceWriter,
    happenings: mpsc::Receiver<Happening>,
    connected: bool,
    /// The other side cannot show anything before a whole picture.
    keyframe_wanted: bool,
    /// Packets received: sound, pictures.
    received: [usize; 2],
}

impl Side {
    fn new(name: &'static str, polite: bool) -> Result<Self> {
        // overflow: packets are dropped, as a slow network would; events wait in the peer.
        let (sender, happenings) = mpsc::channel(256);
        let packets = sender.clone();
        let on_rtp = Arc::new(move |kind, packet| {
            let _ = packets.try_send(Happening::Packet(kind, packet));
        });
        // overflow: the peer waits.
        let (events, mut told) = mpsc::channel(64);
        tokio::spawn(async move {
            while let Some(event) = told.recv().await {
                if sender.send(Happening::Told(event)).await.is_err() {
                    return;
                }
            }
        });
        // Without STUN servers only this computer's own addresses are tried: enough for one process.
        // `polite` settles who gives way if both offer at once; it must differ.
        let peer = Peer::new(PeerConfig { polite, ..PeerConfig::default() }, events, on_rtp)?;
        // W3C's replaceTrack: before, during or after negotiation, and without another one.
        let (audio, sound) = source(Kind::Audio);
        let (video, pictures) = source(Kind::Video);
        peer.sender(Kind::Audio).replace_track(Some(sound))?;
        peer.sender(Kind::Video).replace_track(Some(pictures))?;
        Ok(Self {
            name,
            peer,
            audio,
            video,
            happenings,
            connected: false,
            keyframe_wanted: false,
            received: [0, 0],
        })
    }

    /// Takes in what happened here, and carries to `other` what is meant for it: this is all of signaling.
    fn on(&mut self, happening: Happening, other: &Self) -> Result<()> {
        let (name, to) = (self.name, other.name);
        match happening {
            Happening::Told(PeerEvent::Description(description)) => {
                let kind = format!("{:?}", description.kind).to_lowercase();
                let sections: Vec<&str> = description.sdp.lines().filter(|l| l.starts_with("m=")).collect();
                println!("{name} -> {to}: {kind} with {} media sections", sections.len());
                other.peer.remote_description(description)?;
            }
            Happening::Told(PeerEvent::Candidate(candidate)) => {
                let text = candidate.as_ref().map_or("no more", |c| c.candidate.as_str());
                println!("{name} -> {to}: candidate {text}");
                other.peer.remote_candidate(candidate)?;
            }
            Happening::Told(PeerEvent::State(state)) => {
                println!("{name} is {}", format!("{state:?}").to_lowercase());
                self.connected |= state == ConnectionState::Connected;
            }
            Happening::Told(PeerEvent::KeyframeRequested) => {
                println!("{name} is asked for a whole picture");
                self.keyframe_wanted = true;
            }
            Happening::Told(PeerEvent::Rejected(why) | PeerEvent::Failed(why)) => bail!("{name}: {why}"),
            Happening::Packet(kind, packet) => self.on_packet(kind, &packet),
        }
        Ok(())
    }

    fn on_packet(&mut self, kind: Kind, packet: &RtpIn) {
        let count = &mut self.received[usize::from(kind == Kind::Video)];
        *count += 1;
        if *count == 1 {
            let bytes = packet.payload.len();
            println!("{} receives {kind}: packet {} of {bytes} bytes", self.name, packet.seq);
        }
    }

    /// 20 ms of sound, and a picture with it: made up, nobody here decodes them.
    fn send(&mut self, number: u32) {
        let key = std::mem::take(&mut self.keyframe_wanted);
        let frame = |data: Vec<u8>, timestamp| Encoded {
            data: data.into(),
            timestamp,
            key,
            marker: false,
            captured: std::time::Instant::now(),
        };
        // overflow: a slot that does not keep up drops the frame, and asks for a keyframe.
        let _ = self.audio.write(frame(vec![0xf8; 80], number * 960));
        let _ = self.video.write(frame(vec![0x5a; 2000], number * 1800));
    }

    fn is_done(&self) -> bool {
        self.connected && self.received.iter().all(|count| *count >= ENOUGH)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let (mut ann, mut ben) = (Side::new("Ann", false)?, Side::new("Ben", true)?);
    println!("Ann makes an offer");
    ann.peer.negotiate()?;

    let until = Instant::now() + PATIENCE;
    let mut clock = interval(Duration::from_millis(20));
    let mut number = 0;
    while !(ann.is_done() && ben.is_done()) {
        let step = async {
            tokio::select! {
                Some(happening) = ann.happenings.recv() => ann.on(happening, &ben),
                Some(happening) = ben.happenings.recv() => ben.on(happening, &ann),
                _ = clock.tick() => {
                    number += 1;
                    // Before there is a connection this goes nowhere, which harms nobody.
                    ann.send(number);
                    ben.send(number);
                    Ok(())
                }
            }
        };
        timeout_at(until, step).await.context("the two did not connect: does a firewall block UDP?")??;
    }

    for side in [&ann, &ben] {
        let stats = side.peer.stats().await;
        let (sent, path) = (stats.video.outbound_rtp.packets_sent, stats.transport.path);
        println!(
            "{} sent {sent} packets of pictures and received {}, path {}",
            side.name,
            stats.video.inbound_rtp.packets_received,
            path.as_deref().unwrap_or("unknown")
        );
    }
    // Closing tells the other side nothing: in a real call, say bye by signaling.
    ann.peer.close().await;
    ben.peer.close().await;
    println!("both closed");
    Ok(())
}
