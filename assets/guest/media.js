// Our own camera and microphone. Whether they are on (the buttons) belongs to the slot, not to the device:
// it outlives every switch, loss and failure. While off, `sending` is null, and no packet leaves.

import { kept, keptHere } from './store.js';

const SHAPES = {
  audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true },
  video: { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } },
};

/** One of the two: the device that is wanted, the track that we have, and the button. */
class Source {
  kind;
  /** The button. */
  on;
  /** The device that is open, or was last. */
  device;
  track = null;
  /** The device that is asked for and not tried yet. */
  #wanted = null;
  /** The device that is being tried. */
  #trying = null;
  #busy = false;
  #dirty = false;
  #running = false;
  #on;

  constructor(kind, on) {
    this.kind = kind;
    this.#on = on;
    this.device = kept.get(`${kind}-device`) ?? '';
    this.on = keptHere.get(`${kind}-off`) !== 'yes';
  }

  get sending() {
    return this.on ? this.track : null;
  }

  /** What the list shows: while a switch is under way, where it goes. */
  get chosen() {
    return this.#wanted ?? this.#trying ?? this.device;
  }

  start() {
    this.#running = true;
    return this.#settle();
  }

  set(on) {
    if (this.on === on) return;
    this.on = on;
    keptHere.set(`${this.kind}-off`, on ? 'no' : 'yes');
    // At once, before anything else happens: not one more sample of what was on.
    if (this.track) this.track.enabled = on;
    this.#on.changed(this.kind);
    this.#settle();
  }

  use(device) {
    this.#wanted = device;
    kept.set(`${this.kind}-device`, device);
    this.#settle();
  }

  /** Devices came or went. */
  look() {
    if (!this.track) this.#settle();
  }

  /** Makes the world as it is wanted, one step at a time; the latest wish wins. */
  async #settle() {
    this.#dirty = true;
    if (this.#busy || !this.#running) return;
    this.#busy = true;
    while (this.#dirty) {
      this.#dirty = false;
      await this.#step();
    }
    this.#busy = false;
  }

  async #step() {
    // A camera that is off is closed, so that its light goes out. A microphone stays open but is not sent:
    // unmuting must not lose the first word.
    if (this.kind === 'video' && !this.on) {
      this.#release();
      return;
    }
    const wanted = this.#wanted;
    if (this.track && wanted === null) return;
    this.#wanted = null;
    this.#trying = wanted;
    const before = this.device;
    // Closed first: phones cannot open two cameras at once.
    this.track?.stop();
    try {
      await this.#open(wanted ?? before, wanted !== null);
      this.#on.mended(this.kind);
    } catch (error) {
      this.#on.failed(this.kind, error);
      const other = wanted === null ? '' : before;
      // Not again what has just failed, and no second question to somebody who has said no.
      if (other === (wanted ?? before) || error.name === 'NotAllowedError') this.#release();
      else await this.#fallBack(other);
    }
    this.#trying = null;
    this.#on.changed(this.kind);
  }

  async #open(device, exactly) {
    const shape = { ...SHAPES[this.kind] };
    if (device) shape.deviceId = exactly ? { exact: device } : { ideal: device };
    const stream = await navigator.mediaDevices.getUserMedia({ [this.kind]: shape });
    this.#take(stream.getTracks()[0]);
  }

  async #fallBack(device) {
    try {
      await this.#open(device, false);
    } catch {
      // The first failure is the one to tell.
      this.#release();
    }
  }

  #take(track) {
    this.track = track;
    this.device = track.getSettings().deviceId ?? '';
    track.enabled = this.on;
    track.contentHint = this.kind === 'video' ? 'motion' : 'speech';
    // Not called when we stop it ourselves: the device was unplugged, or taken away by the system.
    track.onended = () => this.#lost(track);
  }

  #lost(track) {
    if (track !== this.track) return;
    this.#release();
    this.#on.lost(this.kind);
    this.#settle();
  }

  #release() {
    if (!this.track) return;
    this.track.stop();
    this.track = null;
    this.#on.changed(this.kind);
  }
}

export class Media {
  /** Names our two tracks as belonging together; carries none itself. */
  stream = new MediaStream();
  /** For the self-view. */
  view = new MediaStream();
  /** Lists of `{id, label}`. */
  devices = { audio: [], video: [], speaker: [] };
  #sources;
  #on;

  /**
   * @param on `changed(kind)` when what is sent may have changed, `devices()` when the lists may have,
   *   `failed(kind, error)`, `lost(kind)`, `mended(kind)`
   */
  constructor(on) {
    this.#on = on;
    const inner = { ...on, changed: (kind) => this.#changed(kind) };
    this.#sources = { audio: new Source('audio', inner), video: new Source('video', inner) };
    navigator.mediaDevices?.addEventListener('devicechange', async () => {
      await this.refresh();
      Object.values(this.#sources).forEach((source) => source.look());
    });
  }

  /** Opens what is there. Without a secure page the browser gives no devices at all. */
  async start() {
    if (!navigator.mediaDevices) {
      this.#on.failed('insecure');
      return;
    }
    await this.refresh();
    await Promise.all(Object.values(this.#sources).map((source) => source.start()));
    // The browser tells the names only now that it has been allowed.
    await this.refresh();
  }

  async refresh() {
    const all = await navigator.mediaDevices.enumerateDevices();
    const list = (kind) =>
      all
        .filter((each) => each.kind === kind && each.deviceId !== 'communications')
        .map((each) => ({ id: each.deviceId, label: each.label }));
    this.devices = { audio: list('audioinput'), video: list('videoinput'), speaker: list('audiooutput') };
    this.#on.devices();
  }

  /** The track to send now, or null. */
  sending(kind) {
    return this.#sources[kind].sending;
  }

  /** Whether the others get anything: the button is on and there is a device. */
  live(kind) {
    return this.sending(kind) !== null;
  }

  /** Whether the button is on. */
  on(kind) {
    return this.#sources[kind].on;
  }

  set(kind, on) {
    this.#sources[kind].set(on);
  }

  device(kind) {
    return this.#sources[kind].device;
  }

  /** The device that the list shows. */
  chosen(kind) {
    return this.#sources[kind].chosen;
  }

  use(kind, device) {
    this.#sources[kind].use(device);
  }

  #changed(kind) {
    if (kind === 'video') {
      const track = this.sending('video');
      const [old] = this.view.getVideoTracks();
      if (old !== track) {
        if (old) this.view.removeTrack(old);
        if (track) this.view.addTrack(track);
      }
    }
    this.#on.changed(kind);
  }
}
