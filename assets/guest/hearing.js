// Whether anything still comes from somebody. A browser takes five seconds to call a path disconnected; sound
// and pictures that came all the time and stop tell it sooner. Pure: time is an argument.

/** Nothing for so long, ms, where something came all the time: Opus sends every 400 ms even in a pause. */
const SUSPICIOUS = 700;
/** So many looks in a row that found something new make a flow. */
const FLOW = 4;

export class Hearing {
  /** When something new was last found, ms. */
  last = 0;
  #found = '';
  #flow = 0;

  /**
   * @param found a text that differs when something has come since the last look
   * @param now ms
   */
  look(found, now) {
    if (found === this.#found) {
      // Too little to tell anything from its absence.
      if (this.#flow < FLOW) this.#flow = 0;
      return;
    }
    if (this.#suspicious(now)) this.#flow = 0;
    this.#found = found;
    this.#flow += 1;
    this.last = now;
  }

  /** Whether a flow has stopped. */
  silent(now) {
    return this.#flow >= FLOW && this.#suspicious(now);
  }

  #suspicious(now) {
    return now - this.last > SUSPICIOUS;
  }
}
