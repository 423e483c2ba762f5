// What the bench has a guest's page keep of a call, to be fetched after it: of each picture shown the time and
// the luma of the mark's cells, of some the whole luma, all that was heard, and the statistics of each second.
// Pictures are read as they were decoded, without drawing them.
const lab = (() => {
  const COLUMNS = 18, ROWS = 2, GRID = [32, 18];
  const LOOKED_AT = 5, OWN_LOOKED_AT = 3;
  const own = [], shown = [], looks = [], heard = [], stats = [];
  let connection = null, started = false, over = false, seen = false, heardFrom = null, rate = 0, samples = 0;

  // Speech is measured: nothing may be taken from it for looking like noise.
  const getUserMedia = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = (wanted) => getUserMedia({
    ...wanted,
    ...(wanted.audio && {
      audio: { ...wanted.audio, echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    }),
  });

  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...all) {
      super(...all);
      connection = this;
    }
  };

  const other = () => document.querySelector('#stage video');
  const waiting = new MutationObserver(() => {
    const video = other();
    if (!video) return;
    waiting.disconnect();
    video.requestVideoFrameCallback(() => { seen = true; });
  });
  waiting.observe(document, { childList: true, subtree: true });

  // Unix time of performance.now() = 0, in ms: Date.now() is cut to whole ms, the largest is the nearest.
  function origin() {
    let best = -Infinity;
    for (let i = 0; i < 20000; i++) best = Math.max(best, Date.now() - performance.now());
    return best;
  }

  // The mean of the inner half of each cell, as lab::mark takes it.
  function cells(plane, { offset, stride }, width, height) {
    const means = new Uint8Array(COLUMNS * ROWS);
    const quarter = (cell, side, of) => Math.floor(cell * side / (4 * of));
    for (let row = 0; row < ROWS; row++) {
      const top = quarter(4 * row + 1, height, GRID[1]), bottom = quarter(4 * row + 3, height, GRID[1]);
      for (let column = 0; column < COLUMNS; column++) {
        const left = quarter(4 * column + 1, width, GRID[0]), right = quarter(4 * column + 3, width, GRID[0]);
        let sum = 0;
        for (let y = top; y < bottom; y++) {
          for (let x = left; x < right; x++) sum += plane[offset + y * stride + x];
        }
        means[row * COLUMNS + column] = sum / ((bottom - top) * (right - left));
      }
    }
    return means;
  }

  // Copies a picture, or only the rows of its mark.
  async function read(frame, whole) {
    const { width, height } = frame.visibleRect;
    const rows = whole ? height : Math.min(height, 2 * Math.ceil(height * ROWS / GRID[1] / 2));
    const rect = { x: 0, y: 0, width, height: rows };
    const bytes = new Uint8Array(frame.allocationSize({ rect }));
    const [plane] = await frame.copyTo(bytes, { rect });
    return { width, height, bytes, plane };
  }

  // Each picture of a video: ms when shown, ms when captured (or null), pictures so far, cells (or null).
  function watch(video, list, everyLook) {
    const before = list.at(-1)?.count ?? 0;
    let count = 0;
    const step = async (now, about) => {
      if (over) return;
      video.requestVideoFrameCallback(step);
      count += 1;
      const entry = { at: about.presentationTime, captured: about.captureTime ?? null, count: before + about.presentedFrames, cells: null };
      list.push(entry);
      if (list === own && count % OWN_LOOKED_AT) return;
      const whole = everyLook && count % LOOKED_AT === 0;
      let frame;
      try {
        frame = new VideoFrame(video);
        const { width, height, bytes, plane } = await read(frame, whole);
        entry.cells = cells(bytes, plane, width, height);
        if (whole) {
          const luma = new Uint8Array(width * height);
          for (let y = 0; y < height; y++) {
            const start = plane.offset + y * plane.stride;
            luma.set(bytes.subarray(start, start + width), y * width);
          }
          looks.push({ picture: list.length - 1, width, height, luma });
        }
      } catch (error) {
        console.warn(`a picture was not read: ${error}`);
      } finally {
        frame?.close();
      }
    };
    video.requestVideoFrameCallback(step);
  }

  async function listen(track) {
    const reader = new MediaStreamTrackProcessor({ track, maxBufferSize: 500 }).readable.getReader();
    const keep = (block) => {
      samples += block.length;
      heard.push(block);
    };
    for (let first = true; ; first = false) {
      const { done, value } = await reader.read();
      if (done || over) return;
      const from = performance.now() - value.duration / 1000;
      heardFrom ??= from;
      rate = value.sampleRate;
      // Between two connections nothing was heard.
      const silent = first ? Math.round((from - heardFrom) / 1000 * rate) - samples : 0;
      if (silent > 0) keep(new Int16Array(silent));
      const block = new Float32Array(value.numberOfFrames);
      value.copyTo(block, { planeIndex: 0, format: 'f32-planar' });
      value.close();
      keep(Int16Array.from(block, (sample) => Math.max(-1, Math.min(1, sample)) * 32767));
    }
  }

  async function count() {
    const stat = { at: performance.now() };
    (await connection.getStats()).forEach((report) => {
      if (report.type === 'inbound-rtp' && report.kind === 'audio') {
        stat.concealed = report.concealedSamples;
        stat.silent = report.silentConcealedSamples;
        stat.samples = report.totalSamplesReceived;
      } else if (report.type === 'inbound-rtp') {
        stat.plis = report.pliCount;
        stat.freezes = report.freezeCount;
        stat.frozen = report.totalFreezesDuration;
      } else if (report.type === 'outbound-rtp' && report.kind === 'video') {
        stat.target = report.targetBitrate;
      }
    });
    stats.push(stat);
  }

  const bytesOf = (array) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

  return {
    seen: () => seen,
    start() {
      if (started) return;
      started = true;
      watch(document.getElementById('self-video'), own, false);
      let watched = null, listened = null;
      // Who was away for long comes back as somebody new, by another connection.
      const follow = () => {
        const video = other();
        if (video && video !== watched) watch(watched = video, shown, true);
        const track = connection.getReceivers().find(({ track }) => track.kind === 'audio')?.track;
        if (track && track !== listened) listen(listened = track);
      };
      follow();
      setInterval(() => { if (!over) follow(); }, 100);
      setInterval(() => { if (!over) count(); }, 1000);
    },
    stop() {
      over = true;
      const told = (entry) => ({ ...entry, cells: entry.cells?.toBase64() ?? null });
      return {
        origin: origin(), own: own.map(told), shown: shown.map(told), stats, heardFrom, rate,
        looks: looks.map(({ picture, width, height }) => ({ picture, width, height })),
        heard: heard.length,
      };
    },
    look: (index) => looks[index].luma.toBase64(),
    // Some of the blocks of sound, as 16 bit samples.
    heard(from, to) {
      const blocks = heard.slice(from, to).map(bytesOf);
      const all = new Uint8Array(blocks.reduce((sum, block) => sum + block.length, 0));
      blocks.reduce((at, block) => { all.set(block, at); return at + block.length; }, 0);
      return all.toBase64();
    },
  };
})();
