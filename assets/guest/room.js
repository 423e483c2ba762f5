// The people of a room and the connections to them, driven by the server's messages. It knows no page.

import { Peer } from './peer.js';
import { Servers } from './servers.js';
import { Signaling } from './signaling.js';

/** Between two looks at what comes from the others, ms. */
const LOOK_EVERY = 250;
/** For so long something of an old path may come after the browser told of a new one, ms. */
const STILL_HEARD = 2000;
/** Between two doubts whether the server is there, ms. */
const DOUBT_AGAIN = 5000;

export class Room {
  /** Our id; null before the welcome. */
  id = null;
  /** The room's name as the server has it. */
  name;
  /** id to `{id, name, audio, video, away, peer}`, in the order they came. */
  people = new Map();
  #signaling;
  /** `{password, knock}`: who comes in by themselves; with neither, everybody. */
  door = { password: false, knock: false };
  /** The host's id. */
  host = null;
  /** To the host: who waits, `{id, name}`. */
  knocks = [];
  #servers = new Servers(() => this.#signaling.open && this.#signaling.send({ type: 'ice' }));
  #password;
  #media;
  #on;
  #said = '';
  #looking = 0;
  #doubted = -Infinity;

  /**
   * @param password the room's, as far as we know it
   * @param on `waiting()` while the host is asked, `entered()`, `changed()` when people are to be drawn anew, `server(reachable)`,
   *   `chat(person, text)`, `refused(text)` for a message that had no effect, `ended(code, text)`
   */
  constructor({ url, room, name, password, media, on }) {
    this.name = room;
    this.#media = media;
    this.#on = on;
    this.#password = password;
    this.#looking = setInterval(() => this.#look(performance.now()), LOOK_EVERY);
    const hello = () => {
      this.#said = JSON.stringify(this.#state());
      return { room, name, ...this.#state(), password: this.#password };
    };
    this.#signaling = new Signaling(url, hello, {
      message: (message) => this.#take(message),
      dropped: () => on.server(false),
      ended: (code, text) => {
        this.#end();
        on.ended(code, text);
      },
    });
  }

  /** Our tracks or buttons changed: send what is to be sent, and tell. */
  update(kind) {
    this.people.forEach(({ peer }) => peer.update(kind));
    this.#tell();
  }

  chat(text) {
    this.#signaling.send({ type: 'chat', text });
  }

  /** As host: who comes in by themselves. */
  lock(door) {
    // Should our place be lost, we come back as anybody.
    this.#password = door.password ?? this.#password;
    this.#signaling.send({ type: 'door', ...door });
  }

  admit(id) {
    this.#signaling.send({ type: 'admit', id });
  }

  refuse(id) {
    this.#signaling.send({ type: 'refuse', id });
  }

  /** What there is to say of the door. */
  get entrance() {
    const ours = this.id !== null && this.host === this.id;
    const hostName = this.people.get(this.host)?.name ?? 'The host';
    return { ours, hostName, ...this.door, knocks: ours ? this.knocks : [] };
  }

  leave() {
    this.#signaling.bye();
    this.#end();
  }

  #state() {
    return { audio: this.#media.live('audio'), video: this.#media.live('video') };
  }

  #tell() {
    const said = JSON.stringify(this.#state());
    // While the server cannot be reached the next hello will tell.
    if (said === this.#said || !this.#signaling.open) return;
    this.#said = said;
    this.#signaling.send({ type: 'state', ...this.#state() });
  }

  #take(message) {
    const person = this.people.get(message.from ?? message.id);
    switch (message.type) {
      case 'welcome':
        this.#welcomed(message);
        break;
      case 'waiting':
        this.#hangUp();
        this.#on.waiting();
        return;
      case 'host':
        this.host = message.id;
        if (this.host !== this.id) this.knocks = [];
        break;
      case 'door':
        this.door = { password: message.password, knock: message.knock };
        break;
      case 'knock':
        this.knocks = [...this.knocks.filter(({ id }) => id !== message.id), { id: message.id, name: message.name }];
        break;
      case 'knock-over':
        this.knocks = this.knocks.filter(({ id }) => id !== message.id);
        break;
      case 'ice':
        this.#servers.take(message.iceServers, message.ttl);
        this.people.forEach(({ peer }) => peer.use(message.iceServers));
        return;
      case 'joined':
        this.#add(message.participant);
        break;
      case 'left':
        person?.peer.close();
        this.people.delete(message.id);
        break;
      case 'away':
      case 'back':
        if (person) person.away = message.type === 'away';
        // What was on its way to them may be lost.
        if (message.type === 'back') person?.peer.resend();
        break;
      case 'state':
        if (person) Object.assign(person, { audio: message.audio, video: message.video });
        break;
      case 'description':
        person?.peer.description(message.description);
        return;
      case 'candidate':
        person?.peer.candidate(message.candidate);
        return;
      case 'chat':
        if (person) this.#on.chat(person, message.text);
        return;
      case 'error':
        // Somebody who has just left is no fault.
        if (message.code !== 'no-such-participant') this.#on.refused(message.message);
        return;
      default:
        // Of a later version.
        return;
    }
    this.#on.changed();
  }

  #welcomed({ id, room, iceServers, iceTtl, participants, resumed, host, door, knocks }) {
    if (!resumed) this.#hangUp();
    this.host = host ?? null;
    this.door = door ?? { password: false, knock: false };
    this.knocks = knocks ?? [];
    this.id = id;
    this.name = room;
    this.#servers.take(iceServers, iceTtl);
    this.people.forEach(({ peer }) => peer.use(iceServers));
    const there = new Set(participants.map((each) => each.id));
    for (const [gone, { peer }] of this.people) {
      if (there.has(gone)) continue;
      peer.close();
      this.people.delete(gone);
    }
    for (const each of participants) {
      const known = this.people.get(each.id);
      if (known) {
        Object.assign(known, each);
        known.peer.resend();
      } else {
        // Who came while we were away makes the offer; else it is us who came.
        const added = this.#add(each);
        if (!resumed) added.peer.start();
      }
    }
    this.#on.server(true);
    this.#on.entered();
    this.#tell();
  }

  #add(participant) {
    const { id } = participant;
    const peer = new Peer({
      polite: this.id > id,
      iceServers: this.#servers.list,
      fresh: () => this.#servers.fresh(),
      media: this.#media,
      send: (message) => this.#signaling.send({ ...message, to: id }),
      changed: () => this.#on.changed(),
    });
    const person = { ...participant, peer };
    this.people.set(id, person);
    return person;
  }

  /** Those who send something, and of whom nothing comes: is it the network, and is it ours? */
  #look(now) {
    const silent = [];
    for (const { peer, audio, video } of this.people.values()) {
      peer.listen(now);
      if ((audio || video) && peer.hearing.silent(now)) silent.push(peer);
    }
    const { opened, heard } = this.#signaling;
    // The server had to be reached over another socket since they fell silent, or shortly before, for what is on its
    // way and in buffers is still heard: it is our network.
    silent.filter(({ hearing }) => hearing.last < opened + STILL_HEARD).forEach((peer) => peer.hurry(now));
    const unsure = silent.some(({ hearing }) => hearing.last > heard);
    if (!unsure || now - this.#doubted < DOUBT_AGAIN) return;
    this.#doubted = now;
    this.#signaling.doubt({ type: 'ice' });
  }

  #end() {
    clearInterval(this.#looking);
    this.#hangUp();
  }

  #hangUp() {
    this.people.forEach(({ peer }) => peer.close());
    this.people.clear();
    this.#servers.close();
  }
}
