// Ties the parts of the page together.

import { Engines, Record, Snapshot, Toast, face } from "./controls.js";
import { H264Decoder, JpegDecoder, transportFor } from "./decode.js";
import { install } from "./hook.js";
import { Link } from "./link.js";
import { Loupe } from "./loupe.js";
import { PathBar, Plot } from "./plots.js";
import { Stage } from "./stage.js";

const SILENCE_MS = 3000;
const STUCK_MS = 5000;
const RECENT = 4;
const byId = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
// The cookie has taken over: the token need not be seen, bookmarked or sent on.
if (query.has("token")) {
  query.delete("token");
  const rest = query.toString();
  history.replaceState(null, "", rest ? `/?${rest}` : "/");
}

const transport = await transportFor(query);
const toast = new Toast();
const shown = { count: 0, recent: [], late: [], number: 0, sequence: null, gaps: 0, at: 0 };
let begun = 0; // when pictures were asked for
let paused = false;
let connected = false;
let ended = false;
let decoder = null;
let hello = null;
let before = null; // the statistics before these

const stage = new Stage(drawn, query.get("upsample") === "webgl");
const loupe = new Loupe(stage);
const link = new Link({
  open() {
    connected = true;
    ended = false;
    if (!paused && !document.hidden) start();
    state();
  },
  close(code) {
    connected = false;
    if (code === 1013) toast.say("Too many viewers are watching. Trying again.", true);
    stage.hold();
    state();
  },
  hello: greet,
  stats,
  page: ({ page }) => showPage(page),
  problem: ({ problem }) => toast.say(problem, true),
  ended() {
    ended = true;
    state();
  },
  moment(moment) {
    if (paused || !decoder) link.answer(moment.number);
    else decoder.feed(moment);
  },
});
const measured = install(stage, link, transport);
const snapshot = new Snapshot(toast, () => shown.number);
const record = new Record(toast);
const engines = new Engines(toast);
const path = new PathBar();
const say = (value, unit) => (value === null ? "no figures" : `${value.toFixed(1)} ${unit}`);
const rate = new Plot(byId("rate"), {
  least: 10,
  words: ([here]) => `Frames per second, last minute. Now ${say(here, "shown here")}.`,
});
const late = new Plot(byId("late"), {
  least: 20,
  words: ([here]) => `Latency, last minute. Now ${say(here, "ms to this screen")}.`,
});
const drop = new Plot(byId("drop"), {
  style: "bar",
  least: 2,
  words: ([here, engine]) =>
    `Frames left out in half a second: ${here || 0} on the way, ${engine || 0} before the engine.`,
});

function start() {
  if (decoder) decoder.close();
  const skip = (number) => link.answer(number);
  const give = (pair) => (paused ? pair.close() : stage.show(pair));
  decoder = transport.codec === "h264"
    ? new H264Decoder(give, skip, fallBack) : new JpegDecoder(give, skip);
  shown.sequence = null;
  begun = performance.now();
  link.send({ t: "start", codec: transport.codec });
}

function fallBack(reason) {
  if (transport.codec === "jpeg") return;
  transport.codec = "jpeg";
  transport.why = `the H.264 decoder failed: ${reason}`;
  showTransport();
  start();
}

/** The stage has drawn a pair. */
function drawn(pair) {
  const { moment } = pair;
  // Only now: the server sends no more than this browser can draw.
  link.answer(moment.number);
  const now = link.now();
  const times = {
    server: now,
    performance: performance.now(),
    wall: Math.round((performance.timeOrigin + performance.now()) * 1000),
  };
  shown.count += 1;
  shown.number = moment.number;
  shown.at = performance.now();
  if (shown.sequence !== null && moment.sequence > shown.sequence) {
    shown.gaps += moment.sequence - shown.sequence - 1;
  }
  shown.sequence = moment.sequence;
  shown.held = moment.held;
  shown.rung = moment.rung;
  if (!moment.held && Number.isFinite(now)) {
    const { captured, inferred, encoded, received } = moment;
    const marks = [captured, inferred, encoded, received, now];
    const parts = marks.slice(1).map((mark, i) => Math.max(0, 1000 * (mark - marks[i])));
    shown.late.push({ all: 1000 * (now - captured), parts });
  }
  if (shown.count === 1) state();
  measured(pair, times);
  loupe.draw();
}

function greet(message) {
  hello = message;
  byId("title").textContent = message.title;
  byId("title").title = [message.title, ...message.notes].join("\n");
  document.title = message.title ? `${message.title} – ACF Edge` : "ACF Edge";
  const size = ([width, height]) => (width ? `${width} × ${height}` : "");
  byId("before-size").textContent = size(message.before);
  byId("after-size").textContent = size(message.after);
  stage.aspect = message.aspect || 1;
  if (!stage.shown && message.after[0]) stage.shape(message.after[0], message.after[1]);
  snapshot.folder = message.save;
  record.button.disabled = !message.record;
  engines.build(message.rungs, message.held_rung);
  before = null;
}

function showTransport() {
  const words = byId("transport");
  words.textContent = transport.codec === "h264" ? "H.264" : "JPEG";
  words.title = [
    transport.why || "decoded by WebCodecs",
    `captured picture up-sampled: ${stage.upsampler.name}`,
  ].join("\n");
}

function showPage(page) {
  byId("viewers").textContent = page.viewers === 1 ? "1 viewer" : `${page.viewers} viewers`;
  record.update(page.recording);
  if (hello) hello.held_rung = page.held_rung;
}

/** The frame in the middle of those shown since the last call, by their latency. */
const middle = (frames) => [...frames].sort((a, b) => a.all - b.all)[frames.length >> 1];

/** Frames per second over the last calls: half a second alone would jitter by one frame. */
function smooth(count, seconds) {
  shown.recent.push([count, seconds]);
  if (shown.recent.length > RECENT) shown.recent.shift();
  const sum = (i) => shown.recent.reduce((all, each) => all + each[i], 0);
  return sum(0) / sum(1);
}

/** Twice a second. */
function stats({ now, stats: given, page }) {
  showPage(page);
  const source = (given.sources && given.sources[page.source]) || {};
  engines.update(shown.rung || given.engine, given.governor, page.held_rung);
  const seconds = before ? now - before.now : 0;
  if (seconds > 0) {
    const captured = source.captured ?? source.frames;
    const came = captured === undefined ? null : (captured - before.captured) / seconds;
    const dropped = Math.max(0, (source.dropped || 0) - before.dropped);
    const here = paused ? null : smooth(shown.count, seconds);
    const typical = shown.late.length ? middle(shown.late) : null;
    const latency = typical && typical.all;
    const p95 = source.latency_ms?.end_to_end?.p95 ?? null;
    const gaps = Math.max(0, shown.gaps - before.gaps - dropped);
    rate.add([here, came]);
    late.add([latency, p95]);
    drop.add([gaps, dropped]);
    byId("rate-value").value = here === null ? "–" : here.toFixed(1);
    byId("late-value").value = latency === null ? "–" : latency.toFixed(0);
    byId("drop-value").value = String(shown.gaps);
    if (typical) path.set(typical.parts);
  }
  before = {
    now,
    captured: source.captured ?? source.frames,
    dropped: source.dropped || 0,
    gaps: shown.gaps,
  };
  shown.count = 0;
  shown.late = [];
  shown.source = source.state;
  state();
}

/** The pill in the header, and the words over a picture that stands still. */
function state() {
  const pill = byId("state");
  const silent = shown.at > 0 && performance.now() - shown.at > SILENCE_MS;
  let [key, words] = ["live", hello && !hello.live ? "Playing" : "Live"];
  let message = "";
  if (ended) {
    [key, words, message] = ["lost", "Ended", "The stream has ended."];
  } else if (!connected) {
    [key, words] = ["wait", shown.at ? "Reconnecting" : "Connecting"];
    if (shown.at) message = "The connection is lost. Trying again.";
  } else if (paused) {
    [key, words] = ["wait", "Paused"];
  } else if (shown.held || shown.source === "held") {
    [key, words, message] = ["lost", "Source away", "The source is away: its last picture."];
  } else if (!shown.at) {
    [key, words, message] = ["wait", "Waiting", "Waiting for the first picture."];
  } else if (silent) {
    [key, words, message] = ["lost", "No frames", "No frames are coming."];
  }
  if (pill.textContent !== words) pill.textContent = words;
  if (byId("message").textContent !== message) byId("message").textContent = message;
  pill.dataset.state = key;
  stage.root.classList.toggle("stale", key === "lost" || (!connected && shown.at > 0));
}

function pause(on) {
  paused = on;
  face(byId("pause"), on ? "play" : "pause", on ? "Resume" : "Pause", on);
  if (on) {
    stage.hold();
    link.send({ t: "pause", n: shown.number });
  } else {
    start();
  }
  state();
}

byId("pause").addEventListener("click", () => pause(!paused));
byId("centre").addEventListener("click", () => stage.set(50));
byId("zoom").addEventListener("click", () => {
  const on = loupe.toggle();
  byId("zoom").setAttribute("aria-pressed", String(on));
  stage.root.classList.toggle("loupe-on", on);
});

// A telephone's browser may have no full screen for elements: then the page is filled.
const viewer = byId("viewer");
byId("full").addEventListener("click", async () => {
  try {
    if (document.fullscreenElement) await document.exitFullscreen();
    else if (viewer.requestFullscreen) await viewer.requestFullscreen();
    else showFull(viewer.classList.toggle("filled"));
  } catch {
    showFull(viewer.classList.toggle("filled"));
  }
});
const showFull = (on) => {
  document.body.classList.toggle("still", on);
  face(byId("full"), "full", on ? "Leave" : "Full screen", on);
};
document.addEventListener("fullscreenchange", () => {
  showFull(document.fullscreenElement !== null);
});

// Nobody looks at a hidden tab: it gets nothing, and starts afresh.
document.addEventListener("visibilitychange", () => {
  if (paused || !connected) return;
  if (document.hidden) link.send({ t: "pause", n: shown.number });
  else start();
});

const KEYS = { " ": "pause", s: "snapshot", r: "record", l: "zoom", 0: "centre", f: "full" };
document.addEventListener("keydown", (event) => {
  const target = document.activeElement;
  const busy = target && target !== document.body && !stage.root.contains(target);
  if (busy || event.altKey || event.ctrlKey || event.metaKey || event.repeat) return;
  if (target instanceof HTMLButtonElement && event.key === " ") return;
  const button = KEYS[event.key.toLowerCase()];
  if (!button) return;
  event.preventDefault();
  byId(button).click();
});
for (const [key, id] of Object.entries(KEYS)) {
  const button = byId(id);
  button.setAttribute("aria-keyshortcuts", key === " " ? "Space" : key.toUpperCase());
  button.title = `${button.textContent.trim()} (${key === " " ? "space" : key})`;
}

showTransport();
setInterval(() => {
  state();
  // A decoder may have swallowed what the server waits to be answered: ask anew.
  const looking = connected && !paused && !document.hidden;
  if (looking && performance.now() - Math.max(shown.at, begun) > STUCK_MS) start();
}, 1000);
link.connect();
