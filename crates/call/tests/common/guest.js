// What the tests ask of a guest's page, beside what they press: what its one other person shows and sounds
// like, its statistics, how often it negotiated, and how long a join took. `readMark` is lab's mark.js.
window.described = 0;
for (const name of ['setLocalDescription', 'setRemoteDescription']) {
  const set = RTCPeerConnection.prototype[name];
  RTCPeerConnection.prototype[name] = function (...all) {
    window.described += 1;
    return set.apply(this, all);
  };
}

// What the browser makes of sound is its own affair: to its noise suppressor our tone is now and then noise.
const { mediaDevices } = navigator;
const getUserMedia = mediaDevices.getUserMedia.bind(mediaDevices);
const asItIs = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
mediaDevices.getUserMedia = ({ audio, video }) => {
  const wanted = {};
  if (audio) wanted.audio = { ...(audio === true ? {} : audio), ...asItIs };
  if (video) wanted.video = video;
  return getUserMedia(wanted);
};

window.tile = () => document.querySelector('.tile');
window.connection = () => [...snug.people.values()][0].peer.pc;

// The sum of one count over the streams of a type and kind.
window.count = async (type, kind, name) => {
  let sum = 0;
  (await connection().getStats()).forEach((each) => {
    if (each.type === type && each.kind === kind) sum += each[name] ?? 0;
  });
  return sum;
};

window.ssrc = async (type, kind) => {
  const all = [];
  (await connection().getStats()).forEach((each) => {
    if (each.type === type && each.kind === kind) all.push(each.ssrc);
  });
  return all.join();
};

// The types of the two ends of the path in use.
window.path = async () => {
  const report = await connection().getStats();
  const all = [...report.values()];
  const transport = all.find((each) => each.type === 'transport');
  const pair = report.get(transport?.selectedCandidatePairId);
  return pair ? [report.get(pair.localCandidateId).candidateType, report.get(pair.remoteCandidateId).candidateType] : null;
};

// Whether the other's picture carries marks of a colour, whose numbers advance: asked again and again.
window.numbers = [];
window.sees = (colour) => {
  const video = tile()?.querySelector('video');
  const mark = video ? readMark(video, video.videoWidth, video.videoHeight) : null;
  if (mark && mark.colour !== colour) window.numbers = [];
  if (mark?.colour === colour && numbers.at(-1) !== mark.number) numbers.push(mark.number);
  const back = numbers.filter((number, i) => i > 0 && number < numbers[i - 1]).length;
  // The clip starts over every two seconds; that alone may make a number smaller.
  return numbers.length > 8 && back <= 1 + numbers.length / 20;
};

// Whether the loudest tone of the other is this one.
let ear = null;
window.hears = (hertz) => {
  const stream = tile()?.querySelector('video').srcObject;
  if (!stream?.getAudioTracks().length) return false;
  if (ear?.stream !== stream) {
    const context = ear?.context ?? new AudioContext();
    const analyser = context.createAnalyser();
    analyser.fftSize = 8192;
    context.createMediaStreamSource(stream).connect(analyser);
    ear = { context, analyser, stream };
  }
  const bins = new Float32Array(ear.analyser.frequencyBinCount);
  ear.analyser.getFloatFrequencyData(bins);
  const peak = bins.reduce((best, level, i) => (level > bins[best] ? i : best), 0);
  const found = (peak * ear.context.sampleRate) / ear.analyser.fftSize;
  window.heard = [found, bins[peak]];
  return bins[peak] > -50 && Math.abs(found - hertz) < 12;
};

// From the click on Join to the first picture.
window.joinMs = null;
let clicked = null;
document.addEventListener('click', (event) => {
  if (event.target.closest?.('#join')) clicked = event.timeStamp;
}, true);
new MutationObserver((_, observer) => {
  const video = tile()?.querySelector('video');
  if (!video) return;
  observer.disconnect();
  video.requestVideoFrameCallback((_, frame) => { window.joinMs = frame.presentationTime - clicked; });
}).observe(document, { childList: true, subtree: true });
