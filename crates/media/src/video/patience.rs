//! How long a missing packet can still help.
//!
//! A lost packet is asked for at once and again each round trip. A keyframe takes a round trip too, has more
//! packets to lose, and costs the link as much as a second of pictures; so it is worth less than the next
//! retransmission as long as there is a fair chance of one. Four tries fail at 20 % loss one time in sixty.

use std::time::Duration;

/// Waiting times that follow the round trip; pure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    round_trip: Duration,
}

impl Patience {
    /// Until the round trip is known it is taken to be this.
    const GUESS: Duration = Duration::from_millis(80);
    /// The longest round trip that is believed.
    const LONGEST: Duration = Duration::from_secs(1);
    /// What a packet may be late without being lost, the first request's timer, and jitter.
    const SLOP: Duration = Duration::from_millis(60);
    /// Retransmissions that are waited for.
    const TRIES: u32 = 4;
    /// Short round trips get this long all the same: many tries, and no worse than a keyframe's sending.
    const LEAST: Duration = Duration::from_millis(200);
    /// Standing still any longer helps nobody.
    const MOST: Duration = Duration::from_millis(1500);
    /// A keyframe is not asked for again before this: it has to be made and sent.
    const KEYFRAME: Duration = Duration::from_millis(400);

    pub(super) fn new() -> Self {
        Self { round_trip: Self::GUESS }
    }

    pub(super) fn set_round_trip(&mut self, round_trip: Duration) {
        self.round_trip = round_trip.min(Self::LONGEST);
    }

    /// For a missing packet.
    pub(super) fn packet(self) -> Duration {
        (Self::SLOP + self.round_trip * Self::TRIES).clamp(Self::LEAST, Self::MOST)
    }

    /// For a keyframe that was asked for.
    pub(super) fn keyframe(self) -> Duration {
        Self::KEYFRAME.max(self.round_trip * 3 / 2 + Self::LEAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_follows_the_round_trip_between_bounds() {
        let ms = Duration::from_millis;
        let mut patience = Patience::new();
        for (trip, packet, keyframe) in
            [(10, 200, 400), (100, 460, 400), (300, 1260, 650), (5000, 1500, 1700)]
        {
            patience.set_round_trip(ms(trip));
            assert_eq!((patience.packet(), patience.keyframe()), (ms(packet), ms(keyframe)), "{trip}");
        }
    }
}
