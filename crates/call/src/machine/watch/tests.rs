//! The judgement on a virtual clock, a reading a second.

use super::*;

/// A call with somebody, its counters moved on second by second.
struct Rig {
    watch: Watch,
    facts: Facts,
    stats: Stats,
    now: Instant,
}

impl Rig {
    /// Ten good seconds old.
    fn good() -> Self {
        let now = Instant::now();
        let facts =
            Facts { connection: Connection::Connected, muted: false, camera_off: false, showing: true };
        let mut stats = Stats { current_round_trip_time: Some(0.02), ..Stats::default() };
        (stats.inbound_video.frame_width, stats.inbound_video.frame_height) = (1280, 720);
        (stats.outbound_video.frame_width, stats.outbound_video.frame_height) = (1280, 720);
        stats.outbound_video.frames_per_second = 30.0;
        stats.inbound_video.frames_per_second = 30.0;
        let mut rig = Self { watch: Watch::new(now), facts, stats, now };
        for second in 0..10 {
            assert_eq!(rig.second(|_| {}), Some((Quality::Good, None)), "second {second}");
        }
        rig
    }

    /// A second goes by as usual, but for what `change` makes of its counters.
    fn second(&mut self, change: impl Fn(&mut Stats)) -> Option<Mark> {
        self.stats.bytes_received += 100_000;
        self.stats.inbound_video.packets_received += 150;
        self.stats.inbound_audio.packets_received += 50;
        self.stats.inbound_audio.total_samples_received += 48_000;
        change(&mut self.stats);
        self.read().map(|verdict| (verdict.quality, verdict.reason))
    }

    /// A second in which nothing comes.
    fn silent_second(&mut self) -> Option<Verdict> {
        self.stats.inbound_video.frames_per_second = 0.0;
        self.read()
    }

    fn read(&mut self) -> Option<Verdict> {
        self.now += Duration::from_secs(1);
        self.watch.read(&Arc::new(self.stats.clone()), self.facts, self.now);
        self.watch.judge(self.facts, self.now)
    }

    /// The seconds until the verdict is so, thirty at most.
    fn until(&mut self, wanted: Mark, change: impl Fn(&mut Stats)) -> u64 {
        for second in 1..=30 {
            if self.second(&change) == Some(wanted) {
                return second;
            }
        }
        panic!("never {wanted:?}: {:?}", self.watch);
    }
}

const GOOD: Mark = (Quality::Good, None);

fn poor(reason: Reason) -> Mark {
    (Quality::Poor, Some(reason))
}

fn lose(packets: u64) -> impl Fn(&mut Stats) {
    move |stats| {
        stats.inbound_audio.packets_received -= packets;
        stats.inbound_audio.packets_lost += packets;
    }
}

/// What is wrong with each second.
type Fault = fn(&mut Stats);
/// What is shown.
type Mark = (Quality, Option<Reason>);
/// Fault, what it shows as, and the bounds in seconds until it shows and until it is gone.
type Row = (&'static str, Fault, Mark, (u64, u64));

/// What the picture sent and the one received look like while nothing is wrong with them.
fn restore(stats: &mut Stats) {
    (stats.outbound_video.suspended, stats.outbound_video.quality_limitation_reason) =
        (false, Limitation::None);
    (stats.outbound_video.frame_width, stats.outbound_video.frame_height) = (1280, 720);
    (stats.inbound_video.frame_width, stats.inbound_video.frame_height) = (1280, 720);
    stats.inbound_video.frames_per_second = 30.0;
    stats.current_round_trip_time = Some(0.02);
    stats.inbound_audio.jitter_buffer_delay = 0.03;
    stats.outbound_audio.fraction_lost = 0.0;
}

const FAULTS: &[Row] = &[
    ("a tenth of their sound is lost", |s| lose(5)(s), (Quality::Poor, Some(Reason::Loss)), (6, 9)),
    (
        "a tenth of ours is lost",
        |s| s.outbound_audio.fraction_lost = 0.1,
        (Quality::Poor, Some(Reason::Loss)),
        (6, 9),
    ),
    (
        "sound is made up",
        |s| s.inbound_audio.concealed_samples += 2400,
        (Quality::Poor, Some(Reason::Loss)),
        (6, 9),
    ),
    (
        "half a second there and back, and a long queue",
        |s| (s.current_round_trip_time, s.inbound_audio.jitter_buffer_delay) = (Some(0.5), 0.2),
        (Quality::Poor, Some(Reason::Delay)),
        (6, 9),
    ),
    (
        "the path carries our sound only",
        |s| {
            s.outbound_video.suspended = true;
            s.outbound_video.quality_limitation_reason = Limitation::Bandwidth;
        },
        (Quality::Poor, Some(Reason::Suspended)),
        (1, 9),
    ),
    (
        "their picture stops, their sound goes on",
        |s| {
            s.inbound_video.packets_received -= 150;
            s.inbound_video.frames_per_second = 0.0;
        },
        (Quality::Poor, Some(Reason::SoundOnly)),
        (4, 9),
    ),
    (
        "our picture is a little smaller for the path",
        |s| {
            s.outbound_video.quality_limitation_reason = Limitation::Bandwidth;
            (s.outbound_video.frame_width, s.outbound_video.frame_height) = (960, 540);
        },
        (Quality::Good, Some(Reason::Bandwidth)),
        (6, 5),
    ),
    (
        "our picture is tiny for the path",
        |s| {
            s.outbound_video.quality_limitation_reason = Limitation::Bandwidth;
            (s.outbound_video.frame_width, s.outbound_video.frame_height) = (320, 180);
        },
        (Quality::Poor, Some(Reason::Bandwidth)),
        (6, 5),
    ),
    (
        "we can't encode more",
        |s| s.outbound_video.quality_limitation_reason = Limitation::Cpu,
        (Quality::Good, Some(Reason::Cpu)),
        (4, 5),
    ),
    (
        "their picture becomes smaller",
        |s| (s.inbound_video.frame_width, s.inbound_video.frame_height) = (640, 360),
        (Quality::Good, Some(Reason::TheirSide)),
        (4, 5),
    ),
    (
        "their picture becomes slow",
        |s| s.inbound_video.frames_per_second = 10.0,
        (Quality::Poor, Some(Reason::TheirSide)),
        (8, 9),
    ),
];

#[test]
fn each_fault_shows_in_time_and_goes_when_it_is_over() {
    for (what, fault, verdict, (shows, goes)) in FAULTS {
        let mut rig = Rig::good();
        let after = rig.until(*verdict, fault);
        assert!(after <= *shows, "{what}: shown after {after} s");
        for _ in 0..20 {
            assert_eq!(rig.second(fault), Some(*verdict), "{what}: it flickers");
        }
        let after = rig.until(GOOD, restore);
        assert!((3..=*goes).contains(&after), "{what}: gone after {after} s");
    }
}

#[test]
fn the_same_seconds_give_the_same_verdicts() {
    let run = || {
        let mut rig = Rig::good();
        let mut random = 88_172_645_463_325_252_u64;
        let verdicts = (0..600).map(|_| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            rig.second(lose(random % 12))
        });
        verdicts.collect::<Vec<_>>()
    };
    let (one, two) = (run(), run());
    assert_eq!(one, two);
    let changes = one.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(changes <= 12, "losses around the threshold: {changes} changes in ten minutes");
}

#[test]
fn a_second_of_trouble_now_and_then_is_no_sign() {
    for (what, fault, ..) in FAULTS.iter().filter(|(_, _, verdict, _)| *verdict != poor(Reason::Suspended)) {
        let mut rig = Rig::good();
        for _ in 0..4 {
            assert_eq!(rig.second(fault), Some(GOOD), "{what}");
            for _ in 0..10 {
                assert_eq!(rig.second(restore), Some(GOOD), "{what}");
            }
        }
    }
}

#[test]
fn an_outage_of_half_a_second_is_over_before_it_is_told() {
    let mut rig = Rig::good();
    let blip = |stats: &mut Stats| {
        lose(25)(stats);
        stats.inbound_audio.concealed_samples += 24_000;
        stats.inbound_video.total_freezes_duration += 0.6;
        stats.outbound_audio.fraction_lost = 0.5;
    };
    assert_eq!(rig.second(blip), Some(GOOD));
    for _ in 0..20 {
        assert_eq!(rig.second(restore), Some(GOOD));
    }
    rig.second(blip);
    assert_eq!(rig.until(poor(Reason::Loss), blip), 3, "more of them are");
}

#[test]
fn a_call_that_settles_is_not_judged_by_it() {
    let mut rig = Rig::good();
    rig.watch = Watch::new(rig.now);
    for _ in 0..5 {
        assert_eq!(rig.second(|s| lose(25)(s)), Some(GOOD));
    }
    for _ in 0..20 {
        assert_eq!(rig.second(restore), Some(GOOD));
    }
}

#[test]
fn silence_is_lost_within_three_seconds_and_over_at_once() {
    let mut rig = Rig::good();
    assert_eq!(rig.silent_second().map(|v| v.quality), Some(Quality::Good));
    let lost = rig.silent_second().unwrap();
    assert_eq!((lost.quality, lost.reason, lost.lost_for), (Quality::Lost, Some(Reason::Silence), Some(2)));
    for second in 3..40 {
        assert_eq!(rig.silent_second().unwrap().lost_for, Some(second));
    }
    // What was lost meanwhile shows as soon as the next packet has come.
    let jump = |stats: &mut Stats| {
        restore(stats);
        stats.inbound_audio.packets_lost += 1900;
        stats.inbound_video.total_freezes_duration += 38.0;
        stats.outbound_audio.fraction_lost = 1.0;
    };
    assert_eq!(rig.second(jump), Some(GOOD));
    for _ in 0..20 {
        assert_eq!(rig.second(restore), Some(GOOD), "an outage that is over is no loss");
    }
}

#[test]
fn whoever_sends_nothing_by_choice_is_not_lost() {
    let mut rig = Rig::good();
    (rig.facts.muted, rig.facts.camera_off) = (true, true);
    for _ in 0..60 {
        assert_eq!(rig.silent_second().map(|v| (v.quality, v.reason)), Some(GOOD));
    }
    // What they send after the button needs its time to get here.
    rig.facts.muted = false;
    assert_eq!(rig.silent_second().map(|v| v.quality), Some(Quality::Good));
    rig.silent_second();
    assert_eq!(rig.silent_second().map(|v| v.quality), Some(Quality::Lost));
}

#[test]
fn a_path_that_is_said_to_be_down_is_lost_when_nothing_comes() {
    let mut rig = Rig::good();
    rig.facts.connection = Connection::Disconnected;
    assert_eq!(rig.second(restore), Some(GOOD), "their packets come");
    assert_eq!(rig.silent_second().map(|v| v.quality), Some(Quality::Lost));
    for connection in [Connection::Restarting, Connection::Failed] {
        rig.facts.connection = connection;
        assert_eq!(rig.silent_second().map(|v| v.quality), Some(Quality::Lost));
    }
}

#[test]
fn before_media_could_flow_there_is_no_mark() {
    let mut rig = Rig::good();
    rig.facts.connection = Connection::Connecting;
    assert_eq!(rig.silent_second(), None);
}

#[test]
fn one_gets_used_to_a_smaller_picture() {
    let mut rig = Rig::good();
    let small: Fault = |s| (s.inbound_video.frame_width, s.inbound_video.frame_height) = (640, 480);
    rig.until((Quality::Good, Some(Reason::TheirSide)), small);
    for _ in 0..70 {
        rig.second(small);
    }
    assert_eq!(rig.second(small), Some(GOOD));
    // A camera that was off may come back as another.
    let mut rig = Rig::good();
    rig.facts.camera_off = true;
    rig.second(|_| {});
    rig.facts.camera_off = false;
    for _ in 0..20 {
        assert_eq!(rig.second(small), Some(GOOD));
    }
}

#[test]
fn our_picture_is_not_limited_while_our_camera_is_off() {
    let mut rig = Rig::good();
    rig.facts.showing = false;
    for _ in 0..20 {
        let verdict = rig.second(|s| {
            s.outbound_video.suspended = true;
            s.outbound_video.quality_limitation_reason = Limitation::Cpu;
        });
        assert_eq!(verdict, Some(GOOD));
    }
}

#[test]
fn losses_are_told_before_limits() {
    let mut rig = Rig::good();
    rig.until(poor(Reason::Loss), |s| {
        lose(10)(s);
        s.outbound_video.quality_limitation_reason = Limitation::Bandwidth;
    });
    for _ in 0..10 {
        rig.second(|s| lose(10)(s));
    }
    let verdict = rig.read().unwrap();
    assert_eq!((verdict.reason, verdict.limit), (Some(Reason::Loss), Some(Reason::Bandwidth)));
}
