//! A sound server that speaks PulseAudio's protocol (PipeWire does): its events, and in `stream` its sound. Nothing
//! else names the crate `pulseaudio`.

pub(super) mod stream;

use std::ffi::CStr;
use std::io::{BufReader, Read};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use pulseaudio::protocol::{
    self, ChannelMap, ChannelPosition, Command, CommandReply, ProtocolError, SubscriptionEventType,
    SubscriptionMask, TagStructReader,
};

use super::cpal::{is_monitor_name, pulse_id};
use super::watch::{Landscape, Seen, Side, Teller};

const WATCHING: &CStr = c"Snug, watching for devices";
/// Messages that are no sound are of this channel.
const CONTROL: u32 = u32::MAX;
/// A server that does not answer a question within this is none.
const ANSWER: Duration = Duration::from_secs(2);
/// No message of a server's is longer than this, 4 MiB.
const MOST: u32 = 4 << 20;
/// Messages that are not the answer, before the answer: events that overtook it.
const OVERTAKING: usize = 10_000;

/// Tells of devices for as long as the connection to a sound server lasts. False when there is no server.
pub(super) fn listen(teller: &mut Teller) -> bool {
    let mut talk = match Talk::connect(WATCHING) {
        Ok(Some(talk)) => talk,
        Ok(None) => return false,
        Err(error) => {
            tracing::debug!(%error, "the sound server cannot be asked");
            return false;
        }
    };
    if let Err(error) = talk.tell_all(teller)
        && !teller.stopped()
    {
        tracing::info!(%error, "the sound server went away");
    }
    true
}

/// How many channels to record from the source of that name, so that each of its own is among them as it is;
/// none when they cannot be told apart.
pub(super) fn channels(source: &str) -> Result<Option<u16>, ProtocolError> {
    let Some(mut talk) = Talk::connect(WATCHING)? else { return Ok(None) };
    let sources: protocol::SourceInfoList = talk.ask(&Command::GetSourceInfoList)?;
    let found = sources.iter().find(|info| info.name.to_bytes() == source.as_bytes());
    Ok(found.and_then(|info| least(&info.channel_map)))
}

/// The least number of channels among whose positions, by [`LAYOUTS`], all of these are. The server gives
/// each position as it is, and fills up with mixtures.
fn least(map: &ChannelMap) -> Option<u16> {
    if map.num_channels() <= 1 {
        return Some(1);
    }
    let has_all = |asked: &[ChannelPosition]| map.into_iter().all(|position| asked.contains(&position));
    LAYOUTS.iter().find(|asked| has_all(asked)).map(|asked| asked.len() as u16)
}

/// What positions to ask for, by the number of channels; larger ones are not asked for.
const LAYOUTS: [&[ChannelPosition]; 10] = {
    use ChannelPosition::{
        Aux0, Aux1, Aux2, Aux3, Aux4, Aux5, Aux6, Aux7, Aux8, Aux9, Aux10, FrontCenter, FrontLeft,
        FrontRight, Lfe, RearCenter, RearLeft, RearRight, SideLeft, SideRight, TopFrontLeft, TopFrontRight,
    };
    [
        &[FrontLeft, FrontRight],
        &[FrontLeft, FrontRight, FrontCenter],
        &[FrontLeft, FrontRight, RearLeft, RearRight],
        &[FrontLeft, FrontRight, FrontCenter, RearLeft, RearRight],
        &[FrontLeft, FrontRight, FrontCenter, Lfe, RearLeft, RearRight],
        &[FrontLeft, FrontRight, FrontCenter, Lfe, RearLeft, RearRight, RearCenter],
        &[FrontLeft, FrontRight, FrontCenter, Lfe, RearLeft, RearRight, SideLeft, SideRight],
        &[Aux0, Aux1, Aux2, Aux3, Aux4, Aux5, Aux6, Aux7, Aux8],
        &[
            FrontLeft,
            FrontRight,
            FrontCenter,
            Lfe,
            RearLeft,
            RearRight,
            SideLeft,
            SideRight,
            TopFrontLeft,
            TopFrontRight,
        ],
        &[Aux0, Aux1, Aux2, Aux3, Aux4, Aux5, Aux6, Aux7, Aux8, Aux9, Aux10],
    ]
};

/// A connection on which one asks and is answered, and is told of what happens in between.
struct Talk {
    socket: BufReader<UnixStream>,
    version: u16,
    /// Number of the last question.
    asked: u32,
    /// The last message.
    message: Vec<u8>,
    /// Something has changed since devices were asked for.
    changed: bool,
}

impl Talk {
    /// A connection to the server that the environment names; none where there is no server.
    fn connect(name: &CStr) -> Result<Option<Self>, ProtocolError> {
        let Some(path) = pulseaudio::socket_path_from_env() else { return Ok(None) };
        let Ok(socket) = UnixStream::connect(path) else { return Ok(None) };
        socket.set_read_timeout(Some(ANSWER))?;
        socket.set_write_timeout(Some(ANSWER))?;
        let cookie = pulseaudio::cookie_path_from_env().and_then(|path| std::fs::read(path).ok());
        let version = protocol::MAX_VERSION;
        let mut talk =
            Self { socket: BufReader::new(socket), version, asked: 0, message: Vec::new(), changed: false };
        let auth = protocol::AuthParams {
            version,
            supports_shm: false,
            supports_memfd: false,
            cookie: cookie.unwrap_or_default(),
        };
        let reply: protocol::AuthReply = talk.ask(&Command::Auth(auth))?;
        talk.version = version.min(reply.version);
        let mut properties = protocol::Props::new();
        properties.set(protocol::Prop::ApplicationName, name);
        let _: protocol::SetClientNameReply = talk.ask(&Command::SetClientName(properties))?;
        Ok(Some(talk))
    }

    /// Tells what there is, now and after each change; ends with the connection.
    fn tell_all(&mut self, teller: &mut Teller) -> Result<(), ProtocolError> {
        if !teller.waits_on(self.socket.get_ref().try_clone()?) {
            return Ok(());
        }
        let all = SubscriptionMask::SINK | SubscriptionMask::SOURCE | SubscriptionMask::SERVER;
        self.request(&Command::Subscribe(all), |_| Ok(()))?;
        loop {
            self.changed = false;
            let landscape = self.landscape()?;
            teller.tell(landscape);
            self.socket.get_ref().set_read_timeout(None)?;
            while !self.changed {
                self.read()?;
                let command = self.command()?;
                self.note(&command);
            }
            self.socket.get_ref().set_read_timeout(Some(ANSWER))?;
        }
    }

    fn landscape(&mut self) -> Result<Landscape, ProtocolError> {
        let server: protocol::ServerInfo = self.ask(&Command::GetServerInfo)?;
        let sinks: protocol::SinkInfoList = self.ask(&Command::GetSinkInfoList)?;
        let sources: protocol::SourceInfoList = self.ask(&Command::GetSourceInfoList)?;
        let text = |text: Option<std::ffi::CString>| text.map(|text| text.to_string_lossy().into_owned());
        let seen = |name: std::ffi::CString, description, life| {
            let raw = name.to_string_lossy().into_owned();
            Seen { id: pulse_id(&raw), name: text(description).unwrap_or(raw), life }
        };
        let speakers = sinks.into_iter().map(|sink| seen(sink.name, sink.description, sink.index));
        let mics = sources.into_iter().map(|source| seen(source.name, source.description, source.index));
        let (speakers, mics): (Vec<_>, Vec<_>) = (speakers.collect(), mics.collect());
        let no_monitor = |id: &String| !is_monitor_name(id);
        let source = text(server.default_source_name).map(|name| pulse_id(&name)).filter(no_monitor);
        let first = || mics.iter().map(|mic| mic.id.clone()).find(no_monitor);
        let sink = text(server.default_sink_name).map(|name| pulse_id(&name));
        Ok(Landscape {
            mics: Side { default: source.or_else(first), devices: mics },
            speakers: Side { default: sink, devices: speakers },
        })
    }

    /// Asks, and reads what kind of answer belongs to the question.
    fn ask<R: CommandReply>(&mut self, question: &Command) -> Result<R, ProtocolError> {
        let version = self.version;
        self.request(question, |mut payload| TagStructReader::new(&mut payload, version).read())
    }

    fn request<R>(
        &mut self,
        question: &Command,
        read: impl FnOnce(&[u8]) -> Result<R, ProtocolError>,
    ) -> Result<R, ProtocolError> {
        self.send(question)?;
        for _ in 0..OVERTAKING {
            self.read()?;
            let mut rest = self.message.as_slice();
            match Command::read_tag_prefixed(&mut rest, self.version)? {
                (number, Command::Reply) if number == self.asked => return read(rest),
                (number, Command::Error(error)) if number == self.asked => {
                    return Err(ProtocolError::ServerError(error));
                }
                (_, other) => self.note(&other),
            }
        }
        Err(ProtocolError::Timeout)
    }

    /// Says something, and does not wait for an answer.
    fn send(&mut self, command: &Command) -> Result<(), ProtocolError> {
        self.asked = self.asked.wrapping_add(1);
        protocol::write_command_message(self.socket.get_mut(), self.asked, command, self.version)?;
        Ok(())
    }

    /// Reads the next message, whatever it is; of which channel.
    fn read(&mut self) -> Result<u32, ProtocolError> {
        let header = protocol::read_descriptor(&mut self.socket)?;
        if header.length > MOST {
            return Err(ProtocolError::Invalid(format!("a message of {} bytes", header.length)));
        }
        self.message.resize(header.length as usize, 0);
        self.socket.read_exact(&mut self.message)?;
        Ok(header.channel)
    }

    /// What the last message says.
    fn command(&self) -> Result<Command, ProtocolError> {
        Ok(Command::read_tag_prefixed(&mut self.message.as_slice(), self.version)?.1)
    }

    fn note(&mut self, command: &Command) {
        if let Command::SubscribeEvent(event) = command {
            // A device that changed changed its volume or the like; a server, its defaults.
            self.changed |= event.event_type != SubscriptionEventType::Changed
                || event.event_facility == protocol::SubscriptionEventFacility::Server;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_channels_are_asked_for_as_it_takes_to_get_each_of_the_devices_own() {
        use ChannelPosition::{
            Aux0, Aux1, Aux31, FrontCenter, FrontLeft, FrontRight, RearCenter, RearLeft, RearRight,
        };
        let map = |positions: &[ChannelPosition]| least(&ChannelMap::new(positions.iter().copied()));
        assert_eq!(least(&ChannelMap::mono()), Some(1));
        assert_eq!(map(&[FrontLeft, FrontRight]), Some(2));
        assert_eq!(map(&[RearLeft, RearRight, FrontLeft, FrontRight]), Some(4));
        assert_eq!(map(&[FrontLeft, FrontCenter, FrontRight, RearCenter]), Some(7), "four by AIFF");
        assert_eq!(map(&[Aux0, Aux1]), Some(9), "an interface for music");
        assert_eq!(map(&[Aux0, Aux31]), None);
    }
}
