// What went wrong, each as one line that says what to do. A new problem takes the place of an old one about
// the same.

const THING = { audio: 'microphone', video: 'camera' };

/** The line for a device that could not be opened. */
export function deviceProblem(kind, error) {
  const thing = THING[kind];
  switch (error?.name) {
    case 'NotAllowedError':
    case 'SecurityError':
      return `The ${thing} is blocked. Allow it by the symbol in the address bar, then choose it in the list. The others see you without it.`;
    case 'NotReadableError':
    case 'AbortError':
      return `The ${thing} is used by another program. Close that program, then choose the ${thing} in the list again.`;
    case 'NotFoundError':
    case 'OverconstrainedError':
      return `No ${thing} was found. Plug one in and it is used; you can join without.`;
    default:
      return `The ${thing} does not start (${error?.message ?? error}). Unplug it and plug it in again, or choose another.`;
  }
}

export const INSECURE = `Browsers give camera and microphone to secure pages only. Open this room by an https:// address, or on this computer by http://localhost. You can join without.`;

/** The line for a device that went away. */
export function lostProblem(kind, label) {
  const instead = label ? ` Now using ${label}.` : ' Plug it in again, or choose another.';
  return `The ${THING[kind]} was disconnected.${instead}`;
}

/** The line for a call that the server ended. */
export function endProblem(code, text) {
  switch (code) {
    case 'no-entry':
      return 'You cannot enter this room so. It may want a password or that somebody lets you in, be full, or not be open. Ask whoever is in it, look at name and password, and wait a minute after some tries.';
    case 'bad-room':
      return 'This room name is not possible. Take letters, digits, spaces, - and _, at most 64.';
    case 'bad-name':
      return 'This name is not possible. Take at most 64 letters.';
    case 'server-full':
      return 'The server has no place left, or none for more people of your network. Try again in a few minutes.';
    case 'not-welcome':
      return 'You joined from another window, so this one left. Join again to come back here.';
    default:
      return text;
  }
}

/** The list on the page. */
export class Problems {
  #list;
  #lines = new Map();

  constructor(list) {
    this.#list = list;
  }

  show(about, text) {
    const line = this.#lines.get(about) ?? this.#add(about);
    const words = line.querySelector('span');
    // Said again only when it has changed: it is read aloud.
    if (words.textContent !== text) words.textContent = text;
  }

  clear(about) {
    this.#lines.get(about)?.remove();
    this.#lines.delete(about);
  }

  #add(about) {
    const line = document.getElementById('problem-line').content.firstElementChild.cloneNode(true);
    line.dataset.about = about;
    line.querySelector('button').addEventListener('click', () => this.clear(about));
    this.#list.append(line);
    this.#lines.set(about, line);
    return line;
  }
}
