// The others, as large as the stage allows: one tile each.

const SHAPE = 16 / 9;

const CONNECTIONS = {
  connecting: 'Connecting…',
  connected: '',
  disconnected: 'Connection lost, waiting…',
  restarting: 'Looking for a new way…',
  failed: 'No connection. Trying again; a firewall may be in the way.',
};

/** The first letter of a name, emoji and all, for the placeholder. */
export function initial(name) {
  const letters = name.trim() || '?';
  const [first] = Intl.Segmenter ? [...new Intl.Segmenter().segment(letters)].map((each) => each.segment) : letters;
  return first.toLocaleUpperCase();
}

class Tile {
  element;
  video;
  #name;

  constructor(id) {
    this.element = document.getElementById('tile').content.firstElementChild.cloneNode(true);
    this.element.dataset.participant = id;
    this.video = this.element.querySelector('video');
    this.#name = this.element.querySelector('.name');
    this.video.addEventListener('resize', () => this.#fit());
  }

  /** Shows a person as they are now. */
  show({ name, audio, video, away, peer }) {
    const { element } = this;
    this.#name.textContent = name;
    element.setAttribute('aria-label', name);
    element.querySelector('.initial').textContent = initial(name);
    // The icon is SVG: it has the attribute, not the property.
    element.querySelector('.muted').toggleAttribute('hidden', audio);
    const path = peer?.state ?? 'connecting';
    element.dataset.connection = path;
    const words = away && path !== 'connected' ? 'Away, may come back…' : CONNECTIONS[path];
    element.querySelector('.path').textContent = words;
    element.querySelector('.path').hidden = !words;
    if (peer && this.video.srcObject !== peer.stream) this.video.srcObject = peer.stream;
    this.#picture(video && path !== 'failed');
  }

  /** The placeholder goes with the first new picture, so that no old one flashes up. */
  #picture(wanted) {
    const { element, video } = this;
    const shown = element.dataset.picture === 'on';
    if (!wanted) element.dataset.picture = 'off';
    else if (!shown && element.dataset.picture !== 'awaited') {
      element.dataset.picture = 'awaited';
      const arrived = () => {
        if (element.dataset.picture === 'awaited') element.dataset.picture = 'on';
        this.#fit();
      };
      if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(arrived);
      else video.addEventListener('timeupdate', arrived, { once: true });
    }
  }

  /** Fills the tile when little is cut off by it, else shows the whole picture. */
  #fit() {
    const { clientWidth, clientHeight } = this.element;
    const picture = this.video.videoWidth / this.video.videoHeight;
    const misfit = clientWidth / clientHeight / picture;
    this.element.classList.toggle('whole', misfit > 1.5 || misfit < 1 / 1.5);
  }

  fit() {
    if (this.video.videoWidth) this.#fit();
  }
}

export class Tiles {
  #stage;
  #tiles = new Map();

  constructor(stage) {
    this.#stage = stage;
    new ResizeObserver(() => this.#lay()).observe(stage);
  }

  /** Shows everybody, in order; tiles of those gone go. */
  show(people) {
    for (const [id, tile] of this.#tiles) {
      if (people.has(id)) continue;
      tile.video.srcObject = null;
      tile.element.remove();
      this.#tiles.delete(id);
    }
    for (const [id, person] of people) {
      if (!this.#tiles.has(id)) {
        const tile = new Tile(id);
        this.#tiles.set(id, tile);
        this.#stage.append(tile.element);
      }
      this.#tiles.get(id).show(person);
    }
    this.#lay();
  }

  /** All video elements: they also carry the sound. */
  get videos() {
    return [...this.#tiles.values()].map((tile) => tile.video);
  }

  /** As many columns as make the pictures largest. */
  #lay() {
    const count = this.#tiles.size;
    const { clientWidth, clientHeight } = this.#stage;
    let best = { columns: 1, width: 0 };
    for (let columns = 1; columns <= count; columns += 1) {
      const rows = Math.ceil(count / columns);
      const width = Math.min(clientWidth / columns, (clientHeight / rows) * SHAPE);
      if (width > best.width) best = { columns, width };
    }
    this.#stage.style.setProperty('--columns', best.columns);
    this.#stage.dataset.people = count;
    this.#tiles.forEach((tile) => tile.fit());
  }
}
