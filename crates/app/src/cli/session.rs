//! When a call from the command line ends, and how: a state machine without clock or streams.
//!
//! It is *joining* until the engine says joined, then *inside*; from either, a wish to leave makes it
//! *leaving* until the engine says left or the patience for that is over.

use call::{Command, Event};

/// How the call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// As it was asked to.
    AsAsked,
    /// Otherwise; one line that says what to do.
    Failed(String),
}

/// Why somebody wishes to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// `--for` is over.
    TimeIsUp,
    /// The `leave` command.
    Command,
    /// SIGINT or SIGTERM.
    Signal,
}

#[derive(Debug)]
enum State {
    Joining,
    Inside,
    /// Left for another room, by a `join` command.
    Moving,
    Leaving(End),
}

/// The state machine.
#[derive(Debug)]
pub struct Session {
    state: State,
    goal: String,
}

impl Session {
    /// `goal` is the room, as told in errors.
    pub fn new(goal: &str) -> Self {
        Self { state: State::Joining, goal: goal.to_owned() }
    }

    /// Whether the room has not been entered yet.
    pub fn is_joining(&self) -> bool {
        matches!(self.state, State::Joining | State::Moving)
    }

    /// The engine told something; `Some` ends the call.
    pub fn on_event(&mut self, event: &Event) -> Option<End> {
        match event {
            Event::Joined { .. } => {
                if self.is_joining() {
                    self.state = State::Inside;
                }
                None
            }
            Event::Left { reason } => match &self.state {
                State::Leaving(end) => Some(end.clone()),
                State::Moving => None,
                State::Joining => Some(End::Failed(format!("could not join {}: {reason}", self.goal))),
                State::Inside => Some(End::Failed(format!("the call ended: {reason}"))),
            },
            Event::Error { message, fatal: true, .. } => Some(End::Failed(message.clone())),
            Event::Error { fatal: false, .. }
            | Event::Waiting { .. }
            | Event::Host { .. }
            | Event::Door { .. }
            | Event::Knock { .. }
            | Event::KnockOver { .. }
            | Event::Participant { .. }
            | Event::ParticipantLeft { .. }
            | Event::State { .. }
            | Event::FirstFrame { .. }
            | Event::FirstSound { .. }
            | Event::Connection { .. }
            | Event::Quality { .. }
            | Event::Speaking { .. }
            | Event::Muted { .. }
            | Event::MutedTalk { .. }
            | Event::MicSilent { .. }
            | Event::Rehearsal { .. }
            | Event::CameraOff { .. }
            | Event::CameraOpened { .. }
            | Event::MicOpened { .. }
            | Event::SpeakerOpened { .. }
            | Event::Signaling { .. }
            | Event::Chat { .. } => None,
        }
    }

    /// A command that is on its way to the engine. `true`: it is a wish to leave, see [`Self::on_wish`].
    pub fn on_command(&mut self, command: &Command) -> bool {
        if let Command::Join { room, server, .. } = command {
            self.goal = format!("{room} at {server}");
            self.state = State::Moving;
        }
        matches!(command, Command::Leave)
    }

    /// Somebody wishes to leave: the engine must be told, and has a moment for it. A second wish ends the
    /// call at once.
    pub fn on_wish(&mut self, wish: Wish) -> Option<End> {
        let end = match (&self.state, wish) {
            (State::Leaving(end), _) => return Some(end.clone()),
            (State::Inside, _) | (State::Joining | State::Moving, Wish::Command) => End::AsAsked,
            (State::Joining | State::Moving, Wish::TimeIsUp | Wish::Signal) => End::Failed(format!(
                "{} was not joined in time: check that its server runs and can be reached",
                self.goal
            )),
        };
        self.state = State::Leaving(end);
        None
    }

    /// The engine did not say that it left.
    pub fn on_patience_over(&self) -> End {
        match &self.state {
            State::Leaving(end) => end.clone(),
            State::Joining | State::Inside | State::Moving => self.on_engine_gone(),
        }
    }

    /// No event will come any more.
    pub fn on_engine_gone(&self) -> End {
        match &self.state {
            State::Leaving(end) => end.clone(),
            State::Joining | State::Inside | State::Moving => End::Failed(
                "the call engine stopped by itself: run again with SNUG_LOG=debug and report what it says"
                    .into(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use call::About;

    fn joined() -> Event {
        Event::Joined { room: "tea".into(), link: "http://h/tea".into(), id: Default::default() }
    }

    fn left(reason: &str) -> Event {
        Event::Left { reason: reason.into() }
    }

    fn session(events: &[Event]) -> Session {
        let mut session = Session::new("tea");
        for event in events {
            assert_eq!(session.on_event(event), None);
        }
        session
    }

    #[test]
    fn leaving_when_time_is_up_is_as_asked_once_inside() {
        let mut session = session(&[joined()]);
        assert_eq!(session.on_wish(Wish::TimeIsUp), None);
        assert_eq!(session.on_event(&left("bye")), Some(End::AsAsked));
        assert_eq!(session.on_patience_over(), End::AsAsked);
    }

    #[test]
    fn time_that_is_up_before_joining_is_a_failure_naming_the_room() {
        for wish in [Wish::TimeIsUp, Wish::Signal] {
            let mut session = session(&[]);
            assert_eq!(session.on_wish(wish), None);
            let end = session.on_event(&left("bye"));
            assert!(matches!(&end, Some(End::Failed(text)) if text.contains("tea")), "{end:?}");
        }
    }

    #[test]
    fn what_nobody_asked_for_is_a_failure_with_its_reason() {
        assert_eq!(
            session(&[joined()]).on_event(&left("kicked")),
            Some(End::Failed("the call ended: kicked".into()))
        );
        let fatal = Event::Error { about: About::Server, message: "no such server".into(), fatal: true };
        assert_eq!(session(&[]).on_event(&fatal), Some(End::Failed("no such server".into())));
        assert!(matches!(session(&[joined()]).on_engine_gone(), End::Failed(_)));
    }

    #[test]
    fn errors_that_are_not_fatal_end_nothing() {
        let error = Event::Error { about: About::Camera, message: "busy".into(), fatal: false };
        session(&[error.clone(), joined(), error]);
    }

    #[test]
    fn moving_to_another_room_is_no_end() {
        let mut session = session(&[joined()]);
        let password = call::Password::default();
        let join =
            Command::Join { server: "http://h".into(), room: "den".into(), name: String::new(), password };
        assert!(!session.on_command(&join));
        assert_eq!(session.on_event(&left("moved")), None);
        assert_eq!(session.on_event(&joined()), None);
        assert!(session.on_command(&Command::Leave));
        assert_eq!(session.on_wish(Wish::Command), None);
        assert_eq!(session.on_event(&left("bye")), Some(End::AsAsked));
    }

    #[test]
    fn a_second_wish_waits_no_longer() {
        let mut session = session(&[joined()]);
        assert_eq!(session.on_wish(Wish::Signal), None);
        assert_eq!(session.on_wish(Wish::Signal), Some(End::AsAsked));
    }
}
