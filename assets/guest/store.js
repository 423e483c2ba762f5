// What this browser remembers. Storage may be forbidden; then nothing is remembered, and nothing breaks.

const PREFIX = 'snug.';

/** A choice kept between visits: name, devices. */
export const kept = of(() => window.localStorage);

/** A choice kept while this tab lives, reloads included: the buttons. */
export const keptHere = of(() => window.sessionStorage);

function of(storage) {
  return {
    get(key) {
      try {
        return storage().getItem(PREFIX + key);
      } catch {
        return null;
      }
    },
    set(key, value) {
      try {
        storage().setItem(PREFIX + key, value);
      } catch {
        // Forbidden or full: the choice holds for this visit.
      }
    },
  };
}
