// The STUN and TURN servers of a room, whose credentials end: asked for anew in time.

// A page that sleeps may wake late: well before the end.
const SHARE = 0.8;
/** With less than this left, a connection asks before it looks for a new path. */
const SHORT = 60_000;
const ANSWER_WITHIN = 2000;
const LONGEST_TIMER = 2 ** 31 - 1;

export class Servers {
  list = [];
  #ask;
  #ends = Infinity;
  #timer = 0;
  #answered = null;

  /** @param ask sends the question to the server */
  constructor(ask) {
    this.#ask = ask;
  }

  /** Fresh ones came. @param ttl in seconds; none: they do not end */
  take(list, ttl) {
    this.list = list;
    clearTimeout(this.#timer);
    this.#ends = ttl ? Date.now() + ttl * 1000 : Infinity;
    if (ttl) this.#timer = setTimeout(this.#ask, Math.min(ttl * 1000 * SHARE, LONGEST_TIMER));
    this.#answered?.();
  }

  /** Resolves when there are good ones, or none can be had now. */
  async fresh() {
    if (this.#ends - Date.now() > SHORT) return;
    this.#ask();
    await new Promise((resolve) => {
      this.#answered = resolve;
      setTimeout(resolve, ANSWER_WITHIN);
    });
  }

  close() {
    clearTimeout(this.#timer);
  }
}
