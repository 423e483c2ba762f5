// The page: takes what a person does to the room and the media, and draws what they say.

import { DoorPanel } from './door.js';
import { Media } from './media.js';
import { deviceProblem, endProblem, INSECURE, lostProblem, Problems } from './problems.js';
import { Room } from './room.js';
import { kept } from './store.js';
import { initial, Tiles } from './tiles.js';
import { Chat, DeviceLists, element, link, roomOfAddress } from './ui.js';

const BUTTONS = {
  audio: { button: element('mute'), on: 'Mute (M)', off: 'Unmute (M)' },
  video: { button: element('camera-toggle'), on: 'Turn the camera off (V)', off: 'Turn the camera on (V)' },
};

const problems = new Problems(element('problems'));
const tiles = new Tiles(element('stage'));
const lost = new Set();
let room = null;

const media = new Media({
  changed(kind) {
    drawOwn();
    lists.draw();
    room?.update(kind);
  },
  devices: () => lists.draw(),
  failed: (kind, error) => problems.show(kind, kind === 'insecure' ? INSECURE : deviceProblem(kind, error)),
  lost(kind) {
    lost.add(kind);
    problems.show(kind, lostProblem(kind));
  },
  mended(kind) {
    if (lost.delete(kind)) problems.show(kind, lostProblem(kind, lists.label(kind)));
    else problems.clear(kind);
  },
});
const lists = new DeviceLists(media, () => tiles.videos, problems);
const door = new DoorPanel({
  lock: (change) => room?.lock(change),
  admit: (id) => room?.admit(id),
  refuse: (id) => room?.refuse(id),
});
const chat = new Chat((text) => room?.chat(text));

/** Our own picture and buttons. */
function drawOwn() {
  for (const [kind, { button, on, off }] of Object.entries(BUTTONS)) {
    const isOn = media.on(kind);
    button.setAttribute('aria-pressed', String(!isOn));
    button.title = isOn ? on : off;
  }
  const self = element('self');
  self.dataset.picture = media.live('video') ? 'on' : 'off';
  self.querySelector('.initial').textContent = initial(element('name').value || 'Guest');
  self.querySelector('.words').textContent = media.on('video') ? 'No camera' : 'Camera is off';
  self.querySelector('.muted').hidden = media.on('audio');
  const video = element('self-video');
  // An empty stream would keep the page loading for ever.
  const view = media.live('video') ? media.view : null;
  if (video.srcObject !== view) video.srcObject = view;
  // Moving it in the page and a change of track each pause it in some browsers.
  if (view) video.play().catch(() => {});
}

/** The others. */
function drawRoom() {
  if (!room) return;
  tiles.show(room.people);
  door.draw(room.entrance);
  lists.applySpeaker();
  tiles.videos.filter((video) => video.paused && video.srcObject).forEach(play);
}

/** Browsers keep silent a page that nobody has clicked. */
async function play(video) {
  try {
    await video.play();
    problems.clear('sound');
  } catch (error) {
    if (error.name === 'NotAllowedError') problems.show('sound', 'The browser keeps the sound off. Click anywhere to hear the others.');
  }
}

function showCall(inCall) {
  document.body.dataset.view = inCall ? 'call' : 'lobby';
  element('lobby').hidden = inCall;
  element('call').hidden = !inCall;
  // One self-view, one pair of buttons, one set of lists, each moved to where it is used.
  (inCall ? element('corner') : element('preview')).prepend(element('self'));
  (inCall ? element('call-buttons') : element('preview')).append(element('buttons'));
  if (inCall) element('call-devices').append(element('devices'));
  else element('join').before(element('devices'));
  drawOwn();
}

function join() {
  const name = element('name').value.trim();
  const wanted = element('room').value.trim();
  kept.set('name', name);
  problems.clear('server');
  setJoining(true);
  room = new Room({
    url: new URL('/ws', location.href.replace(/^http/, 'ws')).href,
    room: wanted,
    name,
    password: element('password').value || undefined,
    media,
    on: {
      waiting,
      entered,
      changed: drawRoom,
      server(reachable) {
        if (reachable) problems.clear('server');
        else problems.show('server', 'The server cannot be reached. The call goes on; trying again…');
      },
      chat: (person, text) => chat.add(person.name, text),
      refused: (text) => problems.show('server', text),
      ended(code, text) {
        out();
        problems.show('server', endProblem(code, text));
        if (code === 'no-entry') askForPassword();
      },
    },
  });
}

/** The host is asked: the page waits with us. */
function waiting() {
  if (document.body.dataset.view === 'call') showCall(false);
  tiles.show(new Map());
  setJoining(true);
  element('join').hidden = true;
  element('waiting').hidden = false;
  element('waiting-cancel').focus();
}

function askForPassword() {
  element('password-field').hidden = false;
  element('password').focus();
  element('password').select();
}

function entered() {
  setJoining(false);
  element('room-name').textContent = room.name;
  element('link').value = link(room.name);
  document.title = `${room.name} · Snug`;
  history.replaceState(null, '', link(room.name));
  if (document.body.dataset.view !== 'call') showCall(true);
  drawRoom();
}

function out() {
  room = null;
  setJoining(false);
  tiles.show(new Map());
  chat.clear();
  door.clear();
  document.title = 'Snug';
  if (document.body.dataset.view === 'call') showCall(false);
  element('join').focus();
}

function leave() {
  room?.leave();
  problems.clear('server');
  out();
}

function setJoining(joining) {
  element('waiting').hidden = true;
  element('join').hidden = false;
  element('join').disabled = joining;
  element('join').textContent = joining ? 'Joining…' : 'Join';
}

function wire() {
  element('name').value = kept.get('name') ?? '';
  element('room').value = roomOfAddress();
  element('name').addEventListener('input', drawOwn);
  element('join-form').addEventListener('submit', (event) => {
    event.preventDefault();
    if (!room) join();
  });
  element('leave').addEventListener('click', leave);
  element('waiting-cancel').addEventListener('click', leave);
  for (const [kind, { button }] of Object.entries(BUTTONS)) {
    button.addEventListener('click', () => media.set(kind, !media.on(kind)));
  }
  document.addEventListener('keydown', (event) => {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest('input, select, textarea')) return;
    const kind = { KeyM: 'audio', KeyV: 'video' }[event.code];
    if (kind) media.set(kind, !media.on(kind));
  });
  document.addEventListener('click', () => tiles.videos.filter((video) => video.paused && video.srcObject).forEach(play));
  // A closed page says so; one that the browser may bring back has hung up just the same.
  window.addEventListener('pagehide', leave);
}

wire();
showCall(false);
lists.draw();
media.start();

/** For tests: the state, to look at. */
window.snug = Object.freeze({
  get room() {
    return room && { id: room.id, name: room.name, entrance: room.entrance };
  },
  get people() {
    return new Map(room?.people ?? []);
  },
  media: Object.freeze({ live: (kind) => media.live(kind), on: (kind) => media.on(kind), device: (kind) => media.device(kind) }),
});
