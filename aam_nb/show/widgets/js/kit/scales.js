// Colours, numbers and axes that all plots share.

// The colours of the figures (`plots/style.py`): readers with any kind of colour vision can distinguish them.
const PALETTE = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8A4B2A", "#8B3FD9"];
const GREY = "#8c8c8c";
const UP = "#D55E00"; // pushes a prediction upwards
const DOWN = "#0072B2"; // pushes it downwards
// The colours of saved pictures, whatever the theme of the page; those on the page are `view.ink()`.
const LIGHT = { text: "#1b1b1b", soft: "#555555", faint: "#e3e3e3", paper: "#ffffff", main: PALETTE[0] };
const LETTER_COLORS = { A: "#009E73", C: "#0072B2", G: "#E69F00", T: "#D55E00" };

// Stops of cividis (Nuñez et al. 2018, https://doi.org/10.1371/journal.pone.0199239), and a ramp from blue over grey
// to vermilion.
const CIVIDIS = [
  [0, 34, 78],
  [18, 53, 112],
  [59, 73, 108],
  [87, 93, 109],
  [112, 113, 115],
  [138, 134, 120],
  [165, 156, 116],
  [195, 179, 105],
  [225, 204, 85],
  [254, 232, 56],
];
const DIVERGING = [[0, 90, 160], [90, 150, 200], [215, 215, 215], [225, 140, 80], [200, 75, 0]];

function ramp(stops, share) {
  const at = Math.min(1, Math.max(0, share)) * (stops.length - 1);
  const k = Math.min(stops.length - 2, Math.floor(at));
  return `rgb(${stops[k].map((v, i) => Math.round(v + (stops[k + 1][i] - v) * (at - k))).join(",")})`;
}
const cividis = (share) => ramp(CIVIDIS, share);
const diverging = (share) => ramp(DIVERGING, (share + 1) / 2); // share in [-1, 1]

// -- numbers ------------------------------------------------------------------------------------------------------------

const isNumber = (v) => typeof v === "number" && Number.isFinite(v);

// Significant digits, as `format_number` of `config/numbers.py`: no number is 0.000 that is not 0, none a row of 15 digits.
function number(v, digits = 3) {
  if (!isNumber(v)) return v === null || v === undefined ? "" : String(v);
  if (Number.isInteger(v) && Math.abs(v) < 1e10) return Math.abs(v) < 10_000 ? String(v) : v.toLocaleString("en-US"); // 2009 may be a year
  const size = Math.abs(v);
  if (size !== 0 && (size < 1e-4 || size >= 1e6)) return v.toExponential(digits - 1);
  return v.toLocaleString("en-US", {
    maximumSignificantDigits: Math.max(digits, size >= 1 ? Math.ceil(Math.log10(size + 1)) : digits),
  });
}
// "1 sample", "2 samples"; nouns whose plural is not an s longer bring it.
const count = (n, noun, plural = `${noun}s`) => `${number(n)} ${n === 1 ? noun : plural}`;
const countSamples = (n) => count(n, "sample");
function percent(v, digits = 0) {
  if (!isNumber(v)) return "";
  const size = Math.abs(100 * v), least = 0.5 * 10 ** -digits;
  return `${size > 0 && size < least ? number(100 * v, 1) : (100 * v).toFixed(digits)}%`;
}
const signed = (v) => (isNumber(v) && v > 0 ? "+" : "") + number(v);
const cut = (text, most = 28) => (String(text).length <= most ? String(text) : String(text).slice(0, most - 1) + "…");

function extent(values) {
  let low = Infinity, high = -Infinity;
  for (const v of values) {
    if (isNumber(v)) {
      if (v < low) low = v;
      if (v > high) high = v;
    }
  }
  return low > high ? [0, 1] : low === high ? [low - 0.5, high + 0.5] : [low, high];
}

function padded([low, high], share = 0.05) {
  const by = (high - low) * share;
  return [low - by, high + by];
}

function ticks([low, high], most = 6) {
  const raw = (high - low) / Math.max(1, most);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((k) => k * power).find((s) => (high - low) / s <= most) || raw;
  const values = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) {
    values.push(+(k * step).toPrecision(12));
  }
  return values.length < 3 && most < 5 ? ticks([low, high], most + 1) : values; // one or two ticks tell no scale
}

function logTicks([low, high]) {
  const values = [];
  for (let p = Math.floor(Math.log10(low)); p <= Math.ceil(Math.log10(high)); p++) {
    for (const k of high / low > 1e4 ? [1] : [1, 2, 5]) {
      const t = +(k * 10 ** p).toPrecision(3);
      if (t >= low * 0.999 && t <= high * 1.001) values.push(t);
    }
  }
  return values;
}

// -- axes ---------------------------------------------------------------------------------------------------------------

// A scale from a domain to pixels, with `.invert`; log scales take positive domains.
function scale([d0, d1], [r0, r1], log = false) {
  const f = log ? Math.log10 : (v) => v;
  const a = f(d0), b = f(d1) - a || 1;
  const to = (v) => r0 + ((f(v) - a) / b) * (r1 - r0);
  to.invert = (p) => {
    const v = a + ((p - r0) / (r1 - r0 || 1)) * b;
    return log ? 10 ** v : v;
  };
  to.domain = [d0, d1];
  return to;
}

// Draw a frame of axes and give the scales. `box`: {x, y, w, h}. An axis: {domain, label, log, ticks, format, grid};
// the
// ticks of one that is `named` stand for things of their own, so that all have a label, in two lines where one is too
// short.
function axes(pen, box, { x, y }, ink) {
  const sx = scale(x.domain, [box.x, box.x + box.w], x.log);
  const sy = scale(y.domain, [box.y + box.h, box.y], y.log);
  const foot = box.y + box.h, style = { size: 11, fill: ink.soft };
  const xt = x.ticks || (x.log ? logTicks(x.domain) : ticks(x.domain, Math.max(2, Math.min(7, box.w / 70))));
  const yt = y.ticks || (y.log ? logTicks(y.domain) : ticks(y.domain, Math.max(2, Math.min(6, box.h / 36))));
  // ticks and their labels
  for (const t of xt) {
    if (x.grid) pen.line(sx(t), box.y, sx(t), foot, { stroke: ink.faint });
    pen.line(sx(t), foot, sx(t), foot + 4, { stroke: ink.soft });
  }
  for (const { words, at, line } of tickLabels(x, xt, sx, box.w)) {
    pen.text(words, at, foot + 7 + LINE * line, { ...style, anchor: "middle", baseline: "top" });
  }
  for (const t of yt) {
    if (y.grid !== false) pen.line(box.x, sy(t), box.x + box.w, sy(t), { stroke: ink.faint });
    pen.text((y.format || number)(t), box.x - 7, sy(t), { ...style, anchor: "end" });
  }
  // the axes and what they are called
  pen.line(box.x, foot, box.x + box.w, foot, { stroke: ink.soft });
  pen.line(box.x, box.y, box.x, foot, { stroke: ink.soft });
  const named = { anchor: "middle", size: 12, fill: ink.text },
    below = foot + 24 + LINE * (tickLines(x, box.w).lines - 1);
  if (x.label) pen.text(fitted(x.label, box.w + 28, named), box.x + box.w / 2, below, { ...named, baseline: "top" });
  if (y.label) {
    pen.text(fitted(y.label, box.h + 28, named), box.x - (y.room || 44), box.y + box.h / 2, { ...named, angle: -90 });
  }
  return { sx, sy };
}

const LINE = 13; // pixels between two lines of tick labels
const TICK = { size: 11 };
const MARGIN = 12; // pixels right of a plot that a label of its axis may use

// In how many lines the labels of an axis stand, and of how many ticks one has a label.
function tickLines({ named, ticks, format = number }, width) {
  if (!named) return { lines: 1, step: 1 };
  const wide = widest(ticks.map(format), TICK) + 8, room = width / ticks.length, lines = wide > room ? 2 : 1;
  return { lines, step: Math.max(1, Math.ceil(wide / (room * lines))) };
}

// Labels of an x axis: none over another. Of a named one the last always has a label.
function tickLabels(axis, values, sx, width) {
  const labels = values.map((t) => ({ words: (axis.format || number)(t), at: sx(t), line: 0 }));
  if (axis.named) {
    const { lines, step } = tickLines(axis, width);
    return labels.reverse().filter((_, k) => k % step === 0).map((label, k) => ({ ...label, line: k % lines }))
      .reverse();
  }
  let end = -Infinity; // of the label before
  const right = sx(axis.domain[1]) + MARGIN; // a long last label is moved to the left, so that it is whole
  return labels.map((label) => ({ ...label, half: textWidth(label.words, TICK) / 2 })).map((label) => ({
    ...label,
    at: Math.min(label.at, right - label.half),
  })).filter(({ at, half }) => {
    if (at - half < end + 8) return false;
    end = at + half;
    return true;
  });
}

// How a column colours and shapes points: {color(i), shape(i), items}, where `items` make the legend.
// A column: {name, kind: "numbers" | "categories", values, levels}; categories hold places in `levels`, -1 where
// missing.
function encoding(column) {
  if (!column) return { color: () => PALETTE[0], shape: () => 0, items: [], numbers: null };
  if (column.kind === "numbers") {
    const [low, high] = extent(column.values);
    const color = (
      i,
    ) => (isNumber(column.values[i])
      ? cividis(Math.round((255 * (column.values[i] - low)) / (high - low || 1)) / 255)
      : GREY);
    return {
      color,
      shape: (i) => (isNumber(column.values[i]) ? 0 : 5),
      items: [],
      numbers: { low, high, name: column.name },
    };
  }
  const counts = new Map();
  for (const v of column.values) counts.set(v, (counts.get(v) || 0) + 1);
  const order = [...counts.keys()].filter((v) => v >= 0).sort((a, b) => counts.get(b) - counts.get(a) || a - b);
  const most = PALETTE.length;
  const shown = order.length > most ? order.slice(0, most - 1) : order;
  const rank = new Map(shown.map((v, k) => [v, k]));
  const items = shown.map((v, k) => ({ label: column.levels[v], color: PALETTE[k], shape: k, count: counts.get(v) }));
  const others = order.slice(shown.length);
  if (others.length) {
    items.push({
      label: count(others.length, "other"),
      color: GREY,
      shape: 0,
      count: others.reduce((n, v) => n + counts.get(v), 0),
    });
  }
  if (counts.has(-1)) items.push({ label: "missing", color: GREY, shape: 5, count: counts.get(-1) });
  const at = (i) => rank.get(column.values[i]);
  return {
    color: (i) => (at(i) === undefined ? GREY : PALETTE[at(i)]),
    shape: (i) => (at(i) === undefined ? (column.values[i] === -1 ? 5 : 0) : at(i)),
    items,
    numbers: null,
  };
}

// The value of a column as text.
const valueText = (column, i) =>
  column.kind === "numbers"
    ? (isNumber(column.values[i]) ? number(column.values[i]) : "missing")
    : column.values[i] < 0
    ? "missing"
    : String(column.levels[column.values[i]]);

// The legend of an encoding, in a column at x; gives its height.
function legend(pen, { items, numbers }, x, y, width, ink, title = "") {
  let at = y;
  const heading = { size: 12, weight: "bold", fill: ink.text }, style = { size: 11, fill: ink.text };
  if (title) pen.text(fitted(title, width, heading), x, at += 8, heading);
  if (numbers) return numbersLegend(pen, numbers, x, at + 14, ink) - y;
  for (const item of items) {
    at += 18;
    pen.mark(item.shape, x + 5, at, 4.5, { fill: item.color, stroke: ink.paper, width: 0.5 });
    const words = item.count === undefined ? item.label : `${item.label} (${number(item.count)})`;
    pen.text(fitted(words, width - 15, style), x + 15, at, style);
  }
  return at - y;
}

// The colours of numbers, from the largest down; gives where it ends.
function numbersLegend(pen, { low, high }, x, y, ink) {
  const steps = 40, h = 110, style = { size: 11, fill: ink.soft };
  for (let k = 0; k < steps; k++) {
    pen.rect(x, y + (h * k) / steps, 12, h / steps + 0.6, { fill: cividis(1 - k / (steps - 1)) });
  }
  pen.text(number(high), x + 18, y + 4, style);
  pen.text(number((high + low) / 2), x + 18, y + h / 2, style);
  pen.text(number(low), x + 18, y + h - 4, style);
  return y + h;
}
