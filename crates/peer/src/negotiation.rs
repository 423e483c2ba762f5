//! Who describes what to whom, and when: perfect negotiation (W3C WebRTC, 10.7), as a pure machine.
//!
//! Both sides may offer at any time. When two offers cross, the impolite side ignores the other's and
//! waits for its answer; the polite side takes its own back and answers. Inputs come from our owner, from
//! the other side, and from the driver when it has done (or could not do) what an effect asked for; the
//! driver does one effect at a time and feeds nothing else in between.

use crate::description::{Candidate, Description, DescriptionType};
use std::collections::VecDeque;

/// Candidates kept until their description comes.
pub const MAX_QUEUED: usize = 64;
/// Candidates taken for one description: each costs the agent checks.
pub const MAX_ADDED: usize = 128;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Our owner wants an exchange, with an ICE restart or without.
    Wanted {
        /// Look for new paths.
        restart: bool,
    },
    /// The other side's description, already found readable.
    Remote(Description),
    /// The other side's candidate.
    Candidate(Candidate),
    /// The offer asked for is out.
    Offered,
    /// The offer asked for could not be made; nothing is out.
    OfferFailed,
    /// The other side's offer is in and our answer is out.
    Accepted,
    /// The other side's offer was not taken; the connection is stable again.
    AcceptFailed,
    /// The other side's answer is in.
    Completed,
    /// The other side's answer was not taken; the connection is stable again.
    CompleteFailed,
}

/// What to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Make an offer, apply it and send it; then report `Offered` or `OfferFailed`.
    Offer {
        /// With new ICE credentials.
        restart: bool,
    },
    /// Take our own offer back.
    Rollback,
    /// Apply the other side's offer, make an answer, apply it and send it; then report `Accepted` or
    /// `AcceptFailed`.
    Accept(Description),
    /// Apply the other side's answer; then report `Completed` or `CompleteFailed`.
    Complete(Description),
    /// Give this candidate to the ICE agent.
    Add(Candidate),
    /// Nothing to be done about it, for this reason.
    Ignored(&'static str),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// No offer is out.
    Stable,
    /// Our offer is out and not answered.
    Offering { restart: bool },
    /// The driver applies the other side's description, of this ICE user name, for which an offer of ours
    /// may have been taken back.
    Applying { ufrag: Option<String>, lost: Option<bool> },
}

/// The machine.
#[derive(Debug)]
pub struct Negotiation {
    polite: bool,
    state: State,
    /// An exchange to start as soon as the present one is over; `Some(true)` with an ICE restart.
    next: Option<bool>,
    /// The ICE user name of the description that was applied last.
    remote_ufrag: Option<String>,
    /// An offer of the other side was ignored: candidates that do not say whose they are wait.
    ignoring: bool,
    queued: VecDeque<Candidate>,
    added: usize,
    dropped: u64,
}

impl Negotiation {
    /// A connection on which nothing was exchanged.
    pub fn new(polite: bool) -> Self {
        Self {
            polite,
            state: State::Stable,
            next: None,
            remote_ufrag: None,
            ignoring: false,
            queued: VecDeque::new(),
            added: 0,
            dropped: 0,
        }
    }

    /// Whether an offer of ours waits for its answer.
    pub fn is_offering(&self) -> bool {
        matches!(self.state, State::Offering { .. })
    }

    /// Candidates lost to full queues.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// One step.
    pub fn on(&mut self, input: Input) -> Vec<Effect> {
        match input {
            Input::Wanted { restart } => self.wanted(restart),
            Input::Remote(description) => match description.kind {
                DescriptionType::Offer => self.remote_offer(description),
                DescriptionType::Answer => self.remote_answer(description),
            },
            Input::Candidate(candidate) => self.candidate(candidate),
            Input::Offered => vec![],
            Input::OfferFailed | Input::AcceptFailed | Input::CompleteFailed => self.failed(),
            Input::Accepted | Input::Completed => self.applied(),
        }
    }

    fn wanted(&mut self, restart: bool) -> Vec<Effect> {
        match self.state {
            State::Stable => {
                self.next = Some(self.next.unwrap_or(false) || restart);
                self.proceed(vec![])
            }
            // The offer that is out already says it all, unless it keeps the paths that we want changed.
            State::Offering { restart: out } if out || !restart => vec![],
            State::Offering { .. } | State::Applying { .. } => {
                self.next = Some(self.next.unwrap_or(false) || restart);
                vec![]
            }
        }
    }

    fn remote_offer(&mut self, description: Description) -> Vec<Effect> {
        let ufrag = description.ufrag().map(str::to_owned);
        match self.state {
            State::Offering { .. } if !self.polite => {
                self.ignoring = true;
                vec![Effect::Ignored("both sides offered: the other one gives way")]
            }
            State::Offering { restart } => {
                // Their offer brings about what ours would have, except for a restart that only we wanted.
                let theirs_restarts = self.remote_ufrag.is_some() && self.remote_ufrag != ufrag;
                if restart && !theirs_restarts {
                    self.next = Some(true);
                }
                self.state = State::Applying { ufrag, lost: Some(restart) };
                vec![Effect::Rollback, Effect::Accept(description)]
            }
            State::Stable => {
                self.state = State::Applying { ufrag, lost: None };
                vec![Effect::Accept(description)]
            }
            State::Applying { .. } => vec![Effect::Ignored("a description is being applied")],
        }
    }

    fn remote_answer(&mut self, description: Description) -> Vec<Effect> {
        match self.state {
            State::Offering { .. } => {
                let ufrag = description.ufrag().map(str::to_owned);
                self.state = State::Applying { ufrag, lost: None };
                vec![Effect::Complete(description)]
            }
            State::Stable | State::Applying { .. } => {
                vec![Effect::Ignored("an answer came although no offer of ours is out")]
            }
        }
    }

    fn candidate(&mut self, candidate: Candidate) -> Vec<Effect> {
        let ours = match (candidate.ufrag(), &self.remote_ufrag) {
            (Some(given), Some(applied)) => given == applied,
            (None, Some(_)) => !self.ignoring,
            (_, None) => false,
        };
        if ours {
            return self.add(candidate).into_iter().collect();
        }
        // overflow: the newcomer is dropped and counted.
        if self.queued.len() >= MAX_QUEUED {
            self.dropped += 1;
            return vec![Effect::Ignored("too many candidates wait for their description")];
        }
        self.queued.push_back(candidate);
        vec![]
    }

    fn add(&mut self, candidate: Candidate) -> Option<Effect> {
        // overflow: dropped and counted.
        if self.added >= MAX_ADDED {
            self.dropped += 1;
            return None;
        }
        self.added += 1;
        Some(Effect::Add(candidate))
    }

    fn failed(&mut self) -> Vec<Effect> {
        let state = std::mem::replace(&mut self.state, State::Stable);
        self.ignoring = false;
        // We gave way to an offer that came to nothing, so ours stands again.
        if let State::Applying { lost: Some(restart), .. } = state {
            self.next = Some(self.next.unwrap_or(false) || restart);
        }
        self.proceed(vec![])
    }

    fn applied(&mut self) -> Vec<Effect> {
        let State::Applying { ufrag, .. } = std::mem::replace(&mut self.state, State::Stable) else {
            return vec![];
        };
        if self.remote_ufrag != ufrag {
            self.added = 0;
        }
        self.remote_ufrag = ufrag;
        self.ignoring = false;
        // Those of an offer that was ignored or taken back are of no use any more.
        let queued = std::mem::take(&mut self.queued);
        let applied = self.remote_ufrag.clone();
        let fitting = queued.into_iter().filter(|c| c.ufrag().is_none() || c.ufrag() == applied.as_deref());
        let effects = fitting.filter_map(|candidate| self.add(candidate)).collect();
        self.proceed(effects)
    }

    fn proceed(&mut self, mut effects: Vec<Effect>) -> Vec<Effect> {
        if let Some(restart) = self.next.take() {
            self.state = State::Offering { restart };
            effects.push(Effect::Offer { restart });
        }
        effects
    }
}
