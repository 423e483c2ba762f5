// What the bench has a guest's page do: note when Join was clicked and when the first picture of somebody
// else was shown, and, while asked to, read the frame numbers of one's own and the other's picture.
const lab = (() => {
  let clicked = null, first = null, sampling = false;
  let samples = null;
  document.addEventListener('click', (event) => {
    if (event.target.closest?.('#join')) clicked = event.timeStamp;
  }, true);

  const other = () => document.querySelector('#stage video');
  const waiting = new MutationObserver(() => {
    const video = other();
    if (!video) return;
    waiting.disconnect();
    video.requestVideoFrameCallback((now, frame) => { first = frame.presentationTime; });
  });
  waiting.observe(document, { childList: true, subtree: true });

  // Unix time of performance.now() = 0, in ms: Date.now() is cut to whole ms, the largest is the nearest.
  function origin() {
    let best = -Infinity;
    for (let i = 0; i < 20000; i++) best = Math.max(best, Date.now() - performance.now());
    return best;
  }

  // Each sample: frame number (-1: not read), ms when presented, ms when captured (or null), pictures so far.
  function watch(video, list) {
    const step = (now, frame) => {
      if (!sampling) return;
      const mark = readMark(video, frame.width, frame.height);
      list.push([mark ? mark.number : -1, frame.presentationTime, frame.captureTime ?? null, frame.presentedFrames]);
      video.requestVideoFrameCallback(step);
    };
    video.requestVideoFrameCallback(step);
  }

  return {
    joinMs: () => (first === null || clicked === null ? null : first - clicked),
    start() {
      sampling = true;
      samples = { origin: origin(), own: [], other: [], width: other().videoWidth, height: other().videoHeight };
      watch(document.getElementById('self-video'), samples.own);
      watch(other(), samples.other);
    },
    stop() {
      sampling = false;
      return samples;
    },
  };
})();
