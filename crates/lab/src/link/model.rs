//! One direction of the link. Pure: time comes in as an argument, chance from a seed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// No more packets than this are under way in one direction, whatever the delay.
const MOST_UNDER_WAY: usize = 8192;

/// Which packets are lost on the way.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Loss {
    /// None.
    #[default]
    None,
    /// Each with this chance, 0 to 1, whatever came before.
    Random(f64),
}

/// What one direction does to packets. The default lets all pass at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Way {
    /// How long a packet takes once it is on the line.
    pub delay: Duration,
    /// Up to so much more, evenly spread; packets keep their order.
    pub jitter: Duration,
    /// Which are lost.
    pub loss: Loss,
    /// Bits a second that the line takes (of IP packets); `None`: any number.
    pub rate: Option<u64>,
    /// With a rate: a packet that would wait longer than this to get on the line is dropped.
    pub queue: Duration,
}

impl Way {
    /// A fixed delay and nothing else.
    pub fn delay(delay: Duration) -> Self {
        Self { delay, ..Self::default() }
    }
}

/// What happened to the packets so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Given to the link.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Lost by chance.
    pub lost: u64,
    /// Dropped because the queue was full.
    pub dropped: u64,
}

/// Splitmix64: written out here, because a generator that changed with a crate's version would change every
/// run with the same seed.
#[derive(Clone, Debug)]
struct Chance(u64);

impl Chance {
    /// From 0 up to 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Packets on their way in one direction.
///
/// overflow: past the queue's limit, or past 8192 packets under way, the newest is dropped and counted.
#[derive(Debug)]
pub struct Pipe {
    way: Way,
    chance: Chance,
    /// When the line has sent all that was given to it.
    line_free: Option<Instant>,
    last_due: Option<Instant>,
    /// By time due, then by order of coming.
    under_way: BTreeMap<(Instant, u64), Vec<u8>>,
    counts: Counts,
}

impl Pipe {
    /// An empty pipe.
    pub fn new(way: Way, seed: u64) -> Self {
        Self {
            way,
            chance: Chance(seed),
            line_free: None,
            last_due: None,
            under_way: BTreeMap::new(),
            counts: Counts::default(),
        }
    }

    /// From now on packets fare so; those under way keep their time.
    pub fn set(&mut self, way: Way) {
        self.way = way;
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes a packet.
    pub fn push(&mut self, packet: Vec<u8>, now: Instant) {
        self.counts.packets += 1;
        self.counts.bytes += packet.len() as u64;
        // Both are drawn for each packet, so that a change of one setting does not shift the other's luck.
        let (loss, jitter) = (self.chance.next(), self.chance.next());
        if self.under_way.len() >= MOST_UNDER_WAY {
            self.counts.dropped += 1;
            return;
        }
        let Some(sent) = self.through_line(packet.len(), now) else {
            self.counts.dropped += 1;
            return;
        };
        // A lost packet was on the line all the same: it is lost after it.
        if matches!(self.way.loss, Loss::Random(chance) if loss < chance) {
            self.counts.lost += 1;
            return;
        }
        let due = sent + self.way.delay + self.way.jitter.mul_f64(jitter);
        let due = self.last_due.map_or(due, |last| due.max(last));
        self.last_due = Some(due);
        self.under_way.insert((due, self.counts.packets), packet);
    }

    /// When the line has sent a packet of so many bytes; `None` when the queue is full.
    fn through_line(&mut self, bytes: usize, now: Instant) -> Option<Instant> {
        let Some(rate) = self.way.rate else { return Some(now) };
        let start = self.line_free.map_or(now, |free| free.max(now));
        if start - now > self.way.queue {
            return None;
        }
        let done = start + Duration::from_secs_f64(bytes as f64 * 8.0 / rate.max(1) as f64);
        self.line_free = Some(done);
        Some(done)
    }

    /// When the next packet arrives, if any is under way.
    pub fn next_due(&self) -> Option<Instant> {
        self.under_way.first_key_value().map(|((due, _), _)| *due)
    }

    /// A packet that has arrived by `now`.
    pub fn pop(&mut self, now: Instant) -> Option<Vec<u8>> {
        let first = self.under_way.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Sends 1000 bytes each `gap`, and gives for each packet that arrived its number and time under way.
    fn run(way: Way, seed: u64, packets: u32, gap: Duration) -> (Vec<(u32, Duration)>, Counts) {
        let start = Instant::now();
        let mut pipe = Pipe::new(way, seed);
        let mut arrived = Vec::new();
        for number in 0..packets {
            let now = start + gap * number;
            let mut packet = vec![0; 1000];
            packet[..4].copy_from_slice(&number.to_be_bytes());
            pipe.push(packet, now);
        }
        while let Some(due) = pipe.next_due() {
            assert!(pipe.pop(due - Duration::from_nanos(1)).is_none(), "nothing comes before its time");
            let packet = pipe.pop(due).unwrap();
            let number = u32::from_be_bytes([packet[0], packet[1], packet[2], packet[3]]);
            arrived.push((number, due - (start + gap * number)));
        }
        (arrived, pipe.counts())
    }

    #[test]
    fn a_fixed_delay_is_exact() {
        let (arrived, counts) = run(Way::delay(20 * MS), 1, 100, MS);
        assert!(arrived.iter().all(|(_, took)| *took == 20 * MS));
        assert_eq!((arrived.len(), counts.packets, counts.bytes, counts.lost), (100, 100, 100_000, 0));
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
    fn jitter_spreads_arrivals_and_keeps_their_order() {
        let way = Way { delay: 50 * MS, jitter: 30 * MS, ..Way::default() };
        let (arrived, _) = run(way, 3, 2000, 20 * MS);
        assert!(arrived.iter().all(|(_, took)| (50 * MS..=80 * MS).contains(took)));
        assert!(arrived.iter().any(|(_, took)| *took < 53 * MS));
        assert!(arrived.iter().any(|(_, took)| *took > 77 * MS));
        assert!(arrived.is_sorted_by_key(|(number, _)| *number));
    }

    #[test]
    fn a_thin_line_queues_up_to_its_limit_and_then_drops() {
        // 1000 bytes take 8 ms at 1 Mb/s; twice as many are sent.
        let way = Way { rate: Some(1_000_000), queue: 100 * MS, ..Way::default() };
        let (arrived, counts) = run(way, 1, 500, 4 * MS);
        assert_eq!(arrived[0].1, 8 * MS);
        assert!(arrived.iter().all(|(_, took)| *took <= 108 * MS));
        assert!((230..270).contains(&counts.dropped), "{} dropped", counts.dropped);
    }

    #[test]
    fn what_is_under_way_is_bounded() {
        let (arrived, counts) = run(Way::delay(1000 * MS), 1, 10_000, Duration::from_nanos(1));
        assert_eq!((arrived.len(), counts.dropped), (MOST_UNDER_WAY, 10_000 - MOST_UNDER_WAY as u64));
    }
}
