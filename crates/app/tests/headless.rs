//! `snug join --headless` and `snug devices` as users run them: processes, their streams and their files.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "headless/world.rs"]
mod world;

use lab::mark::Colour;
use lab::tone::{power_at, read_wav};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};
use world::{GRACE, World, marks, other, stats};

/// `--mic tone`.
const TONE: f32 = 440.0;
/// Nothing to see or hear, for tests about something else.
const BARE: [&str; 6] = ["--camera", "none", "--mic", "none", "--speaker", "none"];

#[test]
fn two_people_see_and_hear_each_other_in_a_room_with_spaces_and_emoji() {
    let world = World::new();
    let room = "Tea 🫖 time";
    let mut ann = world.person("Ann", Colour::Red, room);
    let joined = ann.event("joined");
    assert_eq!(joined["room"], room);
    assert_eq!(joined["link"], format!("{}/Tea%20%F0%9F%AB%96%20time", world.url));
    // By the link instead of the name.
    std::fs::create_dir(world.path("Ben")).unwrap();
    let clip = world.clip(Colour::Blue);
    let mut ben = world.start("Ben", |command| {
        command.args([
            "join",
            joined["link"].as_str().unwrap(),
            "--headless",
            "--name",
            "Ben",
            "--camera",
            &clip,
        ]);
        command.args(["--mic", "tone", "--speaker", "file:Ben/heard.wav", "--display", "y4m:Ben"]);
    });
    let ben_id = ben.event("joined")["id"].clone();
    let met = ann.event("participant");
    assert_eq!((&met["name"], &met["id"]), (&json!("Ben"), &ben_id));
    assert_eq!(ben.event("participant")["name"], "Ann");
    for person in [&mut ann, &mut ben] {
        let first = person.event("first_frame");
        assert_eq!((&first["width"], &first["height"]), (&json!(320), &json!(180)));
        assert!(first["after_join_ms"].is_u64(), "{first}");
    }
    ann.sees(Colour::Blue);
    ben.sees(Colour::Red);
    assert_eq!(other(&ann.dir).unwrap().file_stem().unwrap().to_str(), ben_id.as_str());
    ann.until("sound, and three lines of statistics", |dir| {
        let heard =
            read_wav(&dir.join("heard.wav")).is_ok_and(|(all, rate)| power_at(&all, rate, TONE) > 1e-3);
        (heard
            && stats(dir).iter().filter(|line| line["participants"][0]["inboundVideo"].is_object()).count()
                > 2)
        .then_some(())
    });
    ben.leave();
    assert_eq!(ann.event("participant_left")["reason"], "bye");
    ann.leave();

    let shown = marks(&other(&ann.dir).unwrap());
    assert!(shown.iter().all(|(mark, _)| mark.colour == Colour::Blue));
    assert!(shown.is_sorted_by_key(|(_, at)| *at), "frames are written in the order of their times");
    assert!(marks(&ann.dir.join("self.y4m")).iter().all(|(mark, _)| mark.colour == Colour::Red));
    one_line_a_second_with_w3c_names(&stats(&ann.dir));
}

fn one_line_a_second_with_w3c_names(lines: &[Value]) {
    let times: Vec<f64> = lines.iter().map(|line| line["time"].as_f64().unwrap()).collect();
    let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(gaps.clone().all(|gap| gap > 0.5), "{times:?}");
    let seconds = times.last().unwrap() - times[0];
    assert!((gaps.count() as f64 - seconds).abs() < 1.5, "{times:?}");
    let them = lines.iter().rev().find_map(|line| line["participants"].get(0)).unwrap();
    for (group, names) in [
        (
            "inboundVideo",
            &["packetsReceived", "packetsLost", "framesDecoded", "frameWidth", "freezeCount"][..],
        ),
        ("outboundVideo", &["packetsSent", "framesEncoded", "framesPerSecond", "pliCount", "nackCount"]),
        ("inboundAudio", &["packetsReceived", "jitter", "concealedSamples", "audioLevel"]),
        ("outboundAudio", &["packetsSent", "bitrate"]),
    ] {
        for name in names {
            assert!(them[group][name].is_number(), "{group}.{name}: {them}");
        }
    }
    assert!(them["currentRoundTripTime"].as_f64().is_some_and(|trip| trip < 1.0), "{them}");
    assert!(them["inboundVideo"]["framesDecoded"].as_u64().unwrap() > 0, "{them}");
}

#[test]
fn a_camera_switched_by_command_is_seen_within_three_frames() {
    let world = World::new();
    let mut ann = world.person("Ann", Colour::Red, "tea").joined();
    let mut ben = world.person("Ben", Colour::Blue, "tea");
    ben.sees(Colour::Red);
    let green = world.clip(Colour::Green);
    ann.tell(&json!({ "cmd": "camera", "use": green }));
    ann.event_with("camera_opened", |event| event["use"] == green);
    ben.sees(Colour::Green);
    ann.sees(Colour::Blue);
    ann.leave();
    ben.leave();

    let first_green = |path| {
        let all = marks(path);
        let at = all.iter().position(|(mark, _)| mark.colour == Colour::Green).unwrap();
        assert!(all[at..].iter().all(|(mark, _)| mark.colour == Colour::Green), "the old camera came back");
        all[at].0.number
    };
    let (sent, seen) = (first_green(&ann.dir.join("self.y4m")), first_green(&other(&ben.dir).unwrap()));
    assert!(seen <= sent + 3, "the other saw frame {seen} first, our own view frame {sent}");
}

#[test]
fn mute_by_command_silences() {
    let world = World::new();
    let mut ann = world.person("Ann", Colour::Red, "tea").joined();
    let mut ben = world.person("Ben", Colour::Blue, "tea");
    let seconds = |from: f32, to: f32| {
        move |all: &[f32], rate: u32| -> Option<f32> {
            let at = |back: f32| all.len().checked_sub((back * rate as f32) as usize);
            Some(power_at(&all[at(from)?..at(to)?], rate, TONE))
        }
    };
    let last_second = seconds(1.0, 0.0);
    let heard = |dir: &std::path::Path| read_wav(&dir.join("heard.wav")).ok();
    let before = ben.until("a second of tone", |dir| {
        let (all, rate) = heard(dir)?;
        last_second(&all, rate).filter(|power| *power > 0.01)
    });

    ann.tell(&json!({ "cmd": "mute", "on": true }));
    assert_eq!(ann.event("muted")["on"], true);
    let state = ben.event_with("state", |event| event["muted"] == true);
    assert_eq!(state["camera_off"], false, "mute is not the camera's");
    let length = heard(&ben.dir).unwrap().0.len();
    ben.until("two seconds more", |dir| (heard(dir)?.0.len() > length + 2 * 48_000).then_some(()));
    let (all, rate) = heard(&ben.dir).unwrap();
    let after = last_second(&all, rate).unwrap();
    assert!(after < before / 10_000.0, "{before} before, {after} after");

    ann.tell(&json!({ "cmd": "mute", "on": false }));
    ben.event_with("state", |event| event["muted"] == false);
    ben.until("the tone again", |dir| {
        let (all, rate) = heard(dir)?;
        last_second(&all, rate).filter(|power| *power > before / 2.0)
    });
    ann.leave();
    ben.leave();
}

#[test]
fn bad_command_lines_are_told_and_end_nothing() {
    let world = World::new();
    let mut ann = world.join("tea", &BARE).joined();
    let long = vec![b'x'; 200_000];
    let bad: [&[u8]; 8] = [
        b"mute",
        b"{\"cmd\":\"fly\"}",
        b"{\"cmd\":\"mute\",\"on\":\"yes\"}",
        b"{\"cmd\":\"mute\"",
        b"[]",
        b"\xff\xfe\x00",
        b"{\"cmd\":\"camera\",\"use\":7}",
        &long,
    ];
    for line in bad {
        ann.line(line);
        let error = ann.event("error");
        assert_eq!((&error["about"], &error["fatal"]), (&json!("command"), &json!(false)), "{error}");
        assert!(error["message"].as_str().unwrap().len() < 1000, "{error}");
    }
    let mut ben = world.join("tea", &BARE).joined();
    ann.event("participant");
    ann.tell(&json!({ "cmd": "chat", "text": "still here" }));
    assert_eq!(ben.event("chat")["text"], "still here");
    ann.leave();
    ben.leave();
}

#[test]
fn a_call_for_some_seconds_ends_by_itself_and_a_signal_ends_it_too() {
    let world = World::new();
    let mut ben = world.join("tea", &BARE).joined();
    let began = Instant::now();
    let mut ann = world.join("tea", &[&BARE[..], &["--for", "3"]].concat());
    ann.event("joined");
    let (status, complaints) = ann.ended();
    assert!(status.success(), "{complaints}");
    assert_eq!(complaints, "");
    assert_eq!(ann.seen.last().unwrap()["event"], "left");
    assert!(began.elapsed() >= Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(ben.event("participant_left")["reason"], "bye");
    for signal in ["INT", "TERM"] {
        let mut eve = world.join("tea", &BARE).joined();
        eve.signal(signal);
        let (status, complaints) = eve.ended();
        assert!(status.success() && complaints.is_empty(), "{signal}: {status} {complaints}");
        assert_eq!(ben.event("participant_left")["reason"], "bye");
    }
    ben.leave();
}

#[test]
fn a_server_that_cannot_be_reached_is_a_failure_told_in_one_line() {
    let world = World::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let args = ["join", "tea", "--server", nobody.as_str(), "--headless"];
    let mut ann = world.start("Ann", |command| {
        command.args(args).args(BARE);
    });
    let (status, complaint) = ann.ended();
    assert_eq!(status.code(), Some(1));
    assert_eq!(complaint.trim_end().lines().count(), 1, "{complaint}");
    assert!(complaint.starts_with("snug: ") && complaint.contains("127.0.0.1"), "{complaint}");
    assert!(
        ann.seen.iter().any(|event| event["event"] == "error" && event["fatal"] == true),
        "{:#?}",
        ann.seen
    );
}

#[test]
fn names_that_no_room_can_have_are_refused_in_one_line() {
    let world = World::new();
    let long = "x".repeat(10_000);
    let bad = ["", "   ", &long, "a/b", "a\\b", "../etc", "a\nb", "a\u{7}b", "50%", "ws", "what?"];
    let mut all: Vec<_> = bad.iter().map(|room| (room, world.join(room, &BARE))).collect();
    for (room, snug) in &mut all {
        let (status, complaint) = snug.ended();
        let room: String = room.chars().take(20).collect();
        assert_eq!(status.code(), Some(1), "{room:?}: {complaint}");
        assert_eq!(complaint.trim_end().lines().count(), 1, "{room:?}: {complaint}");
        assert!((20..500).contains(&complaint.len()), "{room:?}: {complaint}");
        assert!(complaint.chars().all(|c| c == '\n' || !c.is_control()), "{room:?}: {complaint:?}");
        assert!(!snug.seen.iter().any(|event| event["event"] == "joined"), "{room:?}");
    }
}

#[test]
fn files_that_are_missing_or_broken_are_told_and_the_call_goes_on() {
    let world = World::new();
    let whole = std::fs::read(world.clip(Colour::Red).strip_prefix("file:").unwrap()).unwrap();
    std::fs::write(world.path("cut.y4m"), &whole[..50_000]).unwrap();
    std::fs::write(world.path("noise.y4m"), vec![7; 50_000]).unwrap();
    lab::tone::write_wav(&world.path("tone.wav"), TONE, 1.0).unwrap();
    let wav = std::fs::read(world.path("tone.wav")).unwrap();
    std::fs::write(world.path("cut.wav"), &wav[..20]).unwrap();

    let mut ben = world.join("tea", &BARE).joined();
    for (end, source, words) in [
        ("camera", "file:missing.y4m", "choose another one"),
        ("camera", "file:cut.y4m", "choose another one"),
        ("camera", "file:noise.y4m", "choose another one"),
        ("camera", "No Such Camera", "choose another one"),
        ("mic", "file:missing.wav", "choose another one"),
        ("mic", "file:cut.wav", "choose another one"),
        ("speaker", "file:no/such/folder/out.wav", "choose another one"),
    ] {
        let mut args = BARE.map(str::to_owned);
        let at = args.iter().position(|arg| *arg == format!("--{end}")).unwrap();
        args[at + 1] = source.to_owned();
        let mut ann = world.join("tea", &args.each_ref().map(String::as_str));
        let error = ann.any("error");
        let message = error["message"].as_str().unwrap();
        assert_eq!((&error["about"], &error["fatal"]), (&json!(end), &json!(false)), "{error}");
        let file = source.trim_start_matches("file:");
        assert!(message.contains(words) && message.contains(file), "{end} {source}: {message}");
        ann.any("joined");
        ben.event("participant");
        ann.tell(&json!({ "cmd": "chat", "text": source }));
        assert_eq!(ben.event("chat")["text"], source);
        ann.leave();
    }
    ben.leave();
}

#[test]
fn what_is_whole_of_a_file_cut_short_is_used() {
    let world = World::new();
    let whole = std::fs::read(world.clip(Colour::Red).strip_prefix("file:").unwrap()).unwrap();
    std::fs::write(world.path("Red.y4m"), &whole[..whole.len() / 2 + 5000]).unwrap();
    lab::tone::write_wav(&world.path("tone.wav"), TONE, 1.0).unwrap();
    let wav = std::fs::read(world.path("tone.wav")).unwrap();
    std::fs::write(world.path("cut.wav"), &wav[..wav.len() / 2 + 1]).unwrap();
    let mut ann = world.person("Ann", Colour::Red, "tea").joined();
    let mut ben = world.person("Ben", Colour::Blue, "tea");
    ann.tell(&json!({ "cmd": "mic", "use": "file:cut.wav" }));
    ben.until("the clip over and over, and its tone", |dir| {
        let marks = marks(&other(dir)?);
        let loops = marks.windows(2).filter(|pair| pair[1].0.number < pair[0].0.number).count();
        let (all, rate) = read_wav(&dir.join("heard.wav")).ok()?;
        let last = all.len().checked_sub(rate as usize)?;
        (loops >= 2 && power_at(&all[last..], rate, TONE) > 0.005).then_some(())
    });
    assert!(marks(&other(&ben.dir).unwrap()).iter().all(|(mark, _)| mark.number < 31));
    ann.leave();
    ben.leave();
}

#[test]
fn a_pipe_that_nobody_reads_slows_nothing() {
    let world = World::new();
    std::fs::create_dir(world.path("Ann")).unwrap();
    let pipe = world.path("Ann").join("self.y4m");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut ann = world.person("Ann", Colour::Red, "tea").joined();
    let mut ben = world.person("Ben", Colour::Blue, "tea");
    let span = ben.until("60 pictures", |dir| {
        let marks = marks(&other(dir)?);
        Some(marks.last()?.1 - marks.get(marks.len().checked_sub(61)?)?.1)
    });
    assert!(span < 4_000_000, "60 pictures took {span} us");
    ann.sees(Colour::Blue);
    ann.leave();
    ben.leave();
}

#[test]
fn devices_are_told_as_one_json_object() {
    let world = World::new();
    let output = world.command().args(["devices", "--json"]).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let devices: Value = serde_json::from_slice(&output.stdout).unwrap();
    for kind in ["cameras", "mics", "speakers"] {
        for device in devices[kind].as_array().unwrap() {
            assert!(device["id"].is_string() && device["name"].is_string() && device["default"].is_boolean());
        }
    }
}

#[test]
fn somebody_killed_is_away_then_gone_and_the_call_goes_on() {
    let world = World::new();
    let mut ann = world.person("Ann", Colour::Red, "tea").joined();
    let mut ben = world.person("Ben", Colour::Blue, "tea");
    let id = ben.event("joined")["id"].clone();
    ann.sees(Colour::Blue);
    ann.event_with("quality", |event| event["id"] == id && event["quality"] == "good");
    ben.kill();
    let killed = Instant::now();
    ann.until("Ben away", |dir| {
        stats(dir).last().is_some_and(|line| line["participants"][0]["away"] == true).then_some(())
    });
    let left = ann.event("participant_left");
    assert_eq!((&left["id"], &left["reason"]), (&id, &json!("timeout")));
    let marks: Vec<&Value> = ann.seen.iter().filter(|event| event["event"] == "quality").collect();
    let last = marks.last().unwrap();
    assert_eq!((&last["quality"], &last["reason"]), (&json!("lost"), &json!("silence")), "{marks:?}");
    assert!(killed.elapsed() >= GRACE - Duration::from_millis(100), "{:?}", killed.elapsed());
    assert!(killed.elapsed() <= GRACE + Duration::from_secs(5), "{:?}", killed.elapsed());

    let mut cleo = world.person("Cleo", Colour::Green, "tea");
    cleo.sees(Colour::Red);
    let id = ann.event("participant")["id"].clone();
    assert_eq!(ann.event("first_frame")["id"], id);
    ann.leave();
    cleo.leave();
}
