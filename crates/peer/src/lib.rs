//! One RTCPeerConnection.
/// Statistics of one connection.
#[derive(Clone, Debug, Default)]
pub struct Stats {}
