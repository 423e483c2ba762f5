//! The negotiation machine alone: single steps, then two of them over a signaling that delays.

use peer::negotiation::{Effect, Input, MAX_ADDED, MAX_QUEUED, Negotiation};
use peer::{Candidate, Description, DescriptionType};
use proptest::prelude::*;
use std::collections::VecDeque;

fn sdp(ufrag: &str) -> String {
    format!("a=ice-ufrag:{ufrag}\r\n")
}

fn candidate(ufrag: Option<&str>) -> Candidate {
    Candidate { username_fragment: ufrag.map(str::to_owned), ..Default::default() }
}

fn remote_offer(ufrag: &str) -> Input {
    Input::Remote(Description::offer(sdp(ufrag)))
}

fn remote_answer(ufrag: &str) -> Input {
    Input::Remote(Description::answer(sdp(ufrag)))
}

#[test]
fn single_steps() {
    let offer = Description::offer(sdp("u"));
    let answer = Description::answer(sdp("u"));
    let plain = Input::Wanted { restart: false };
    let restart = Input::Wanted { restart: true };
    let again = Effect::Offer { restart: true };
    // (polite, what came before, input, effects)
    let table: Vec<(bool, Vec<Input>, Input, Vec<Effect>)> = vec![
        (true, vec![], plain.clone(), vec![Effect::Offer { restart: false }]),
        (true, vec![plain.clone(), Input::Offered], plain.clone(), vec![]),
        (true, vec![plain.clone(), Input::Offered], restart.clone(), vec![]),
        (
            true,
            vec![plain.clone(), Input::Offered, restart.clone(), remote_answer("u")],
            Input::Completed,
            vec![again.clone()],
        ),
        (
            true,
            vec![restart.clone(), Input::Offered, restart.clone(), remote_answer("u")],
            Input::Completed,
            vec![],
        ),
        (false, vec![], remote_offer("u"), vec![Effect::Accept(offer.clone())]),
        (
            false,
            vec![plain.clone(), Input::Offered],
            remote_offer("u"),
            vec![Effect::Ignored("both sides offered: the other one gives way")],
        ),
        (
            true,
            vec![plain.clone(), Input::Offered],
            remote_offer("u"),
            vec![Effect::Rollback, Effect::Accept(offer)],
        ),
        (true, vec![plain.clone(), Input::Offered, remote_offer("u")], Input::Accepted, vec![]),
        (
            true,
            vec![plain.clone(), Input::Offered, remote_offer("u")],
            Input::AcceptFailed,
            vec![Effect::Offer { restart: false }],
        ),
        (true, vec![restart.clone(), Input::Offered, remote_offer("u")], Input::Accepted, vec![again]),
        (false, vec![plain.clone(), Input::Offered], remote_answer("u"), vec![Effect::Complete(answer)]),
        (
            false,
            vec![],
            remote_answer("u"),
            vec![Effect::Ignored("an answer came although no offer of ours is out")],
        ),
        (false, vec![plain], Input::OfferFailed, vec![]),
    ];
    for (polite, before, input, effects) in table {
        let mut machine = Negotiation::new(polite);
        for input in &before {
            machine.on(input.clone());
        }
        assert_eq!(machine.on(input.clone()), effects, "polite {polite}, after {before:?}: {input:?}");
    }
}

#[test]
fn candidates_wait_for_their_own_description() {
    let mut machine = Negotiation::new(false);
    assert_eq!(machine.on(Input::Candidate(candidate(Some("new")))), []);
    assert_eq!(machine.on(Input::Candidate(candidate(Some("old")))), []);
    assert_eq!(machine.on(Input::Candidate(candidate(None))), []);
    machine.on(remote_offer("new"));
    let added = [Effect::Add(candidate(Some("new"))), Effect::Add(candidate(None))];
    assert_eq!(machine.on(Input::Accepted), added);
    let late = candidate(Some("new"));
    assert_eq!(machine.on(Input::Candidate(late.clone())), [Effect::Add(late)]);
    // Those of a restart may come before it.
    let next = candidate(Some("next"));
    assert_eq!(machine.on(Input::Candidate(next.clone())), []);
    machine.on(remote_offer("next"));
    assert_eq!(machine.on(Input::Accepted), [Effect::Add(next)]);
}

#[test]
fn candidates_of_an_ignored_offer_are_kept_for_the_answer() {
    let mut machine = Negotiation::new(false);
    machine.on(Input::Wanted { restart: false });
    machine.on(Input::Offered);
    machine.on(remote_offer("u"));
    machine.on(Input::Candidate(candidate(None)));
    machine.on(remote_answer("u"));
    assert_eq!(machine.on(Input::Completed), [Effect::Add(candidate(None))]);
}

#[test]
fn candidates_are_bounded_before_and_after_the_description() {
    let mut machine = Negotiation::new(false);
    for _ in 0..MAX_QUEUED * 4 {
        machine.on(Input::Candidate(candidate(None)));
    }
    machine.on(remote_offer("u"));
    assert_eq!(machine.on(Input::Accepted).len(), MAX_QUEUED);
    let more = (0..MAX_ADDED * 4).map(|_| machine.on(Input::Candidate(candidate(None))).len());
    assert_eq!(more.sum::<usize>(), MAX_ADDED - MAX_QUEUED);
    assert!(machine.dropped() > 0);
}

/// What really is negotiated on one side, and what is on its way to the other.
struct Side {
    machine: Negotiation,
    name: &'static str,
    generation: u32,
    remote: Option<String>,
    offering: bool,
    outbox: VecDeque<Description>,
}

impl Side {
    fn new(name: &'static str, polite: bool) -> Self {
        let machine = Negotiation::new(polite);
        Self { machine, name, generation: 0, remote: None, offering: false, outbox: VecDeque::new() }
    }

    fn ufrag(&self) -> String {
        format!("{}{}", self.name, self.generation)
    }

    fn step(&mut self, input: Input) {
        let mut effects = VecDeque::from(self.machine.on(input));
        while let Some(effect) = effects.pop_front() {
            if let Some(outcome) = self.perform(effect) {
                effects.extend(self.machine.on(outcome));
            }
        }
        assert_eq!(self.machine.is_offering(), self.offering);
    }

    fn perform(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Offer { restart } => {
                assert!(!self.offering, "an offer on top of an offer");
                self.generation += u32::from(restart);
                self.offering = true;
                self.outbox.push_back(Description::offer(sdp(&self.ufrag())));
                Some(Input::Offered)
            }
            Effect::Rollback => {
                assert!(self.offering, "nothing to take back");
                self.offering = false;
                None
            }
            Effect::Accept(offer) => {
                assert!(!self.offering, "an offer taken while ours is out");
                let theirs = offer.ufrag().map(str::to_owned);
                if self.remote.is_some() && self.remote != theirs {
                    self.generation += 1;
                }
                self.remote = theirs;
                self.outbox.push_back(Description::answer(sdp(&self.ufrag())));
                Some(Input::Accepted)
            }
            Effect::Complete(answer) => {
                assert!(self.offering, "an answer to nothing");
                assert_eq!(answer.kind, DescriptionType::Answer);
                self.offering = false;
                self.remote = answer.ufrag().map(str::to_owned);
                Some(Input::Completed)
            }
            Effect::Add(_) | Effect::Ignored(_) => None,
        }
    }
}

proptest! {
    /// Whatever both sides want whenever, and however long signaling takes: in the end each has the other's
    /// present credentials, no offer is left hanging, and every restart that was wanted has happened.
    #[test]
    fn two_sides_always_converge(steps in prop::collection::vec((0_u8..4, any::<bool>()), 1..60)) {
        let mut sides = [Side::new("impolite", false), Side::new("polite", true)];
        let deliver = |sides: &mut [Side; 2], from: usize| {
            if let Some(description) = sides[from].outbox.pop_front() {
                sides[1 - from].step(Input::Remote(description));
            }
        };
        let mut wanted = [false; 2];
        for (what, which) in steps {
            let which = usize::from(which);
            match what {
                0 => sides[which].step(Input::Wanted { restart: false }),
                1 => {
                    // A restart is of use only once there is something to restart.
                    let restart = sides[which].remote.is_some();
                    wanted[which] |= restart;
                    sides[which].step(Input::Wanted { restart });
                }
                _ => deliver(&mut sides, which),
            }
        }
        let mut rounds = 0;
        while sides.iter().any(|side| !side.outbox.is_empty()) {
            deliver(&mut sides, 0);
            deliver(&mut sides, 1);
            rounds += 1;
            prop_assert!(rounds < 1_000, "they never come to an end");
        }
        let [a, b] = &sides;
        prop_assert!(!a.offering && !b.offering);
        if let (Some(of_b), Some(of_a)) = (&a.remote, &b.remote) {
            prop_assert_eq!(of_b, &b.ufrag());
            prop_assert_eq!(of_a, &a.ufrag());
        }
        for (side, wanted) in sides.iter().zip(wanted) {
            prop_assert!(!wanted || side.generation > 0);
        }
    }
}
