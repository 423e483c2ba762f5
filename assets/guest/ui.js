// Parts of the page: the lists of devices, the chat, the link.

import { kept } from './store.js';

// overflow: the oldest line goes.
const LINES_KEPT = 200;
const COPIED_FOR = 1600;

export const element = (id) => document.getElementById(id);

/** What others open to join. */
export function link(room) {
  const rest = /[!'()*]/g;
  const segment = encodeURIComponent(room).replace(rest, (each) => `%${each.charCodeAt(0).toString(16).toUpperCase()}`);
  return `${location.origin}/${segment}`;
}

/** The room that the page was opened at; empty at `/`. */
export function roomOfAddress() {
  try {
    return decodeURIComponent(location.pathname.slice(1));
  } catch {
    return '';
  }
}

/** The dropdowns, refreshed as devices come and go. */
export class DeviceLists {
  #media;
  #videos;
  #problems;
  #speaker = kept.get('speaker-device') ?? '';
  #lists = { video: element('camera-select'), audio: element('mic-select'), speaker: element('speaker-select') };

  constructor(media, videos, problems) {
    this.#media = media;
    this.#videos = videos;
    this.#problems = problems;
    element('speaker-field').hidden = !('setSinkId' in HTMLMediaElement.prototype);
    for (const kind of ['audio', 'video']) {
      this.#lists[kind].addEventListener('change', ({ target }) => media.use(kind, target.value));
    }
    this.#lists.speaker.addEventListener('change', ({ target }) => {
      this.#speaker = target.value;
      kept.set('speaker-device', target.value);
      this.applySpeaker();
    });
    const toggle = element('devices-toggle');
    toggle.title = 'Devices';
    toggle.addEventListener('click', () => {
      const open = element('call-devices').classList.toggle('open');
      toggle.setAttribute('aria-expanded', String(open));
      if (open) element('camera-select').focus();
    });
  }

  draw() {
    fill(this.#lists.video, this.#media.devices.video, this.#media.chosen('video'), 'Camera', 'No camera');
    fill(this.#lists.audio, this.#media.devices.audio, this.#media.chosen('audio'), 'Microphone', 'No microphone');
    fill(this.#lists.speaker, this.#media.devices.speaker, this.#speaker, 'Speaker', 'Default speaker');
  }

  /** The name of the device in use. */
  label(kind) {
    return this.#media.devices[kind].find((each) => each.id === this.#media.device(kind))?.label ?? '';
  }

  /** Lets the others be heard from the speaker that was chosen. */
  applySpeaker() {
    for (const video of this.#videos()) {
      if (!('setSinkId' in video) || video.sinkId === this.#speaker) continue;
      video.setSinkId(this.#speaker).then(
        () => this.#problems.clear('speaker'),
        () => {
          // Unplugged, or not allowed: the system's speaker it is.
          if (this.#speaker) this.#problems.show('speaker', 'The speaker cannot be used, so sound comes from the default one. Choose another in the list.');
          this.#speaker = '';
        },
      );
    }
  }
}

function fill(list, devices, chosen, thing, none) {
  const options = devices.map(({ id, label }, index) => [id, label || `${thing} ${index + 1}`]);
  if (options.length === 0) options.push(['', none]);
  const now = [...list.options].map((option) => [option.value, option.text]);
  // Rebuilt only when it differs: an open list would close.
  if (JSON.stringify(now) !== JSON.stringify(options)) {
    list.replaceChildren(...options.map(([id, label]) => new Option(label, id)));
  }
  list.disabled = devices.length === 0;
  list.value = options.some(([id]) => id === chosen) ? chosen : options[0][0];
}

/** The panel at the side. */
export class Chat {
  #lines = element('chat-lines');

  constructor(send) {
    const field = element('chat-text');
    const toggle = element('chat-toggle');
    toggle.title = 'Chat';
    toggle.addEventListener('click', () => this.#open(element('chat').hidden));
    element('chat-close').addEventListener('click', () => this.#open(false));
    element('chat').addEventListener('keydown', (event) => {
      if (event.key === 'Escape') this.#open(false);
    });
    element('chat-form').addEventListener('submit', (event) => {
      event.preventDefault();
      const text = field.value.trim();
      if (!text) return;
      send(text);
      this.add('You', text, true);
      field.value = '';
    });
    const copy = element('copy-link');
    copy.addEventListener('click', () => copyLink(copy));
    element('link').addEventListener('focus', ({ target }) => target.select());
  }

  add(name, text, own = false) {
    const line = element('chat-line').content.firstElementChild.cloneNode(true);
    line.classList.toggle('own', own);
    line.querySelector('b').textContent = name;
    line.querySelector('span').textContent = text;
    this.#lines.append(line);
    if (this.#lines.children.length > LINES_KEPT) this.#lines.firstElementChild.remove();
    this.#lines.scrollTop = this.#lines.scrollHeight;
    if (element('chat').hidden) element('unread').hidden = false;
  }

  clear() {
    this.#lines.replaceChildren();
    this.#open(false);
  }

  #open(open) {
    const toggle = element('chat-toggle');
    const hadFocus = element('chat').contains(document.activeElement);
    element('chat').hidden = !open;
    toggle.setAttribute('aria-expanded', String(open));
    element('unread').hidden = true;
    if (open) element('chat-text').focus();
    else if (hadFocus) toggle.focus();
  }
}

async function copyLink(button) {
  const words = button.querySelector('span');
  try {
    await navigator.clipboard.writeText(element('link').value);
    words.textContent = 'Link copied';
  } catch {
    // Not a secure page, or forbidden: the person can copy it from a dialog.
    window.prompt('Copy this link:', element('link').value);
  }
  clearTimeout(copyLink.timer);
  copyLink.timer = setTimeout(() => {
    words.textContent = 'Copy link';
  }, COPIED_FOR);
}
