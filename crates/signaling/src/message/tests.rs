//! What is written in the document reads, and nothing secret shows in a log.

use super::*;

#[test]
fn client_messages_are_those_of_the_document() {
    let parse = |text: &str| ClientMessage::parse(text).unwrap();
    assert_eq!(
        parse(r#"{"type":"hello","v":1,"room":"tea","name":"Ann","audio":true,"video":false}"#),
        ClientMessage::Hello(Hello {
            v: 1,
            room: "tea".into(),
            name: "Ann".into(),
            audio: true,
            video: false,
            resume: None,
            password: None,
            knock: None
        })
    );
    assert_eq!(
        parse(r#"{"type":"description","to":"b","description":{"type":"offer","sdp":"v=0"}}"#),
        ClientMessage::Description {
            to: ParticipantId("b".into()),
            description: Description { kind: SdpType::Offer, sdp: "v=0".into() }
        }
    );
    assert_eq!(
        parse(r#"{"type":"candidate","to":"b","candidate":null}"#),
        ClientMessage::Candidate { to: ParticipantId("b".into()), candidate: None }
    );
    let candidate = Candidate {
        candidate: "candidate:1".into(),
        sdp_mid: Some("0".into()),
        sdp_m_line_index: Some(0),
        username_fragment: None,
    };
    assert_eq!(
        parse(
            r#"{"type":"candidate","to":"b","candidate":{"candidate":"candidate:1","sdpMid":"0",
               "sdpMLineIndex":0,"usernameFragment":null}}"#
        ),
        ClientMessage::Candidate { to: ParticipantId("b".into()), candidate: Some(candidate) }
    );
    assert_eq!(parse(r#"{"type":"bye"}"#), ClientMessage::Bye);
    assert_eq!(parse(r#"{"type":"bye","later":[1]}"#), ClientMessage::Bye);
}

#[test]
fn what_we_write_reads_back() {
    let info = ParticipantInfo {
        id: ParticipantId("a".into()),
        name: "Ann 🫖".into(),
        audio: true,
        video: false,
        away: true,
    };
    let welcome = ServerMessage::Welcome(Welcome {
        v: 1,
        room: "Tea".into(),
        id: ParticipantId("b".into()),
        resume: "s".into(),
        ice_servers: vec![IceServer { urls: vec!["stun:x".into()], username: None, credential: None }],
        participants: vec![info.clone()],
        ice_ttl: Some(3600),
        host: Some(ParticipantId("a".into())),
        door: Door { password: true, knock: false },
        knocks: vec![Knock { id: ParticipantId("c".into()), name: "Cy".into() }],
        resumed: false,
    });
    for message in [
        welcome,
        ServerMessage::Joined { participant: info },
        ServerMessage::Waiting { seconds: 300 },
        ServerMessage::Door(Door { password: true, knock: true }),
        ServerMessage::Knock(Knock { id: ParticipantId("c".into()), name: "Cy".into() }),
        ServerMessage::KnockOver { id: ParticipantId("c".into()) },
        ServerMessage::Host { id: ParticipantId("c".into()) },
        ServerMessage::Ice { ice_servers: Vec::new(), ttl: 60 },
        ServerMessage::Left { id: ParticipantId("a".into()), reason: LeftReason::Timeout },
        ServerMessage::Candidate { from: ParticipantId("a".into()), candidate: None },
        ServerMessage::Error { code: ErrorCode::RoomFull, message: "full".into(), fatal: true },
    ] {
        assert_eq!(ServerMessage::parse(&message.to_json()), Ok(message));
    }
    assert!(ServerMessage::parse(r#"{"type":"left","id":"a","reason":"moved-house"}"#).is_ok());
    let error = ServerMessage::parse(r#"{"type":"error","code":"tired","message":"","fatal":false}"#);
    assert!(matches!(error, Ok(ServerMessage::Error { code: ErrorCode::Other, .. })));
}

#[test]
fn broken_unknown_and_newer_are_told_apart() {
    for text in [
        "",
        "[]",
        "null",
        "{}",
        r#"{"type":7}"#,
        r#"{"type":"candidate","to":"b"}"#,
        r#"{"type":"description","to":"b","description":{"type":"rollback","sdp":""}}"#,
        r#"{"type":"hello","room":"tea"}"#,
        r#"{"type":"state","audio":1,"video":true}"#,
    ] {
        assert!(matches!(ClientMessage::parse(text), Err(ParseError::Malformed(_))), "{text}");
    }
    assert_eq!(ClientMessage::parse(r#"{"type":"wave"}"#), Err(ParseError::UnknownType("wave".into())));
    assert_eq!(
        ClientMessage::parse(r#"{"type":"hello","v":2,"rooms":[]}"#),
        Err(ParseError::Version("2".into()))
    );
    for v in ["\"2\"", "[[1]]", "{\"a\":1}", "1.5", "-1", "true"] {
        let text = format!(r#"{{"type":"hello","v":{v}}}"#);
        assert!(matches!(ClientMessage::parse(&text), Err(ParseError::Version(_))), "{v}");
    }
    let none = ClientMessage::parse(r#"{"type":"hello","v":null}"#);
    assert!(matches!(none, Err(ParseError::Malformed(_))));
    let deep = "[".repeat(MAX_MESSAGE);
    assert!(matches!(ClientMessage::parse(&deep), Err(ParseError::Malformed(_))));
    let long = " ".repeat(MAX_MESSAGE + 1);
    assert_eq!(ClientMessage::parse(&long), Err(ParseError::TooLarge(MAX_MESSAGE + 1)));
}

#[test]
fn doors_and_ice_are_those_of_the_document() {
    let parse = |text: &str| ClientMessage::parse(text).unwrap();
    assert_eq!(parse(r#"{"type":"ice"}"#), ClientMessage::Ice);
    assert_eq!(
        parse(r#"{"type":"door","password":"x","knock":true}"#),
        ClientMessage::Door { password: Some(Password::new("x")), knock: Some(true) }
    );
    assert_eq!(
        parse(r#"{"type":"door","password":null}"#),
        ClientMessage::Door { password: None, knock: None }
    );
    let id = ParticipantId("c".into());
    assert_eq!(parse(r#"{"type":"admit","id":"c"}"#), ClientMessage::Admit { id: id.clone() });
    assert_eq!(parse(r#"{"type":"refuse","id":"c"}"#), ClientMessage::Refuse { id });
    let ice = ServerMessage::Ice { ice_servers: Vec::new(), ttl: 60 };
    assert_eq!(ice.to_json(), r#"{"type":"ice","iceServers":[],"ttl":60}"#);
}

#[test]
fn an_older_servers_welcome_reads() {
    let text = r#"{"type":"welcome","v":1,"room":"tea","id":"a","resume":"s","iceServers":[],"participants":[],"resumed":false}"#;
    let Ok(ServerMessage::Welcome(welcome)) = ServerMessage::parse(text) else { panic!() };
    assert_eq!((welcome.host, welcome.ice_ttl, welcome.door), (None, None, Door::default()));
}

#[test]
fn secrets_stay_out_of_debug_texts() {
    for text in [
        r#"{"type":"hello","v":1,"room":"r","name":"n","audio":true,"video":true,"resume":"geheim"}"#,
        r#"{"type":"hello","v":1,"room":"r","name":"n","audio":true,"video":true,"password":"geheim"}"#,
        r#"{"type":"door","password":"geheim"}"#,
        r#"{"type":"description","to":"b","description":{"type":"offer","sdp":"geheim"}}"#,
        r#"{"type":"candidate","to":"b","candidate":{"candidate":"geheim","usernameFragment":"geheim"}}"#,
    ] {
        assert!(!format!("{:?}", ClientMessage::parse(text).unwrap()).contains("geheim"), "{text}");
    }
    for text in [
        r#"{"type":"welcome","v":1,"room":"tea","id":"a","resume":"geheim","iceServers":[{"urls":["turn:x"],"username":"geheim","credential":"geheim"}],"participants":[],"resumed":false}"#,
        r#"{"type":"ice","iceServers":[{"urls":["turn:x"],"username":"geheim","credential":"geheim"}],"ttl":1}"#,
    ] {
        assert!(!format!("{:?}", ServerMessage::parse(text).unwrap()).contains("geheim"), "{text}");
    }
}
