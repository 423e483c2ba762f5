//! What one direction of the link does to packets, as data; and chance.

use std::time::Duration;

/// Which packets are lost on the way.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Loss {
    /// None.
    #[default]
    None,
    /// Each with this chance, 0 to 1, whatever came before.
    Random(f64),
    /// Gilbert and Elliott's two states: in the good one none is lost, in the bad one every packet.
    Bursts {
        /// The part of all packets that is lost, 0 up to 1.
        share: f64,
        /// How many packets a burst takes in the mean, from 1 up.
        length: f64,
    },
}

/// What one direction does to packets. The default lets all pass at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Way {
    /// How long a packet takes once it has been on the line.
    pub delay: Duration,
    /// Up to so much more, evenly spread.
    pub jitter: Duration,
    /// Whether a packet of little jitter may overtake one of much; else all keep their order.
    pub overtaking: bool,
    /// Which are lost.
    pub loss: Loss,
    /// The part of the packets, 0 to 1, that is held back for up to `held` more, so that later ones overtake it.
    pub reorder: f64,
    /// See `reorder`.
    pub held: Duration,
    /// The part of the packets, 0 to 1, that comes twice.
    pub duplicate: f64,
    /// Bits a second that the line takes (of IP packets); `None`: any number.
    pub rate: Option<u64>,
    /// With a rate: a packet that would wait longer than this to get on the line is dropped.
    pub queue: Duration,
    /// Nothing passes: all that is given is lost.
    pub outage: bool,
}

impl Way {
    /// A fixed delay and nothing else.
    pub fn delay(delay: Duration) -> Self {
        Self { delay, ..Self::default() }
    }
}

/// Splitmix64: written out here, because a generator that changed with a crate's version would change every
/// run with the same seed.
#[derive(Clone, Debug)]
pub(super) struct Chance(pub(super) u64);

impl Chance {
    /// From 0 up to 1.
    pub(super) fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// What chance holds for one packet. All of it is drawn for each packet, so that a change of one setting does
/// not shift another's luck.
#[derive(Clone, Copy, Debug)]
pub(super) struct Luck {
    pub(super) loss: f64,
    pub(super) jitter: f64,
    pub(super) reorder: f64,
    pub(super) held: f64,
    pub(super) duplicate: f64,
}

impl Luck {
    pub(super) fn draw(chance: &mut Chance) -> Self {
        let mut next = || chance.next();
        Self { loss: next(), jitter: next(), reorder: next(), held: next(), duplicate: next() }
    }
}

impl Loss {
    /// Whether a packet is lost; `burst` is the state that bursts need.
    pub(super) fn takes(&self, luck: f64, burst: &mut bool) -> bool {
        match *self {
            Self::None => *burst = false,
            Self::Random(chance) => *burst = luck < chance,
            Self::Bursts { share, length } => {
                // A burst ends with 1/length a packet; it begins as often as makes `share` of all lost.
                let ends = 1.0 / length.max(1.0);
                let begins = ends * share / (1.0 - share).max(f64::EPSILON);
                *burst = if *burst { luck >= ends } else { luck < begins };
            }
        }
        *burst
    }
}
