//! Whole calls of somebody on open speakers, whose cleaning is that of the program they call with: Snug, or Chromium.
//! Between their speaker and their microphone this program makes the room, and speaks in it; what the other side
//! hears is held against what the microphone heard.

use super::ends::{Player, Recorder, Screen, Snug, listen, serve};
use super::pulse::{Daemon, Kind, device};
use super::room::{Live, Room};
use super::score::{self, Figures};
use super::{BLOCK, END, FAR_UNTIL, ear, rooms, samples, speech, voices};
use crate::bench::align;
use crate::delay::median;
use crate::ends::server::Server;
use crate::pesq::Judge;
use crate::speech::resampled;
use crate::tone::RATE;
use anyhow::{Context, Result, ensure};
use media::audio::measure::rms;
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::watch;

/// The call runs for so long before anybody speaks: delays settle.
const SETTLE: Duration = Duration::from_secs(8);
/// A room whose own delay is next to nothing, so that the sound devices' is all there is.
const CLOSE: (&str, Room) = ("a desk, but 5 ms", Room { delay_ms: 5.0, ..Room::DESK });
/// The far voice is there when it is louder than this, of full scale.
const THERE: f32 = 0.003;
/// Blocks that may pass until it is: 10 s.
const SOON: usize = 1000;
/// The room is there for so many seconds after the last word, which takes less to the other side.
const AFTER: f32 = 2.0;
/// Bytes that the pipe before the microphone holds, 43 ms.
const PIPE: usize = 4096;

/// Chromium's cleaning as its guest's page asks for it, but for gain control: it would be measured instead.
const SCRIPT: &str = r"
const getUserMedia = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (wanted) => {
  const audio = wanted.audio && { ...wanted.audio, autoGainControl: false };
  const stream = await getUserMedia({ ...wanted, audio });
  window.labMicrophone = stream.getAudioTracks()[0] ?? window.labMicrophone;
  return stream;
};";

/// What is measured, and with what.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Calls in each room with each program.
    pub calls: usize,
    /// Where PESQ is, or will be.
    pub pesq: PathBuf,
    /// The programs.
    pub snug: PathBuf,
    /// See `snug`.
    pub server: PathBuf,
}

/// Who sits on open speakers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Who {
    /// Snug without a window, cleaning as by default but for gain control.
    Snug,
    /// Chromium at the guest's page.
    Chromium,
}

/// One program in one room.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The room.
    pub room: String,
    /// The program.
    pub who: Who,
    /// Of each call.
    pub calls: Vec<Figures>,
}

/// Measures both programs in every room whose clocks and delay stand still; the devices' delay comes on top of its own.
///
/// # Errors
/// When a program is missing or ends, or nothing is heard, with what to do.
pub async fn run(plan: &Plan) -> Result<Vec<Row>> {
    let judge = Judge::set_up(&plan.pesq)?;
    let (far, near) = voices(&speech()?);
    let folder = tempfile::Builder::new().prefix("snug-lab-pipe-").tempdir()?;
    let microphone = folder.path().join("microphone");
    let daemon = daemon(&microphone)?;
    let mut rows = Vec::new();
    let still = |(_, room): &(&str, Room)| room.moves.is_none() && room.drift_ppm == 0.0;
    for (name, room) in rooms().into_iter().filter(still).chain([CLOSE]) {
        for who in [Who::Snug, Who::Chromium] {
            let mut calls = Vec::new();
            for number in 1..=plan.calls {
                eprintln!("lab: {who:?}, {name}, {number} of {} …", plan.calls);
                let scene = Scene::new(room.live(5), near.clone());
                let (echo, out) = call(&daemon, plan, who, &microphone, scene, &far).await?;
                calls.push(score::echo(&echo, &near, &out, &judge)?);
            }
            rows.push(Row { room: name.into(), who, calls });
        }
    }
    Ok(rows)
}

/// Two people's devices; `microphone` is a pipe and the second one's, which hears the room at once.
fn daemon(microphone: &Path) -> Result<Daemon> {
    let mouth = device(Kind::Mouth, 1);
    let [mic, own_mic] = [1, 2].map(|who| device(Kind::Mic, who));
    let sinks = [mouth.clone(), device(Kind::Ear, 1), device(Kind::Ear, 2)];
    let mut modules = sinks.map(|sink| format!("module-null-sink sink_name={sink} rate=48000")).to_vec();
    modules.push(format!("module-remap-source source_name={mic} master={mouth}.monitor"));
    let form = "format=s16le rate=48000 channels=1";
    modules.push(format!("module-pipe-source source_name={own_mic} file={} {form}", microphone.display()));
    let daemon = Daemon::start(&modules)?;
    // Chromium's, from the beginning: a change of the default takes streams with it that were on the old one.
    daemon.control(&["set-default-source", &own_mic])?;
    daemon.control(&["set-default-sink", &device(Kind::Ear, 2)])?;
    Ok(daemon)
}

/// A call in a room: the echo at the microphone, and what the other side heard, each from the moment at which the
/// far voice came out of the speaker.
async fn call(
    daemon: &Daemon,
    plan: &Plan,
    who: Who,
    microphone: &Path,
    scene: Scene,
    far: &[f32],
) -> Result<(Vec<f32>, Vec<f32>)> {
    let near = scene.near.clone();
    let (speaks, spoken) = watch::channel(false);
    let talk = async {
        let server = serve(&plan.server).await?;
        let stats = [1, 2].map(|who| daemon.path().join(format!("stats{who}.jsonl")));
        let mut other = Snug::start(daemon, &plan.snug, &server, 1, &stats[0]).await?;
        other.tell(&processing(json!({"echo": false, "noise": "off", "gain": false}))).await?;
        match who {
            Who::Snug => {
                let mut own = Snug::start(daemon, &plan.snug, &server, 2, &stats[1]).await?;
                own.tell(&processing(json!({"gain": false}))).await?;
                speak(daemon, &mut other, far, speaks).await
            }
            Who::Chromium => {
                let screen = Screen::start().await?;
                let _browser = chromium(daemon, &server, &screen).await?;
                speak(daemon, &mut other, far, speaks).await
            }
        }
    };
    let ((echo, began), (heard, heard_began)) =
        tokio::try_join!(be(daemon, microphone, scene, spoken), talk)?;
    let before = began.checked_duration_since(heard_began).context("the recording began too late")?;
    let heard = heard.get(samples(before.as_secs_f32())..).unwrap_or_default();
    Ok((echo, aligned(heard, &near)?))
}

fn processing(wanted: Value) -> Value {
    json!({"cmd": "processing", "processing": wanted})
}

/// A browser in the room that cleans as it is meant to, or an error.
async fn chromium(daemon: &Daemon, server: &Server, screen: &Screen) -> Result<crate::browser::Browser> {
    let (browser, page) = ear::chromium(daemon, server, screen, SCRIPT).await?;
    let settings = page.evaluate("labMicrophone.getSettings()").await?;
    let is = |name: &str, on: bool| settings[name] == on;
    let meant = is("echoCancellation", true) && is("noiseSuppression", true) && is("autoGainControl", false);
    ensure!(meant, "Chromium's microphone is {settings}");
    Ok(browser)
}

/// Has the far voice speak once there is a call, until the room is left; gives what was heard there, and since when.
async fn speak(
    daemon: &Daemon,
    other: &mut Snug,
    far: &[f32],
    speaks: watch::Sender<bool>,
) -> Result<(Vec<f32>, Instant)> {
    other.wait(&["first_sound"]).await?;
    tokio::time::sleep(SETTLE).await;
    let ear = Recorder::start(daemon, &device(Kind::Ear, 1))?;
    speaks.send(true).context("the room has gone")?;
    Player::start(daemon, 1, far)?.finish().await?;
    speaks.closed().await;
    ear.finish().await
}

/// Is the room between speaker and microphone until the scene is over; gives the scene's echo, and when it began.
async fn be(
    daemon: &Daemon,
    microphone: &Path,
    mut scene: Scene,
    spoken: watch::Receiver<bool>,
) -> Result<(Vec<f32>, Instant)> {
    let mut microphone = pipe::OpenOptions::new().open_sender(microphone)?;
    rustix::pipe::fcntl_setpipe_size(&microphone, PIPE)?;
    let (mut speaker, _child) = listen(daemon, &device(Kind::Ear, 2))?;
    let (mut bytes, mut began, mut silent) = ([0; BLOCK * 2], None, 0);
    while !scene.over() {
        speaker.read_exact(&mut bytes).await.context("the speaker is gone")?;
        let now = Instant::now();
        let played = bytes.chunks_exact(2).map(|b| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32_768.0);
        let speaks = *spoken.borrow();
        let heard = scene.pass(&played.collect::<Vec<_>>(), speaks);
        let heard = heard.iter().flat_map(|x| ((x * 32_767.0) as i16).to_le_bytes());
        microphone.write_all(&heard.collect::<Vec<u8>>()).await.context("the microphone is gone")?;
        if scene.began() {
            began.get_or_insert(now);
        } else if speaks {
            silent += 1;
            ensure!(silent < SOON, "the far voice does not come out of the speaker");
        }
    }
    Ok((scene.echo, began.context("there was no scene")?))
}

/// What is heard in a room: echo and noise, and, from the moment that the far voice is there, the near voice. Pure.
struct Scene {
    live: Live,
    near: Vec<f32>,
    /// The room's echo since the scene began.
    echo: Vec<f32>,
}

impl Scene {
    fn new(live: Live, near: Vec<f32>) -> Self {
        Self { live, near, echo: Vec::new() }
    }

    /// What the microphone hears while the speaker plays a block; the scene begins when that is the far voice.
    fn pass(&mut self, played: &[f32], speaks: bool) -> Vec<f32> {
        let mut heard = self.live.echo(played);
        if self.began() || speaks && rms(played) > THERE {
            let near = self.near.iter().skip(self.echo.len());
            self.echo.extend_from_slice(&heard);
            heard.iter_mut().zip(near).for_each(|(x, near)| *x += near);
        }
        heard.iter_mut().for_each(|x| *x = x.clamp(-1.0, 1.0));
        heard
    }

    fn began(&self) -> bool {
        !self.echo.is_empty()
    }

    fn over(&self) -> bool {
        self.echo.len() >= self.near.len() + samples(AFTER)
    }
}

/// What was heard from the scene's beginning on, less the time that sound takes, which the near voice tells where it
/// is alone; as long as the near voice.
fn aligned(heard: &[f32], near: &[f32]) -> Result<Vec<f32>> {
    let from = samples(FAR_UNTIL + 1.0);
    let at_16 = |pcm: &[f32]| resampled(pcm, RATE, align::RATE as u32);
    let window = at_16(&near[from..from + align::WINDOW * RATE as usize / align::RATE]);
    let found = align::matches(&window, &at_16(heard.get(from..).unwrap_or_default()));
    let late = found.first().map(|found| found.looped_from * RATE as usize / align::RATE);
    let late = late.filter(|late| *late < samples(AFTER)).context("the near voice was not heard")?;
    heard.get(late..late + samples(END)).map(<[f32]>::to_vec).context("the recording is too short")
}

/// The table: medians of the calls.
pub fn markdown(rows: &[Row]) -> String {
    let mut out = String::from(
        "| room | | first second, dB | after 2 s, dB | worst second after that, dB | near voice in double talk, PESQ | \
         near voice alone, PESQ | near level, dB |\n|---|---|---|---|---|---|---|---|\n",
    );
    for Row { room, who, calls } in rows {
        let middle = |figure: fn(&Figures) -> f64| {
            median(&calls.iter().map(figure).collect::<Vec<_>>()).unwrap_or(f64::NAN)
        };
        // Writing to a text does not fail.
        let _ = writeln!(
            out,
            "| {room} | {who:?} | {:.1} | {:.1} | {:.1} | {:.2} | {:.2} | {:+.1} |",
            middle(|f| f.first_db),
            middle(|f| f.settled_db),
            middle(|f| f.worst_db),
            middle(|f| f.double_talk),
            middle(|f| f.near_alone),
            middle(|f| f.near_db),
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::room::Chance;
    use super::*;

    fn scene(near: Vec<f32>) -> Scene {
        Scene::new(Room { noise_db: -200.0, ..Room::DESK }.live(1), near)
    }

    #[test]
    fn the_scene_waits_for_the_far_voice_and_ends_after_the_near_one() {
        let near: Vec<f32> = (0..samples(0.5)).map(|n| n as f32 / RATE as f32).collect();
        let mut scene = scene(near.clone());
        let (silence, loud) = ([0.0; BLOCK], [0.1; BLOCK]);
        scene.pass(&loud, false);
        scene.pass(&silence, true);
        assert!(!scene.began(), "neither before it is meant to nor without a voice");
        let mut heard = scene.pass(&loud, true);
        assert!(scene.began());
        while !scene.over() {
            heard.extend(scene.pass(&silence, true));
        }
        assert_eq!(heard.len(), near.len() + samples(AFTER));
        for (n, (x, echo)) in heard.iter().zip(&scene.echo).enumerate() {
            let said = near.get(n).copied().unwrap_or_default();
            assert!((x - echo - said).abs() < 1e-6, "{n}");
        }
    }

    #[test]
    fn a_microphone_hears_no_more_than_full_scale() {
        let mut scene = scene(vec![3.0; BLOCK]);
        assert_eq!(scene.pass(&[0.1; BLOCK], true), [1.0; BLOCK]);
    }

    #[test]
    fn what_was_heard_late_is_put_where_it_was_said() {
        let mut chance = Chance(2);
        // Loud and soft as it comes, as speech is.
        let loud: Vec<f32> = (0..400).map(|_| 0.05 * chance.normal()).collect();
        let near: Vec<f32> = (0..samples(END)).map(|n| loud[n / 4800] * chance.normal()).collect();
        let mut heard = vec![0.0; 7200];
        heard.extend(near.iter().map(|x| 0.5 * x));
        heard.extend(vec![0.0; samples(AFTER)]);
        let out = aligned(&heard, &near).unwrap();
        assert_eq!(out.len(), near.len());
        assert!(out.iter().zip(&near).all(|(out, near)| (out - 0.5 * near).abs() < 1e-6));
        assert!(aligned(&vec![0.0; samples(END + AFTER)], &near).is_err());
        assert!(aligned(&[], &near).is_err());
    }
}
