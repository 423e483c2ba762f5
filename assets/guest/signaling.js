// The client's side of docs/signaling.md: one WebSocket that says hello, comes back with backoff when it
// drops, and takes its place again. It knows no media.

const VERSION = 1;
const FIRST_WAIT = 250;
const LONGEST_WAIT = 8000;
const WELCOME_WITHIN = 10_000;
// overflow: the oldest message that waits for the server goes.
const MESSAGES_KEPT = 64;

export class Signaling {
  #url;
  #hello;
  #on;
  #socket = null;
  /** Another one under way, while we doubt that the first is alive. */
  #spare = null;
  #resume = null;
  #welcome = false;
  #waiting = [];
  #tries = 0;
  #timer = 0;
  #over = false;
  #online = () => this.#again();
  /** When our place was last taken over a new socket, and when the server last said something: ms. */
  opened = 0;
  heard = 0;

  /**
   * @param url the server's `/ws`
   * @param hello gives `{room, name, audio, video, password}` as they are when asked
   * @param on `message(message)` for each message from the server, welcome included;
   *   `dropped()` when the connection is lost and will be tried again;
   *   `ended(code, text)` when it is over: refused, or never reached.
   */
  constructor(url, hello, on) {
    this.#url = url;
    this.#hello = hello;
    this.#on = on;
    window.addEventListener('online', this.#online);
    this.#connect();
  }

  /** Whether messages reach the server now. */
  get open() {
    return this.#welcome;
  }

  /** Sends, or keeps the message until the place is taken again. */
  send(message) {
    if (this.#over) return;
    if (this.#welcome) {
      this.#socket.send(JSON.stringify(message));
      return;
    }
    // The next hello says the state, and offers without an answer are made anew (see `welcome`).
    if (message.type === 'state' || message.description?.type === 'offer') return;
    if (this.#waiting.push(message) > MESSAGES_KEPT) this.#waiting.shift();
  }

  /**
   * The network may be another now, and a socket of the old one would be silent for minutes. Asks, and opens a
   * spare socket meanwhile; whichever is first is used: so nobody has to know how long an answer takes here.
   *
   * @param question a message that the server always answers
   */
  doubt(question) {
    if (!this.#welcome) return;
    this.send(question);
    // A spare that has not opened since the last doubt asks at ever longer intervals, up to half a minute.
    this.#forgetSpare();
    const spare = new WebSocket(this.#url);
    this.#spare = spare;
    spare.onopen = () => {
      if (this.#spare !== spare || !this.#welcome) return;
      this.#spare = null;
      this.#welcome = false;
      this.#socket.close();
      this.#use(spare);
      this.#greet(spare);
    };
    spare.onclose = () => {
      if (this.#spare === spare) this.#spare = null;
    };
  }

  /** Leaves the room. */
  bye() {
    if (this.#over) return;
    if (this.#welcome) this.send({ type: 'bye' });
    this.#close();
  }

  #close() {
    this.#over = true;
    this.#welcome = false;
    clearTimeout(this.#timer);
    window.removeEventListener('online', this.#online);
    this.#forgetSpare();
    this.#socket?.close();
  }

  #connect() {
    this.#forgetSpare();
    const socket = new WebSocket(this.#url);
    socket.onopen = () => this.#greet(socket);
    this.#use(socket);
  }

  #greet(socket) {
    const hello = { type: 'hello', v: VERSION, ...this.#hello(), knock: true };
    if (this.#resume) hello.resume = this.#resume;
    socket.send(JSON.stringify(hello));
  }

  #use(socket) {
    this.#socket = socket;
    socket.onmessage = ({ data }) => {
      if (socket === this.#socket && !this.#over) this.#take(data);
    };
    socket.onclose = () => {
      if (socket === this.#socket && !this.#over) this.#dropped();
    };
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#again(), WELCOME_WITHIN);
  }

  #forgetSpare() {
    const spare = this.#spare;
    this.#spare = null;
    spare?.close();
  }

  #take(data) {
    this.#forgetSpare();
    this.heard = performance.now();
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      console.warn('the server sent what is not JSON');
      return;
    }
    if (message.type === 'welcome') {
      if (message.v !== VERSION) {
        this.#end('bad-version', 'The server speaks another version of Snug. Reload the page.');
        return;
      }
      this.#welcomed(message);
    } else if (message.type === 'error' && message.fatal) {
      this.#end(message.code, message.message);
    } else {
      // We wait for a person now, and for as long as the server says.
      if (message.type === 'waiting') clearTimeout(this.#timer);
      this.#on.message(message);
    }
  }

  #welcomed(message) {
    clearTimeout(this.#timer);
    this.#resume = message.resume;
    this.#welcome = true;
    this.opened = this.heard;
    this.#tries = 0;
    const waiting = this.#waiting.splice(0);
    // What was meant for people of a room that we are no longer in means nothing to those of the new one.
    if (message.resumed) waiting.forEach((each) => this.send(each));
    this.#on.message(message);
  }

  #dropped() {
    clearTimeout(this.#timer);
    this.#welcome = false;
    if (!this.#resume) {
      this.#end('unreachable', 'The server cannot be reached. Check your network, then join again.');
      return;
    }
    const wait = Math.min(FIRST_WAIT * 2 ** this.#tries, LONGEST_WAIT) * (0.75 + Math.random() / 2);
    this.#tries += 1;
    this.#timer = setTimeout(() => this.#connect(), wait);
    this.#on.dropped();
  }

  /** Gives up a socket that may be dead without knowing, and takes a new one at once. */
  #again() {
    const old = this.#socket;
    this.#socket = null;
    old.close();
    if (!this.#resume) {
      this.#dropped();
      return;
    }
    if (this.#welcome) this.#on.dropped();
    this.#welcome = false;
    this.#connect();
  }

  #end(code, text) {
    this.#close();
    this.#on.ended(code, text);
  }
}
