// One RTCPeerConnection to one other person: perfect negotiation, two senders for the whole call, and
// mending of its path. Tracks come and go by replaceTrack alone, so nothing but the first offer and ICE
// restarts is ever negotiated.

import { Hearing } from './hearing.js';

const KINDS = ['audio', 'video'];
// overflow: a candidate that comes before the description and finds so many is dropped.
const CANDIDATES_KEPT = 64;
const RESTART_AFTER = 3000;
// Both notice a broken path at about the same time. The polite one lets the other offer first: Chromium 156
// shows no more pictures to one who has answered first and takes an offer back later, until both reconnect.
const POLITE_WAIT = 3000;
const RESTART_AGAIN = 10_000;

/** By itself Chromium starts at 300 kb/s, 320x180 for seconds; it takes a better start from their description. */
function startingFast({ type, sdp }) {
  return { type, sdp: sdp.replace(/^a=rtpmap:(\d+) VP8\/90000\r\n/m, '$&a=fmtp:$1 x-google-start-bitrate=1500\r\n') };
}

/** A browser hears music in mono, and pauses as sound, unless its own description says otherwise of Opus. */
function hearing({ type, sdp }) {
  const opus = /^a=rtpmap:(\d+) opus\/48000\/2\r?$/im.exec(sdp)?.[1];
  const wishes = ['stereo=1', 'usedtx=1'];
  const add = (line) => wishes.reduce((all, wish) => (new RegExp(`[ ;]${wish}`).test(all) ? all : `${all};${wish}`), line);
  return { type, sdp: opus ? sdp.replace(new RegExp(`^a=fmtp:${opus} [^\\r\\n]*`, 'm'), add) : sdp };
}

export class Peer {
  /** The connection itself; tests look at its statistics. */
  pc;
  /** What they send, for a video element. */
  stream = new MediaStream();
  /** What comes from them. */
  hearing = new Hearing();
  /** `connecting`, `connected`, `disconnected`, `restarting`, `failed`. */
  state = 'connecting';

  #polite;
  #media;
  #send;
  #changed;
  #fresh;
  #senders = {};
  #early = [];
  #found = [];
  #work = Promise.resolve();
  #restarted = 0;
  #making = false;
  #ignoring = false;
  #timer = 0;

  /**
   * @param polite whether we give way when both offer at once
   * @param iceServers from the welcome
   * @param fresh resolves when those that ended have been set anew
   * @param media the local media: `stream`, and `sending(kind)` for the track to send now, or null
   * @param send takes `{type, …}` messages for this person
   * @param changed called after `state` or the tracks of `stream` changed
   */
  constructor({ polite, iceServers, fresh, media, send, changed }) {
    this.#polite = polite;
    this.#media = media;
    this.#send = send;
    this.#changed = changed;
    this.#fresh = fresh;
    const iceTransportPolicy = relayOnly() ? 'relay' : 'all';
    this.pc = new RTCPeerConnection({ iceServers, iceTransportPolicy, bundlePolicy: 'max-bundle' });
    this.pc.onnegotiationneeded = () => this.#offer();
    this.pc.onicecandidate = ({ candidate }) => this.#tell(candidate);
    this.pc.onconnectionstatechange = () => this.#moved();
    this.pc.ontrack = ({ track }) => this.#got(track);
  }

  /** Makes the first offer: we came after them. */
  start() {
    for (const kind of KINDS) {
      // With no track, too: the slot is there from the start, so that a camera plugged in later needs no offer.
      const streams = [this.#media.stream];
      const { sender } = this.pc.addTransceiver(kind, { direction: 'sendrecv', streams });
      this.#senders[kind] = sender;
      this.update(kind);
    }
  }

  /** Sends what is to be sent of a kind now: a track, or nothing at all. */
  async update(kind) {
    try {
      await this.#senders[kind]?.replaceTrack(this.#media.sending(kind));
    } catch (error) {
      if (this.pc.signalingState !== 'closed') console.warn(`cannot send ${kind}: ${error}`);
    }
  }

  /** Takes their offer or answer. */
  description(description) {
    this.#next(() => this.#describe(description));
  }

  /** Takes a candidate of theirs; null: there are no more. */
  candidate(candidate) {
    this.#next(() => this.#add(candidate));
  }

  /** Sends an offer once more that may be lost: we had lost the server. */
  resend() {
    if (this.pc.signalingState !== 'have-local-offer') return;
    const found = this.#found;
    this.#say(this.pc.localDescription);
    this.#found = found;
    found.forEach((candidate) => this.#send({ type: 'candidate', candidate }));
  }

  /** Other servers from now on: for the next search for a path. */
  use(iceServers) {
    if (this.pc.signalingState === 'closed') return;
    try {
      this.pc.setConfiguration({ ...this.pc.getConfiguration(), iceServers });
    } catch (error) {
      console.warn(`the servers are not taken: ${error}`);
    }
  }

  /** Looks whether something came since the last look. @param now ms */
  listen(now) {
    const sources = this.pc.getReceivers().flatMap((receiver) => receiver.getSynchronizationSources?.() ?? []);
    this.hearing.look(sources.map(({ source, timestamp }) => `${source} ${timestamp}`).join(), now);
    // The browser may not have noticed that there was no path for a while: it tells nothing then.
    const back = this.state === 'restarting' && this.pc.connectionState === 'connected';
    if (back && this.hearing.last > this.#restarted) this.#moved();
  }

  /** Our network is another now, and nothing comes over the old path: no use in waiting for it, or for them. */
  hurry(now) {
    if (this.#restarted > this.hearing.last || this.pc.connectionState === 'new') return;
    this.#restarted = now;
    this.state = 'restarting';
    this.#restart();
  }

  /** Hangs up. */
  close() {
    clearTimeout(this.#timer);
    this.pc.onconnectionstatechange = null;
    this.pc.close();
  }

  /** One thing after the other: descriptions and candidates mean something only in their order. */
  #next(step) {
    this.#work = this.#work.then(async () => {
      if (this.pc.signalingState !== 'closed') await step();
    });
  }

  async #offer() {
    try {
      this.#making = true;
      const offer = await this.pc.createOffer();
      // Theirs came first.
      if (this.pc.signalingState !== 'stable') return;
      await this.pc.setLocalDescription(hearing(offer));
      this.#say(this.pc.localDescription);
    } catch (error) {
      // Theirs came while ours was being taken.
      if (error.name !== 'InvalidStateError') this.#broken(error);
    } finally {
      this.#making = false;
    }
  }

  async #describe(description) {
    const { pc } = this;
    const collision = description.type === 'offer' && (this.#making || pc.signalingState !== 'stable');
    this.#ignoring = collision && !this.#polite;
    if (this.#ignoring) return;
    // An answer that came twice: an offer was sent again after the server had been lost.
    if (description.type === 'answer' && pc.signalingState !== 'have-local-offer') return;
    try {
      await pc.setRemoteDescription(startingFast(description));
      for (const candidate of this.#early.splice(0)) await this.#add(candidate);
      if (description.type !== 'offer') return;
      await this.#adopt();
      await pc.setLocalDescription(hearing(await pc.createAnswer()));
      this.#say(pc.localDescription);
    } catch (error) {
      this.#broken(error);
    }
  }

  /** Takes the slots that their offer made for our senders. */
  async #adopt() {
    for (const transceiver of this.pc.getTransceivers()) {
      const { kind } = transceiver.receiver.track;
      const sender = this.#senders[kind];
      if (transceiver.currentDirection === 'stopped' || (sender && sender !== transceiver.sender)) continue;
      if (sender) continue;
      this.#senders[kind] = transceiver.sender;
      transceiver.direction = 'sendrecv';
      transceiver.sender.setStreams?.(this.#media.stream);
      await this.update(kind);
    }
  }

  #say(description) {
    this.#found = [];
    this.#send({ type: 'description', description: { type: description.type, sdp: description.sdp } });
  }

  #tell(candidate) {
    // Some browsers end each generation by an empty candidate, and all of them by null.
    if (candidate && candidate.candidate === '') return;
    const init = candidate && candidate.toJSON();
    if (this.#found.length < CANDIDATES_KEPT) this.#found.push(init);
    this.#send({ type: 'candidate', candidate: init });
  }

  async #add(candidate) {
    if (!this.pc.remoteDescription) {
      if (this.#early.length < CANDIDATES_KEPT) this.#early.push(candidate);
      return;
    }
    const whole = candidate && { ...candidate };
    if (whole && whole.sdpMid == null && whole.sdpMLineIndex == null) whole.sdpMLineIndex = 0;
    try {
      await this.pc.addIceCandidate(whole ?? undefined);
    } catch (error) {
      // Those of an offer that we ignore do not fit; any other is one path less, not a fault of the call.
      if (!this.#ignoring) console.warn(`a candidate was not taken: ${error}`);
    }
  }

  #got(track) {
    // Told again after a rollback; a video element can freeze when its track is taken out and put back.
    if (this.stream.getTracks().includes(track)) return;
    this.stream.getTracks().filter((old) => old.kind === track.kind).forEach((old) => this.stream.removeTrack(old));
    this.stream.addTrack(track);
    this.#changed();
  }

  #moved() {
    const now = this.pc.connectionState;
    clearTimeout(this.#timer);
    if (now === 'connected') this.state = 'connected';
    else if (now === 'disconnected') this.#restartIn(RESTART_AFTER + this.#patience(), 'disconnected');
    else if (now === 'failed') this.#restartIn(this.#patience(), 'failed');
    // `connecting` after a restart stays `restarting` for the eye.
    else if (this.state === 'connected') this.state = 'restarting';
    if (this.state === 'restarting') this.#restartIn(RESTART_AGAIN, 'restarting');
    this.#changed();
  }

  #patience() {
    return this.#polite ? POLITE_WAIT : 0;
  }

  #restartIn(wait, state) {
    this.state = state;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#restart(), wait);
  }

  /** Looks for a new path; media goes on over the old one if that comes back. */
  async #restart() {
    this.#restartIn(RESTART_AGAIN, this.state === 'failed' ? 'failed' : 'restarting');
    await this.#fresh();
    if (this.pc.signalingState === 'closed') return;
    // An offer that is out may have been lost, and no other is made before it is answered.
    this.resend();
    // Fires negotiationneeded, now or once the negotiation under way is over.
    this.pc.restartIce();
    this.#changed();
  }

  /** A description that cannot be used is a fault of this pair only. */
  #broken(error) {
    if (this.pc.signalingState === 'closed') return;
    console.warn(`the connection is closed: ${error}`);
    this.close();
    this.state = 'failed';
    this.#changed();
  }
}

/** The page was opened with ?relay=1: the others are to learn no address of ours. */
function relayOnly() {
  return new URLSearchParams(location.search).get('relay') === '1';
}
