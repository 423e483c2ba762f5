//! Trains of packets, which show a link's rate before any queue is judged. Pure.

use super::feedback::Outcome;

/// A train of fewer packets, or a shorter one, says nothing of the link's rate.
const TRAIN: usize = 8;
const TRAIN_SPAN: f64 = 0.015;

/// Packets that left one right after the other, and how they came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Train {
    /// How fast they left, bits a second.
    pub(super) pace: f64,
    /// How fast they came.
    pub(super) rate: f64,
    /// How long it took them.
    pub(super) seconds: f64,
}

impl Train {
    /// Whether they came about as fast as they left.
    pub(super) fn kept_pace(&self) -> bool {
        self.rate > 0.85 * self.pace
    }
}

/// The longest train of what was told.
pub(super) fn longest_train(outcomes: &[Outcome]) -> Option<Train> {
    let mut best: Option<&[Outcome]> = None;
    let mut start = 0;
    for end in 1..=outcomes.len() {
        if end < outcomes.len() && outcomes[end].left.in_train {
            continue;
        }
        let run = &outcomes[start..end];
        start = end;
        if best.is_none_or(|best| run.len() > best.len()) {
            best = Some(run);
        }
    }
    let arrived = |outcome: &Outcome| Some((outcome.arrived?, outcome.left));
    let come: Vec<_> = best?.iter().filter_map(arrived).collect();
    let (first, last) = (come.first()?, come.last()?);
    let seconds = last.0.checked_sub(first.0)?.as_secs_f64();
    if come.len() < TRAIN || seconds < TRAIN_SPAN {
        return None;
    }
    let bits = come.iter().skip(1).map(|(_, left)| left.bytes as f64 * 8.0).sum::<f64>();
    let left = last.1.at.saturating_duration_since(first.1.at).as_secs_f64().max(0.001);
    Some(Train { pace: (bits / left).min(last.1.pace), rate: bits / seconds, seconds })
}
