"use strict";
// Draws the signals that are packed into this page. Nothing is loaded from elsewhere.
const recording = JSON.parse(document.getElementById("recording").textContent);
const overview = document.getElementById("overview"), signals = document.getElementById("signals");
const FACTOR = 4, TOP = 18, BOTTOM = 20;
const PAGES = [1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400];
const MODES = ["raw", "preprocessed", "both"];
const length = recording.stop - recording.start;
const wanted = new URLSearchParams(location.hash.slice(1));
const view = {
  start: recording.start,
  seconds: Number(wanted.get("s")) || (innerWidth < 700 ? 10 : 20),
  zoom: 1,
  mode: MODES.includes(wanted.get("m")) ? wanted.get("m") : recording.preprocessed ? "both" : "raw",
};
if (!recording.preprocessed) view.mode = "raw";
const rows = recording.channels.filter((row) => row.raw || row.preprocessed);
// Names of signals other than electrodes may be long.
const shortened = (row) => row.name.slice(0, 12) + (row.interpolated ? "*" : "");
const GUTTER = 14 + 6.5 * Math.max(4, ...rows.map((row) => shortened(row).length));

// ---- reading ----------------------------------------------------------------------------------

async function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed.data), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const planes = new Uint8Array(await new Response(stream).arrayBuffer());
  const n = planes.length / 4, low = new Int16Array(n), high = new Int16Array(n);
  for (let i = 0, last = 0; i < n; i++) {
    const zigzag = planes[i] | (planes[n + i] << 8);
    last = ((last + ((zigzag >>> 1) ^ -(zigzag & 1))) << 16) >> 16;
    low[i] = last;
    high[i] = last + (planes[2 * n + i] | (planes[3 * n + i] << 8));
  }
  packed.data = null;
  packed.levels = [{ low, high, rate: packed.rate }];
  for (let level = packed.levels[0]; level.low.length > 4096; level = packed.levels.at(-1)) {
    packed.levels.push(coarser(level));
  }
}

function coarser(level) {
  const n = Math.ceil(level.low.length / FACTOR), low = new Int16Array(n), high = new Int16Array(n);
  for (let i = 0; i < n; i++) {
    let least = 32767, most = -32768;
    for (let k = i * FACTOR; k < Math.min((i + 1) * FACTOR, level.low.length); k++) {
      if (level.low[k] < least) least = level.low[k];
      if (level.high[k] > most) most = level.high[k];
    }
    low[i] = least;
    high[i] = most;
  }
  return { low, high, rate: level.rate / FACTOR };
}

// ---- drawing ----------------------------------------------------------------------------------

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const hue = (label) => recording.colors[label] || "#0072b2";

function canvas(element, height) {
  const ratio = devicePixelRatio || 1, width = element.clientWidth;
  element.style.height = height + "px";
  element.width = Math.round(width * ratio);
  element.height = Math.round(height * ratio);
  const context = element.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return [context, width];
}

function clock(seconds, digits = 0) {
  const whole = Math.round(seconds * 10 ** digits) / 10 ** digits;
  const h = Math.floor(whole / 3600), m = Math.floor(whole / 60) % 60;
  const s = (whole % 60).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  return `${h}:${String(m).padStart(2, "0")}:${s}`;
}

function shade(context, x, top, bottom, right, named) {
  const ends = [];
  for (const event of recording.events) {
    const from = x(event.start), to = x(event.stop);
    if (to < GUTTER || from > right) continue;
    const left = Math.max(from, GUTTER), width = Math.max(Math.min(to, right) - left, 1.5);
    context.globalAlpha = 0.18;
    context.fillStyle = hue(event.label);
    context.fillRect(left, top, width, bottom - top);
    context.globalAlpha = 1;
    if (!named) continue;
    if (from >= GUTTER) context.fillRect(from, top, 1.5, bottom - top);
    if (to <= right) context.fillRect(to - 1.5, top, 1.5, bottom - top);
    // Names of events that overlap stand below one another.
    const wide = context.measureText(event.label).width + 8;
    let line = ends.findIndex((end) => end < left);
    if (line < 0) line = ends.length;
    ends[line] = left + wide;
    context.fillRect(left, top + 15 * line, wide, 14);
    context.fillStyle = "#fff";
    context.fillText(event.label, left + 4, top + 15 * line + 11);
  }
}

function trace(context, packed, x, right, middle, scale, stroke, reach) {
  const perPixel = view.seconds / (right - GUTTER);
  const levels = packed.levels.filter((level) => level.rate * perPixel >= 1);
  const level = levels.length ? levels.at(-1) : packed.levels[0];
  const first = Math.max(0, Math.floor((view.start - recording.start) * level.rate) - 1);
  const last = Math.min(level.low.length, Math.ceil((view.start - recording.start + view.seconds) * level.rate) + 1);
  const y = (value) => middle - Math.max(-reach, Math.min(reach, value * scale));
  context.beginPath();
  let before = 0;
  for (let i = first; i < last; i++) {
    const at = x(recording.start + (i + 0.5) / level.rate), low = level.low[i], high = level.high[i];
    // Starting at the nearer end draws a line instead of a comb.
    const up = Math.abs(low - before) <= Math.abs(high - before);
    context.lineTo(at, y(up ? low : high));
    if (low !== high) context.lineTo(at, y(up ? high : low));
    before = up ? high : low;
  }
  context.strokeStyle = stroke;
  context.stroke();
}

function draw() {
  const shown = view.mode === "both" ? ["raw", "preprocessed"] : [view.mode];
  const row = (rows.length > 30 ? 24 : 30) * (shown.length > 1 ? 1.7 : 1);
  const height = TOP + BOTTOM + row * Math.max(rows.length, 1);
  const [context, width] = canvas(signals, height);
  const right = width - 4, bottom = height - BOTTOM;
  const x = (time) => GUTTER + ((time - view.start) / view.seconds) * (right - GUTTER);
  context.font = "11px system-ui, sans-serif";
  context.lineWidth = 1;
  const step = PAGES.concat(172800).find((size) => (size / view.seconds) * (right - GUTTER) >= 58) || 172800;
  for (let t = Math.ceil(view.start / step) * step; t <= view.start + view.seconds; t += step) {
    context.fillStyle = color("--line");
    context.fillRect(x(t), TOP, 1, bottom - TOP);
    context.fillStyle = color("--soft");
    context.textAlign = "center";
    if (x(t) < right - 22) context.fillText(clock(t), Math.max(x(t), 24), height - 6);
  }
  context.textAlign = "left";
  shade(context, x, TOP - 16, bottom, right, true);
  rows.forEach((channel, n) => {
    const middle = TOP + row * (n + 0.5);
    context.fillStyle = color(channel.interpolated ? "--warn-line" : "--text");
    context.fillText(shortened(channel), 4, middle + 4);
  });
  context.save();
  context.beginPath();
  context.rect(GUTTER, 0, right - GUTTER, bottom + 8);
  context.clip();
  rows.forEach((channel, n) => {
    shown.forEach((kind, k) => {
      const packed = channel[kind];
      if (!packed || !packed.levels) return;
      const high = row / shown.length, middle = TOP + row * n + high * (k + 0.5);
      const span = spanOf(channel, kind);
      trace(context, packed, x, right, middle, (high * packed.step) / span, color("--" + kind), 1.6 * row);
    });
  });
  context.restore();
  say(shown);
  drawOverview();
}

// The height of a row is the usual range within a second, the median over channels of one unit.
const usual = new Map();
for (const kind of ["raw", "preprocessed"]) {
  const ranges = new Map();
  for (const channel of rows) {
    const packed = channel[kind];
    if (packed && packed.usual > 0) ranges.set(packed.unit, (ranges.get(packed.unit) || []).concat(packed.usual));
  }
  for (const [unit, values] of ranges) usual.set(kind + unit, values.sort((a, b) => a - b)[values.length >> 1]);
}

function spanOf(channel, kind) {
  const packed = channel[kind];
  // Channels without a physical unit are scaled one by one.
  const size = packed.unit === "digital units" ? packed.usual : usual.get(kind + packed.unit);
  return (size || 1) / view.zoom;
}

function say(shown) {
  const stop = Math.min(view.start + view.seconds, recording.stop);
  const here = recording.events.filter((event) => event.stop > view.start && event.start < stop);
  const names = here.map((event) => `${event.label} ${clock(event.start, 1)}–${clock(event.stop, 1)}`);
  const sizes = shown.map((kind) => {
    const channel = rows.find((row) => row[kind] && row[kind].unit !== "digital units");
    return channel ? `${Number(spanOf(channel, kind).toPrecision(2))} ${channel[kind].unit}` : null;
  });
  const digits = view.seconds < 5 ? 1 : 0;
  document.getElementById("status").textContent =
    `${clock(view.start, digits)} to ${clock(stop, digits)}` + (names.length ? ": " + names.join(", ") : "") +
    (rows.some((row) => row.interpolated) ? " · * interpolated" : "") + (rows.length ? "" : "There are no signals to draw.");
  document.getElementById("page").textContent = view.seconds >= 120 ? `${view.seconds / 60} min` : `${view.seconds} s`;
  document.getElementById("gain").textContent = sizes.filter(Boolean).join(" · ") || `×${view.zoom.toPrecision(2)}`;
  document.querySelectorAll("[data-mode]").forEach((button) => button.setAttribute("aria-pressed", button.dataset.mode === view.mode));
  overview.setAttribute("aria-valuenow", view.start.toFixed(1));
  overview.setAttribute("aria-valuetext", `${clock(view.start)} to ${clock(stop)} of ${clock(recording.stop)}`);
}

function drawOverview() {
  const [context, width] = canvas(overview, 56);
  const right = width - 4, x = (time) => GUTTER + ((time - recording.start) / length) * (right - GUTTER);
  const kind = recording.preprocessed ? "preprocessed" : "raw";
  const ready = rows.filter((row) => row[kind] && row[kind].levels && row[kind].levels[0].low.length);
  const columns = Math.floor(right - GUTTER);
  context.fillStyle = color("--" + kind);
  context.globalAlpha = 0.55;
  for (let column = 0; column < columns && ready.length; column++) {
    let sum = 0;
    for (const row of ready) {
      const level = row[kind].levels.at(-1), n = level.low.length;
      const i = Math.floor((column / columns) * n), end = Math.max(i + 1, Math.floor(((column + 1) / columns) * n));
      let most = 0;
      for (let k = i; k < end; k++) most = Math.max(most, level.high[k] - level.low[k]);
      sum += (most * row[kind].step) / (row[kind].usual || 1);
    }
    const high = Math.min(44, (14 * sum) / ready.length);
    context.fillRect(GUTTER + column, 52 - high, 1, high);
  }
  context.globalAlpha = 1;
  shade(context, x, 4, 52, right, false);
  context.strokeStyle = color("--text");
  context.lineWidth = 2;
  context.strokeRect(x(view.start), 3, Math.max(x(Math.min(view.start + view.seconds, recording.stop)) - x(view.start), 3), 50);
}

// ---- moving -----------------------------------------------------------------------------------

let asked = false;
function redraw() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => { asked = false; draw(); });
}

function go(start) {
  view.start = Math.max(recording.start, Math.min(start, recording.stop - Math.min(view.seconds, length)));
  redraw();
}

function page(step) {
  const sizes = PAGES.filter((size) => size < length).concat(Math.ceil(length));
  const center = view.start + view.seconds / 2;
  const next = step > 0 ? sizes.find((size) => size > view.seconds) : sizes.filter((size) => size < view.seconds).at(-1);
  if (next) view.seconds = next;
  go(center - view.seconds / 2);
}

function toEvent(direction) {
  const starts = recording.events.map((event) => event.start).filter((start) => start < recording.stop);
  // An event is shown with a quarter of a page before it.
  const here = view.start + view.seconds / 4;
  const next = direction > 0 ? starts.find((start) => start > here + 0.01) : starts.filter((start) => start < here - 0.01).at(-1);
  if (next !== undefined) go(next - view.seconds / 4);
}

const actions = {
  home: () => go(recording.start),
  end: () => go(recording.stop),
  back: () => go(view.start - view.seconds / 5),
  on: () => go(view.start + view.seconds / 5),
  pageback: () => go(view.start - view.seconds),
  pageon: () => go(view.start + view.seconds),
  previous: () => toEvent(-1),
  next: () => toEvent(1),
  shorter: () => page(-1),
  longer: () => page(1),
  larger: () => { view.zoom *= Math.SQRT2; redraw(); },
  smaller: () => { view.zoom /= Math.SQRT2; redraw(); },
  mode: () => { if (recording.preprocessed) { view.mode = MODES[(MODES.indexOf(view.mode) + 1) % 3]; redraw(); } },
};
const KEYS = {
  ArrowLeft: "back", ArrowRight: "on", ArrowUp: "larger", ArrowDown: "smaller", PageUp: "pageback", PageDown: "pageon",
  Home: "home", End: "end", "+": "shorter", "=": "shorter", "-": "longer", n: "next", p: "previous", m: "mode",
};

document.getElementById("viewer").addEventListener("keydown", (key) => {
  const action = KEYS[key.key];
  if (!action || key.ctrlKey || key.metaKey || key.altKey) return;
  key.preventDefault();
  actions[action]();
});
document.addEventListener("click", (click) => {
  const button = click.target.closest("button");
  if (!button) return;
  if (button.dataset.do) actions[button.dataset.do]();
  if (button.dataset.mode) { view.mode = button.dataset.mode; redraw(); }
  if (button.dataset.go) {
    go(Number(button.dataset.go) - view.seconds / 4);
    signals.focus({ preventScroll: true });
    document.getElementById("viewer").scrollIntoView();
  }
});

function dragging(element, move) {
  let from = null;
  element.addEventListener("pointerdown", (pointer) => {
    from = { x: pointer.offsetX, start: view.start };
    element.setPointerCapture(pointer.pointerId);
    move(pointer, from);
  });
  element.addEventListener("pointermove", (pointer) => { if (from) move(pointer, from); });
  for (const end of ["pointerup", "pointercancel"]) element.addEventListener(end, () => { from = null; });
}
const across = () => signals.clientWidth - 4 - GUTTER;
dragging(signals, (pointer, from) => go(from.start - ((pointer.offsetX - from.x) / across()) * view.seconds));
dragging(overview, (pointer) => go(recording.start + ((pointer.offsetX - GUTTER) / across()) * length - view.seconds / 2));
signals.addEventListener("wheel", (wheel) => {
  const by = wheel.deltaX || (wheel.shiftKey ? wheel.deltaY : 0);
  if (!by) return;
  wheel.preventDefault();
  go(view.start + (by / across()) * view.seconds);
}, { passive: false });
addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
document.querySelectorAll(".key").forEach((key) => { key.style.background = hue(key.dataset.label); });

view.seconds = Math.min(view.seconds, Math.max(Math.ceil(length), 1));
const first = recording.events.find((event) => event.start < recording.stop && event.stop > recording.start);
go(wanted.has("t") ? Number(wanted.get("t")) : first ? first.start - view.seconds / 4 : recording.start);
signals.focus({ preventScroll: true });
(async () => {
  if (!("DecompressionStream" in window)) {
    document.getElementById("status").textContent = "This browser is too old to unpack the signals (DecompressionStream).";
    return;
  }
  for (const row of rows) {
    for (const kind of ["raw", "preprocessed"]) if (row[kind]) await unpack(row[kind]);
    redraw();
  }
})();
