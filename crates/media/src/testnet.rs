//! A bad network on virtual time for tests: the same packets, lost and late in the same way, for the same seed.

/// A small generator of even numbers out of nothing but a seed (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// True with this probability.
    pub(crate) fn chance(&mut self, share: f64) -> bool {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64 <= share && share > 0.0
    }
}

/// How packets are lost.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Loss {
    Random(f64),
    /// Gilbert-Elliott: this share, in bursts of this mean length.
    Bursts(f64, f64),
}

/// One way through the network. Times are in microseconds.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) delay: u64,
    /// Each packet's delay is off by up to this, either way.
    pub(crate) jitter: u64,
    /// Jitter does not reorder.
    pub(crate) ordered: bool,
    pub(crate) loss: Loss,
    /// Share of packets that come 30 ms later than they should.
    pub(crate) reorder: f64,
    pub(crate) duplicate: f64,
    /// Bits a second; 0: no limit.
    pub(crate) rate: u64,
    dice: Dice,
    in_burst: bool,
    free_at: u64,
    last: u64,
}

impl Link {
    pub(crate) fn new(seed: u64, delay_ms: u64) -> Self {
        Self {
            delay: delay_ms * 1000,
            jitter: 0,
            ordered: false,
            loss: Loss::Random(0.0),
            reorder: 0.0,
            duplicate: 0.0,
            rate: 0,
            dice: Dice::new(seed),
            in_burst: false,
            free_at: 0,
            last: 0,
        }
    }

    pub(crate) fn loss(self, loss: Loss) -> Self {
        Self { loss, ..self }
    }

    pub(crate) fn jitter(self, milliseconds: u64) -> Self {
        Self { jitter: milliseconds * 1000, ..self }
    }

    pub(crate) fn ordered(self) -> Self {
        Self { ordered: true, ..self }
    }

    pub(crate) fn rate(self, bits_a_second: u64) -> Self {
        Self { rate: bits_a_second, ..self }
    }

    pub(crate) fn mixed_up(self, reorder: f64, duplicate: f64) -> Self {
        Self { reorder, duplicate, ..self }
    }

    /// When a packet sent now arrives: never, once or twice.
    pub(crate) fn send(&mut self, now: u64, bytes: usize) -> Vec<u64> {
        let mut sent = now;
        if let Some(takes) = (bytes as u64 * 8_000_000).checked_div(self.rate) {
            sent = now.max(self.free_at) + takes;
            self.free_at = sent;
        }
        if self.lose() {
            return Vec::new();
        }
        let mut arrivals = vec![self.arrival(sent)];
        if self.dice.chance(self.duplicate) {
            arrivals.push(arrivals[0] + self.dice.below(20_000));
        }
        arrivals
    }

    fn lose(&mut self) -> bool {
        match self.loss {
            Loss::Random(share) => self.dice.chance(share),
            Loss::Bursts(share, mean) => {
                let leave = 1.0 / mean;
                let enter = leave * share / (1.0 - share);
                let flip = if self.in_burst { leave } else { enter };
                self.in_burst ^= self.dice.chance(flip);
                self.in_burst
            }
        }
    }

    fn arrival(&mut self, sent: u64) -> u64 {
        let off = self.dice.below(2 * self.jitter + 1);
        let late = if self.dice.chance(self.reorder) { 30_000 } else { 0 };
        let at = (sent + self.delay + late + off).saturating_sub(self.jitter).max(sent);
        if self.ordered {
            self.last = self.last.max(at);
            return self.last;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_is_as_bad_as_asked_for_and_the_same_each_time() {
        let run = |loss| {
            let mut link = Link::new(7, 100).loss(loss).jitter(25).mixed_up(0.05, 0.02);
            (0..50_000u64).map(|n| link.send(n * 10_000, 100)).collect::<Vec<_>>()
        };
        for loss in [Loss::Random(0.1), Loss::Bursts(0.1, 4.0)] {
            let sent = run(loss);
            assert_eq!(sent, run(loss));
            let lost = sent.iter().filter(|at| at.is_empty()).count();
            assert!((4500..5500).contains(&lost), "{lost} of 50000 for {loss:?}");
            let begun = sent.windows(2).filter(|pair| !pair[0].is_empty() && pair[1].is_empty()).count();
            let mean = lost as f64 / begun as f64;
            let wanted = if matches!(loss, Loss::Random(_)) { 1.0..1.3 } else { 3.6..4.4 };
            assert!(wanted.contains(&mean), "bursts of {mean}");
            let delays =
                || sent.iter().enumerate().filter_map(|(n, at)| Some(at.first()? - n as u64 * 10_000));
            assert!(delays().min().unwrap() < 76_000 && delays().max().unwrap() > 150_000);
        }
        let mut slow = Link::new(1, 0).rate(80_000);
        assert_eq!([slow.send(0, 100), slow.send(0, 100)], [[10_000], [20_000]]);
    }
}
