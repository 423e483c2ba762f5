// The door of the room: the lock beside its name, the panel behind it, and the cards of those who knock.

import { element } from './ui.js';

/** Who comes in by themselves, in words. */
function rule({ password, knock }) {
  if (password && knock) return 'Whoever knows the password comes in. Everybody else knocks, and the host lets them in.';
  if (password) return 'Whoever knows the password comes in, nobody else.';
  if (knock) return 'Everybody knocks, and the host lets them in.';
  return 'Whoever knows the room’s name or link comes in.';
}

export class DoorPanel {
  #cards = new Map();
  #on;

  /** @param on `lock({password?, knock?})`, `admit(id)`, `refuse(id)` */
  constructor(on) {
    this.#on = on;
    const toggle = element('door-toggle');
    toggle.addEventListener('click', () => this.#open(element('door').hidden));
    element('door-close').addEventListener('click', () => this.#open(false));
    element('door').addEventListener('keydown', (event) => {
      if (event.key === 'Escape') this.#open(false);
    });
    element('door-knock').addEventListener('change', ({ target }) => on.lock({ knock: target.checked }));
    element('door-clear').addEventListener('click', () => on.lock({ password: '' }));
    element('door-form').addEventListener('submit', (event) => {
      event.preventDefault();
      const field = element('door-password');
      if (!field.value) return;
      on.lock({ password: field.value });
      field.value = '';
    });
  }

  /** Shows the door as it is, to somebody who is host (`ours`) or not. */
  draw({ ours, hostName, password, knock, knocks }) {
    const toggle = element('door-toggle');
    const shut = password || knock;
    toggle.dataset.shut = String(shut);
    toggle.title = shut ? 'Room is shut' : 'Room is open';
    element('door-state').textContent = toggle.title;
    element('door-rule').textContent = rule({ password, knock });
    element('door-host').hidden = ours;
    element('door-host').textContent = `${hostName} can change that.`;
    element('door-own').hidden = !ours;
    element('door-knock').checked = knock;
    element('door-clear').hidden = !password;
    element('door-password').placeholder = password ? 'Another password' : 'None';
    this.#drawKnocks(knocks);
  }

  clear() {
    this.#open(false);
    element('door-password').value = '';
    this.#drawKnocks([]);
  }

  #drawKnocks(knocks) {
    const waiting = new Set(knocks.map(({ id }) => id));
    for (const [id, card] of this.#cards) {
      if (waiting.has(id)) continue;
      card.remove();
      this.#cards.delete(id);
    }
    for (const { id, name } of knocks) {
      if (this.#cards.has(id)) continue;
      const card = element('knock-card').content.firstElementChild.cloneNode(true);
      card.querySelector('span').textContent = `${name} wants to come in`;
      const [refuse, admit] = card.querySelectorAll('button');
      refuse.setAttribute('aria-label', `Do not let ${name} in`);
      admit.setAttribute('aria-label', `Let ${name} in`);
      refuse.addEventListener('click', () => this.#on.refuse(id));
      admit.addEventListener('click', () => this.#on.admit(id));
      this.#cards.set(id, card);
      element('knocks').append(card);
    }
  }

  #open(open) {
    const hadFocus = element('door').contains(document.activeElement);
    element('door').hidden = !open;
    element('door-toggle').setAttribute('aria-expanded', String(open));
    if (open) element('door-close').focus();
    else if (hadFocus) element('door-toggle').focus();
  }
}
