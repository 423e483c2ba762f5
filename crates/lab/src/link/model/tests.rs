use super::*;

const MS: Duration = Duration::from_millis(1);

/// A packet that arrived: its number and how long it took.
type Arrival = (u32, Duration);

/// Sends 1000 bytes each `gap`, changing the way where `changes` says so (after so many packets), and gives
/// what arrived, in that order.
fn run_with(
    way: Way,
    seed: u64,
    packets: u32,
    gap: Duration,
    changes: &[(u32, Way)],
) -> (Vec<Arrival>, Pipe) {
    let start = Instant::now();
    let mut pipe = Pipe::new(way, seed, start);
    let mut arrived = Vec::new();
    for number in 0..packets {
        let now = start + gap * number;
        drain(&mut pipe, start, gap, Some(now), &mut arrived);
        if let Some((_, way)) = changes.iter().find(|(at, _)| *at == number) {
            pipe.set(way.clone(), now);
        }
        let mut packet = vec![0; 1000];
        packet[..4].copy_from_slice(&number.to_be_bytes());
        pipe.push(packet, now);
    }
    drain(&mut pipe, start, gap, None, &mut arrived);
    (arrived, pipe)
}

fn drain(pipe: &mut Pipe, start: Instant, gap: Duration, until: Option<Instant>, arrived: &mut Vec<Arrival>) {
    while let Some(due) = pipe.next_due().filter(|due| until.is_none_or(|until| *due <= until)) {
        while let Some(packet) = pipe.pop(due) {
            let number = u32::from_be_bytes([packet[0], packet[1], packet[2], packet[3]]);
            arrived.push((number, due - (start + gap * number)));
        }
    }
}

fn run(way: Way, seed: u64, packets: u32, gap: Duration) -> (Vec<Arrival>, Counts) {
    let (arrived, pipe) = run_with(way, seed, packets, gap, &[]);
    (arrived, pipe.counts())
}

#[test]
fn a_fixed_delay_is_exact() {
    let (arrived, counts) = run(Way::delay(20 * MS), 1, 100, MS);
    assert!(arrived.iter().all(|(_, took)| *took == 20 * MS));
    assert_eq!((arrived.len(), counts.packets, counts.bytes, counts.lost), (100, 100, 100_000, 0));
    let now = Instant::now();
    let mut pipe = Pipe::new(Way::delay(20 * MS), 1, now);
    pipe.push(vec![0; 10], now);
    assert!(pipe.pop(now + 20 * MS - Duration::from_nanos(1)).is_none(), "nothing comes before its time");
    assert!(pipe.pop(now + 20 * MS).is_some());
}

#[test]
fn loss_is_as_often_as_said_and_the_same_for_a_seed() {
    let way = Way { loss: Loss::Random(0.1), ..Way::default() };
    let (first, counts) = run(way.clone(), 5, 10_000, MS);
    assert!((900..1100).contains(&counts.lost), "{} lost", counts.lost);
    assert_eq!(first, run(way.clone(), 5, 10_000, MS).0);
    assert_ne!(first, run(way, 6, 10_000, MS).0);
}

#[test]
fn bursts_have_their_share_and_their_length() {
    let way = Way { loss: Loss::Bursts { share: 0.1, length: 4.0 }, ..Way::default() };
    let (arrived, counts) = run(way.clone(), 5, 50_000, MS);
    assert!((4400..5600).contains(&counts.lost), "{} lost", counts.lost);
    let gaps = arrived.windows(2).filter(|pair| pair[1].0 > pair[0].0 + 1).count();
    let mean = counts.lost as f64 / gaps as f64;
    assert!((3.6..4.4).contains(&mean), "{mean} packets a burst");
    assert_eq!(arrived, run(way, 5, 50_000, MS).0);
}

#[test]
fn jitter_spreads_arrivals_and_keeps_their_order() {
    let way = Way { delay: 50 * MS, jitter: 30 * MS, ..Way::default() };
    let (arrived, _) = run(way, 3, 2000, 20 * MS);
    assert!(arrived.iter().all(|(_, took)| (50 * MS..=80 * MS).contains(took)));
    assert!(arrived.iter().any(|(_, took)| *took < 53 * MS));
    assert!(arrived.iter().any(|(_, took)| *took > 77 * MS));
    assert!(arrived.is_sorted_by_key(|(number, _)| *number));
}

#[test]
fn jitter_may_let_packets_overtake() {
    let way = Way { delay: 50 * MS, jitter: 30 * MS, overtaking: true, ..Way::default() };
    let (arrived, _) = run(way, 3, 2000, 20 * MS);
    assert!(arrived.iter().all(|(_, took)| (50 * MS..=80 * MS).contains(took)));
    let overtaken = arrived.windows(2).filter(|pair| pair[1].0 < pair[0].0).count();
    assert!((50..200).contains(&overtaken), "{overtaken} of 2000");
}

#[test]
fn some_are_held_back_and_some_come_twice() {
    let way = Way { delay: 10 * MS, reorder: 0.05, held: 30 * MS, duplicate: 0.02, ..Way::default() };
    let (arrived, counts) = run(way, 3, 10_000, 5 * MS);
    let late = arrived.iter().filter(|(_, took)| *took > 15 * MS).count();
    assert!((330..510).contains(&late), "{late} were overtaken");
    assert!(arrived.iter().filter(|(_, took)| *took == 10 * MS).count() > 9400);
    assert!((150..250).contains(&counts.duplicated), "{} came twice", counts.duplicated);
    assert_eq!(arrived.len() as u64, 10_000 + counts.duplicated);
}

#[test]
fn a_thin_line_queues_up_to_its_limit_and_then_drops() {
    // 1000 bytes take 8 ms at 1 Mb/s; twice as many are sent.
    let way = Way { rate: Some(1_000_000), queue: 100 * MS, ..Way::default() };
    let (arrived, counts) = run(way, 1, 500, 4 * MS);
    assert_eq!(arrived[0].1, 8 * MS);
    assert!(arrived.iter().all(|(_, took)| *took <= 109 * MS));
    assert!((230..270).contains(&counts.dropped), "{} dropped", counts.dropped);
}

#[test]
fn what_is_queued_stays_queued_when_the_rate_changes() {
    let line = |rate| Way { rate: Some(rate), queue: 1000 * MS, ..Way::default() };
    // 100 packets at once take 800 ms at 1 Mb/s; after half of them the line becomes ten times slower.
    let start = Instant::now();
    let mut pipe = Pipe::new(line(1_000_000), 1, start);
    for _ in 0..100 {
        pipe.push(vec![0; 1000], start);
    }
    pipe.set(line(100_000), start + 404 * MS);
    let mut done = Vec::new();
    while let Some(due) = pipe.next_due() {
        done.extend(pipe.pop(due).map(|_| due - start));
    }
    assert_eq!(done.len(), 100, "none is lost");
    let near = |index: usize, ms: u32| done[index].abs_diff(ms * MS) < MS / 10;
    assert!(near(49, 400), "{:?}", done[49]);
    // The 51st was half on the line: its second half took 40 ms instead of 4.
    assert!(near(50, 444) && near(51, 524), "{:?}", &done[50..52]);
    pipe.push(vec![0; 1000], start + 10_000 * MS);
    let waits: Vec<_> = pipe.trace().waits(start, start + 10_000 * MS).map(|(_, wait)| wait).collect();
    assert_eq!(waits.len(), 100);
    assert!(waits[0] < MS / 10 && waits[10].abs_diff(80 * MS) < MS, "{waits:?}");
}

#[test]
fn a_line_given_more_room_catches_up() {
    let line = |rate| Way { rate: Some(rate), queue: 300 * MS, ..Way::default() };
    let changes = [(200, line(10_000_000))];
    let (arrived, _) = run_with(line(500_000), 1, 400, 8 * MS, &changes);
    let slow = arrived.iter().filter(|(_, took)| *took > 100 * MS).count();
    assert!(slow > 50, "{slow}");
    assert!(arrived.iter().filter(|(number, _)| *number > 260).all(|(_, took)| *took < 2 * MS));
}

#[test]
fn nothing_passes_in_an_outage() {
    let out = Way { outage: true, ..Way::default() };
    let (arrived, pipe) = run_with(Way::delay(MS), 1, 300, MS, &[(100, out), (200, Way::delay(MS))]);
    assert_eq!((arrived.len(), pipe.counts().lost), (200, 100));
    assert!(arrived.iter().all(|(number, _)| !(100..200).contains(number)));
}

#[test]
fn what_happened_when_is_written_down() {
    let way = Way { rate: Some(400_000), queue: 50 * MS, ..Way::delay(5 * MS) };
    // 1 Mb/s into 400 kb/s: 12.5 packets of 8 ms in a tenth of a second, 5 of 20 ms come out.
    let (_, pipe) = run_with(way, 1, 250, 8 * MS, &[]);
    let start = pipe.trace().start();
    let bins = pipe.trace().bins(start + 1000 * MS, start + 1500 * MS);
    assert_eq!(bins.len(), 5);
    for bin in &bins {
        assert!((12_000..=13_000).contains(&bin.sent), "{bins:?}");
        assert!((4000..=6000).contains(&bin.delivered), "{bins:?}");
        assert!((6..=9).contains(&bin.lost), "{bins:?}");
    }
    let waits: Vec<_> = pipe.trace().waits(start + 1000 * MS, start + 1500 * MS).collect();
    assert!(waits.iter().all(|(_, wait)| (20 * MS..=60 * MS).contains(wait)), "{waits:?}");
    assert_eq!(pipe.trace().bins(start + 100_000 * MS, start + 100_200 * MS), [Bin::default(); 2]);
}

#[test]
fn what_is_under_way_is_bounded() {
    let (arrived, counts) = run(Way::delay(1000 * MS), 1, 10_000, Duration::from_nanos(1));
    assert_eq!((arrived.len(), counts.dropped), (MOST_UNDER_WAY, 10_000 - MOST_UNDER_WAY as u64));
}
