// Where a model looks: a sample's ASVs, each other's, and the nucleotides of one of them. What points at one drawing points at all.

const LEVELS = {
  asv: "among ASVs",
  pooling: "ASVs to sample",
  nucleotide: "among nucleotides",
  nucleotide_pooling: "nucleotides to ASV",
};
const SHADES = Array.from({ length: 256 }, (_, k) => cividis(k / 255).match(/\d+/g).map(Number));

// Halves (float16) as numbers; all 65,536 of them are worked out once.
const HALVES = Float32Array.from({ length: 65536 }, (_, bits) => {
  const power = (bits >> 10) & 31, rest = bits & 1023;
  return (bits & 32768 ? -1 : 1) * (power ? (1 + rest / 1024) * 2 ** (power - 15) : rest * 2 ** -24);
});

function unpacked({ shape, halves }) {
  const raw = atob(halves), found = new Float32Array(raw.length / 2);
  for (let i = 0; i < found.length; i++) found[i] = HALVES[raw.charCodeAt(2 * i) | (raw.charCodeAt(2 * i + 1) << 8)];
  return { shape, values: found };
}

// What f makes of an object (and a number), made once.
function once(f) {
  const known = new WeakMap();
  return (object, n = 0) => {
    if (!known.has(object)) known.set(object, new Map());
    const of = known.get(object);
    if (!of.has(n)) of.set(n, f(object, n));
    return of.get(n);
  };
}

const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
const reads = (n) => `${number(n)} ${n === 1 ? "read" : "reads"}`;
const total = (values) => values.reduce((a, b) => a + b, 0);

// Pixels of a square map, from 0 to `high`.
function pixels(values, high) {
  const found = new Uint8ClampedArray(4 * values.length);
  values.forEach((v, i) => {
    const shade = SHADES[Math.max(0, Math.min(255, Math.round((255 * v) / high)))];
    found.set(shade, 4 * i);
    found[4 * i + 3] = 255;
  });
  return found;
}

// A name cut to some pixels, which keeps the number behind it. Capitals, such as those of DNA, are wide.
function brief(label, pixels, size, bold = false) {
  const wide = (s) =>
    [...s].reduce((sum, c) => sum + (/[A-Z#0-9…]/.test(c) ? 0.72 : 0.58), 0) * size * (bold ? 1.1 : 1);
  const [, words, tail = ""] = /^(.*?)( #\d+)?$/s.exec(label);
  let most = words.length;
  while (most > 3 && wide(cut(words, most) + tail) > pixels) most -= 1;
  return cut(words, most) + tail;
}

// Where a chart has no maps to draw.
function nothing(pen, w, ink, words) {
  pen.text(words, w / 2, 20, { anchor: "middle", fill: ink.soft });
  return [];
}

// -- charts ---------------------------------------------------------------------------------------------------------------

// A square map: `map()` gives {n, values, high, rows, ticks, tip(r, c), over} or null. Rows look, columns are looked at.
function square(view, { map, label = 170, chosen = () => -1, hot, heat, pick, ...more }) {
  const layout = (w) => {
    const m = map(),
      n = m ? m.n : 1,
      left = Math.min(label, w * 0.36),
      cell = Math.min(24, Math.max(170, Math.min(470, w - left - 66)) / n),
      slant = cell >= 13 && label > 80;
    return { m, n, left, cell, slant, below: slant ? left * 0.68 : 18 };
  };
  const draw = (pen, w, _h, ink) => {
    const { m, n, left, cell, slant, below } = layout(w), top = 6, side = n * cell;
    if (!m) return nothing(pen, w, ink, "Nothing to draw yet");
    pen.raster(left, top, side, side, n, pixels(m.values, m.high));
    pen.rect(left, top, side, side, { stroke: ink.faint });
    const every = Math.max(1, Math.ceil(12 / cell)), mark = chosen();
    m.rows.forEach((words, r) => {
      if (r % every === 0 || r === mark) {
        const near = r !== mark && mark >= 0 && Math.abs(r - mark) * cell < 11;
        if (!near) {
          pen.text(brief(words, left - 8, 10.5, r === mark), left - 6, top + (r + 0.5) * cell, {
            anchor: "end",
            size: 10.5,
            weight: r === mark ? "bold" : "normal",
            fill: ink.text,
          });
        }
      }
    });
    const step = slant ? 1 : Math.max(1, Math.ceil(26 / cell));
    for (let c = 0; c < n; c += step) {
      const x = left + (c + 0.5) * cell;
      if (slant) {
        pen.text(brief(m.rows[c], below * 1.25, 10), x + 3, top + side + 6, {
          anchor: "end",
          size: 10,
          angle: -50,
          fill: ink.text,
        });
      } else pen.text(m.ticks[c], x, top + side + 6, { anchor: "middle", baseline: "top", size: 10, fill: ink.soft });
    }
    pen.text("columns are looked at, rows look", left + side / 2, top + side + below + 4, {
      anchor: "middle",
      baseline: "top",
      size: 11.5,
      fill: ink.text,
    });
    const x = left + side + 12, tall = Math.min(120, Math.max(40, side));
    for (let k = 0; k < 40; k++) pen.rect(x, top + (tall * k) / 40, 10, tall / 40 + 0.6, { fill: cividis(1 - k / 39) });
    pen.text(`${m.over ? "≥ " : ""}${number(m.high, 2)}`, x + 13, top + 6, { size: 10.5, fill: ink.soft });
    pen.text("0", x + 13, top + tall - 5, { size: 10.5, fill: ink.soft });
    if (mark >= 0) {
      pen.rect(left, top + mark * cell, side, cell, { stroke: UP, width: 1.4 });
      pen.rect(left + mark * cell, top, cell, side, { stroke: UP, width: 1.4 });
    }
    const targets = [];
    for (let r = 0; r < n; r++) {
      for (let c = 0; c < n; c++) targets.push(new Cell(m, r, c, left + c * cell, top + r * cell, cell));
    }
    m.rows.forEach((words, r) =>
      targets.push({
        x: 0,
        y: top + r * cell,
        w: left - 3,
        h: cell,
        r,
        c: r,
        row: true,
        tip: [m.whole ? m.whole(r) : words].flat(),
      })
    );
    return targets;
  };
  const plot = new Plot(view, {
    height: (w) => {
      const { n, cell, below } = layout(w);
      return 6 + n * cell + below + 22;
    },
    rows: () => {
      const m = map();
      return {
        columns: ["looks", "is looked at", "attention"],
        rows: m ? m.rows.flatMap((a, r) => m.rows.map((b, c) => [a, b, +m.values[r * m.n + c].toPrecision(4)])) : [],
      };
    },
    hover: (t) => heat(t ? [t.r, t.c] : null, plot),
    pick: (t, e) => pick(t.row || e.shiftKey ? t.r : t.c),
    grip: {
      takes: () => false,
      draw: (pen, w, _h, ink) => {
        const { m, n, left, cell } = layout(w), at = hot();
        if (!m || !at) return;
        pen.rect(left - 3, 6 + at[0] * cell - 1, n * cell + 6, cell + 2, { stroke: ink.text, width: 1.5 });
        pen.rect(left + at[1] * cell - 1, 3, cell + 2, n * cell + 6, { stroke: ink.text, width: 1.5 });
      },
    },
    ...more,
    draw,
  });
  plot.find = (x, y) => {
    const { m, n, left, cell } = layout(plot.size[0]),
      r = Math.floor((y - 6) / cell),
      c = Math.floor((x - left) / cell);
    if (!m || r < 0 || r >= n || c >= n) return -1;
    return x < left - 3 ? n * n + r : c < 0 ? -1 : r * n + c;
  };
  plot.step = (dx, dy) => {
    const { n } = layout(plot.size[0]), t = plot.targets[plot.at];
    if (!plot.targets.length) return;
    if (!t) return plot.go(0, true);
    const held = (v) => Math.min(n - 1, Math.max(0, v));
    plot.go(held(t.r + dy) * n + held((t.row ? -1 : t.c) + dx), true);
  };
  return plot;
}

// A cell of a map: its words are made when they are asked for, since there may be 90,000 of them.
class Cell {
  constructor(map, r, c, x, y, size) {
    Object.assign(this, { map, r, c, x, y, w: size, h: size });
  }

  get tip() {
    return this.map.tip(this.r, this.c, this.map.values[this.r * this.map.n + this.c]);
  }
}

// The largest number of a map of n, but for the columns from `single` on, which stand for many keys.
const highest = (values, n, single) => values.reduce((a, b, i) => (i % n < single ? Math.max(a, b) : a), 1e-12);

// Small maps of all layers and heads, each with colours up to its own largest number. `maps()` gives {n, single, of(layer, head)} or null.
function overview(view, { layers, heads, maps, ...more }) {
  const layout = (w) => {
    const left = 48, size = Math.max(14, Math.min(110, (w - left - 6) / heads - 8));
    return { left, size, tall: size + (size < 44 ? 8 : 22) };
  };
  const draw = (pen, w, _h, ink) => {
    const { left, size, tall } = layout(w), found = maps(), targets = [];
    if (!found) return nothing(pen, w, ink, "Nothing to draw yet");
    const mode = view.get("mode"), short = size < 44;
    for (let head = 1; head <= heads; head++) {
      pen.text(short ? head : `head ${head}`, left + (head - 0.5) * (size + 8) - 4, 9, {
        anchor: "middle",
        size: 10.5,
        fill: ink.soft,
      });
    }
    for (let layer = 1; layer <= layers; layer++) {
      const y = 20 + (layer - 1) * tall;
      pen.text(`layer ${layer}`, left - 8, y + size / 2, { anchor: "end", size: 10.5, fill: ink.soft });
      for (let head = 1; head <= heads; head++) {
        const x = left + (head - 1) * (size + 8),
          values = found.of(layer, head),
          high = highest(values, found.n, found.single);
        const on = layer === view.get("layer") && (mode === "head" ? head === view.get("head") : true);
        pen.raster(x, y, size, size, found.n, pixels(values, high));
        pen.rect(x, y, size, size, { stroke: on ? UP : ink.faint, width: on ? 2.5 : 1 });
        if (!short) {
          pen.text(`to ${number(high, 2)}`, x + size / 2, y + size + 9, { anchor: "middle", size: 10, fill: ink.soft });
        }
        targets.push({
          x,
          y,
          w: size,
          h: size,
          layer,
          head,
          tip: [`layer ${layer}, head ${head}`, `largest ${number(high)}`],
        });
      }
    }
    return targets;
  };
  return new Plot(view, {
    height: (w) => 20 + layers * layout(w).tall,
    pick: (t) => view.set({ layer: t.layer, head: t.head, mode: "head" }),
    rows: () => {
      const found = maps(), rows = [];
      for (let layer = 1; found && layer <= layers; layer++) {
        for (let head = 1; head <= heads; head++) {
          rows.push([layer, head, +highest(found.of(layer, head), found.n, found.single).toPrecision(4)]);
        }
      }
      return { columns: ["layer", "head", "largest"], rows };
    },
    ...more,
    draw,
  });
}

// Keys of a sample as bars: `keys()` gives {rows: [{label, rank, value, dots, tip, plain}], even, label} or null.
function keyBars(view, { keys, chosen, hot, heat, pick, ...more }) {
  const line = 17, top = 4;
  const room = (w) => Math.min(250, w * 0.5);
  const draw = (pen, w, _h, ink) => {
    const found = keys();
    if (!found) return nothing(pen, w, ink, "Nothing to draw yet");
    const left = room(w), box = { x: left, y: top, w: w - left - 52, h: line * found.rows.length };
    const asvs = found.rows.filter((k) => !k.plain), largest = Math.max(1e-9, ...asvs.map((k) => k.value));
    const highest = Math.min(3 * largest, Math.max(largest, ...asvs.flatMap((k) => k.dots))); // one head does not shrink all bars
    const { sx } = axes(pen, box, {
      x: { domain: [0, highest * 1.02], label: found.label, grid: true },
      y: { domain: [0, 1], ticks: [], grid: false },
    }, ink);
    const mark = chosen();
    const targets = found.rows.map((k, i) => {
      const y = top + (i + 0.5) * line, end = Math.min(sx(k.value), box.x + box.w), beyond = k.value > highest * 1.02;
      if (i === mark) pen.rect(0, y - line / 2, w, line, { fill: UP, alpha: 0.16 });
      const words = `${i === mark ? "▸ " : ""}${k.rank ? `${k.rank}  ` : ""}${k.label}`;
      pen.text(brief(words, left - 10, 11, i === mark), left - 7, y, {
        anchor: "end",
        size: 11,
        weight: i === mark ? "bold" : "normal",
        fill: k.plain ? ink.soft : ink.text,
      });
      pen.rect(left, y - 5, Math.max(0.5, end - left), 10, { fill: k.plain ? GREY : PALETTE[0] });
      k.dots.forEach((v) => {
        const inside = v <= highest * 1.02;
        pen.mark(inside ? found.shape : 7, inside ? sx(v) : box.x + box.w, y, inside && !found.shape ? 2.2 : 4, {
          fill: PALETTE[1],
          stroke: ink.text,
          width: 0.7,
        });
      });
      if (beyond) pen.text("▸", end + 3, y, { size: 10, fill: ink.soft });
      if (beyond) pen.text(number(k.value, 2), end + 13, y, { size: 10.5, fill: ink.text });
      return { x: 0, y: y - line / 2, w, h: line, k: i, tip: k.tip };
    });
    if (found.even <= highest) {
      pen.line(sx(found.even), box.y, sx(found.even), box.y + box.h, { stroke: ink.text, dash: [4, 3] });
    }
    return targets;
  };
  const plot = new Plot(view, {
    height: () => top + line * ((keys() || { rows: [] }).rows.length || 2) + 44,
    hover: (t) => heat(t ? [t.k, t.k] : null, plot),
    pick: (t) => pick(t.k),
    grip: {
      takes: () => false,
      draw: (pen, w, _h, ink) => {
        if (hot() && keys()) {
          new Set(hot()).forEach((k) =>
            k < keys().rows.length && pen.rect(1, top + k * line, w - 2, line, { stroke: ink.text, width: 1.5 })
          );
        }
      },
    },
    ...more,
    draw,
  });
  return plot;
}

// Bars above the letters of an ASV, in lines that fit: `places()` gives {dna, spans, values, even, tip(k)} or null.
function letters(view, { places, hot, heat, ...more }) {
  const left = 46, tall = 84, up = 46;
  const layout = (w) => {
    const found = places(), span = found ? found.spans[0][1] - found.spans[0][0] + 1 : 1;
    const per = Math.max(1, Math.floor((w - left - 12) / 8 / span)); // positions on a line
    const lines = found ? Math.ceil(found.spans.length / per) : 1;
    const each = found ? Math.ceil(found.spans.length / lines) : 1; // lines of one length
    return { found, lines, each, wide: Math.min(15, (w - left - 12) / (each * span)), span };
  };
  const box = (l, k) => ({
    x: left + (k % l.each) * l.span * l.wide,
    y: 6 + Math.floor(k / l.each) * tall,
    w: (l.found.spans[k][1] - l.found.spans[k][0] + 1) * l.wide,
    h: up + 18,
  });
  const draw = (pen, w, _h, ink) => {
    const l = layout(w), { found } = l;
    if (!found) return nothing(pen, w, ink, "Choose an ASV");
    const high = Math.max(1e-12, ...found.values);
    for (let row = 0; row < l.lines; row++) {
      const base = 6 + row * tall + up,
        end = left + Math.min(l.each, found.spans.length - row * l.each) * l.span * l.wide;
      pen.line(left, base, end, base, { stroke: ink.soft });
      pen.text(number(high, 2), left - 5, base - up + 4, { anchor: "end", size: 9.5, fill: ink.soft });
      pen.text("0", left - 5, base - 2, { anchor: "end", size: 9.5, fill: ink.soft });
    }
    const targets = found.spans.map(([first, last], k) => {
      const b = box(l, k), base = b.y + up, size = (found.values[k] / high) * (up - 2);
      pen.rect(b.x + 0.5, base - size, Math.max(0.6, b.w - 1), size, { fill: PALETTE[0] });
      for (let p = first; p <= last; p++) {
        const x = b.x + (p - first + 0.5) * l.wide, letter = found.dna[p - 1];
        pen.text(letter, x, base + 9, {
          anchor: "middle",
          size: Math.min(12, l.wide * 1.35),
          weight: "bold",
          font: "monospace",
          fill: LETTER_COLORS[letter] || ink.text,
        });
        if (p % 10 === 0 || p === 1) pen.text(p, x, base + 22, { anchor: "middle", size: 9, fill: ink.soft });
      }
      return { ...b, k, tip: found.tip(k) };
    });
    for (let row = 0; row < l.lines; row++) {
      const y = 6 + row * tall + up - (found.even / high) * (up - 2),
        end = left + Math.min(l.each, found.spans.length - row * l.each) * l.span * l.wide;
      if (found.even <= high) pen.line(left, y, end, y, { stroke: ink.text, dash: [4, 3] });
    }
    return targets;
  };
  const plot = new Plot(view, {
    height: (w) => 6 + layout(w).lines * tall,
    hover: (t) => heat(t ? [t.k, t.k] : null, plot),
    grip: {
      takes: () => false,
      draw: (pen, w, _h, ink) => {
        const l = layout(w);
        if (hot() && l.found) {
          new Set(hot()).forEach((k) => {
            const b = box(l, k);
            pen.rect(b.x, b.y, b.w, b.h, { stroke: ink.text, width: 1.5 });
          });
        }
      },
    },
    ...more,
    draw,
  });
  return plot;
}

// -- the explorer -----------------------------------------------------------------------------------------------------------

// A sample's maps with its first `top` ASVs one by one, and all others as one: of columns the sum, of rows the mean.
function folded(found, top) {
  const { shape, values } = unpackedOnce(found.weights), [L, H, K] = shape, known = found.keys.ids.length;
  const single = Math.min(known, found.tokens + top),
    rest = found.tokens + found.numAsvs - single,
    n = single + (rest > 0 ? 1 : 0);
  const heads = Array.from({ length: L * H }, (_, map) => {
    const whole = values.subarray(map * K * K, (map + 1) * K * K);
    if (n === K) return whole;
    const small = new Float32Array(n * n);
    for (let r = 0; r < K; r++) {
      const share = r < single ? 1 : (r < known ? 1 : found.others) / rest, to = Math.min(r, single);
      for (let c = 0; c < K; c++) small[to * n + Math.min(c, single)] += share * whole[r * K + c];
    }
    return small;
  });
  const gathered = (list) => (rest > 0 ? [...list.slice(0, single), total(list.slice(single))] : list);
  const words = `(${number(rest)} other ASVs)`;
  const pooling = Array.from({ length: H }, (_, h) => gathered(found.pooling.map((row) => row[h])));
  const pooled = found.keys.ids.map((_, k) => mean(found.pooling[k]));
  const on = total(pooled.slice(found.tokens, single)), all = 1 - total(pooled.slice(0, found.tokens));
  return {
    n,
    single,
    rest,
    heads,
    pooling,
    share: all > 0 ? on / all : 1,
    numHeads: H,
    mean: Array.from({ length: n }, (_, k) => mean(pooling.map((p) => p[k]))),
    rolled: gathered(found.rolled),
    reads: gathered(found.keys.reads),
    ids: [...found.keys.ids.slice(0, single), ...(rest > 0 ? [""] : [])],
    labels: [...found.keys.labels.slice(0, single), ...(rest > 0 ? [words] : [])],
    lineages: [...found.keys.lineages.slice(0, single), ...(rest > 0 ? [""] : [])],
  };
}
const unpackedOnce = once(unpacked);
const foldedOnce = once(folded);
const meanOnce = once(({ maps }, layer) => {
  const some = maps(layer);
  return some[0].map((_, i) => mean(some.map((m) => m[i])));
});

function build(view) {
  const data = view.get("data");
  const held = () => data.samples.filter((id) => Object.hasOwn(view.get("maps"), id));
  const place = new Map(data.samples.map((id, i) => [id, i]));
  let last = null, lastInside = null;
  const sample = () => (last = view.get("maps")[view.get("sample")] || last); // until the kernel answers, the one before
  const asv =
    () => (view.get("asv")
      ? (lastInside = view.get("inside")[view.get("asv")] || (view.live ? lastInside : null))
      : null);
  const shown = () => (sample() ? foldedOnce(sample(), view.get("top")) : null);
  const mode = () => view.get("mode"), layer = () => view.get("layer"), head = () => view.get("head");
  const which = () => (mode() === "head" ? `layer ${layer()}, head ${head()}` : `layer ${layer()}, mean of heads`);
  const onMean = new WeakMap();
  const averaged = (object, maps) => {
    if (!onMean.has(object)) onMean.set(object, { maps });
    return meanOnce(onMean.get(object), layer());
  };

  // -- what is said -----------------------------------------------------------------------------------------------------
  view.body.append(view.note(data.notImportance, "beware"));
  const rule = view.note(() => {
    const s = shown();
    if (!s) return "";
    const all = number(sample().numAsvs), id = sample().id;
    const unseen = sample().unseen ? ` The model does not see ${number(sample().unseen)} other ASVs of it.` : "";
    return s.rest === 0
      ? `All ${all} ASVs of ${id} are shown, by pooling attention (mean over heads).${unseen} ${data.naming}`
      : `Of the ${all} ASVs in ${id} the ${
        s.single - sample().tokens
      } with most pooling attention (mean over heads) are shown one by one; they hold ${
        percent(s.share)
      } of the pooling attention on ASVs. The ${
        number(s.rest)
      } others are one row (their mean) and one column (their sum).${unseen} ${data.naming}`;
  });
  const waits = view.note(() => {
    const late = [["maps", view.get("sample")], ["inside", view.get("asv")]].filter(([name, key]) =>
      key && !view.get(name)[key]
    ).map(([name, key]) => (name === "maps" ? key : "the ASV"));
    return view.live && late.length ? `Looking at ${late.join(" and ")}; the kernel is at work.` : "";
  });
  view.body.append(rule, waits);
  const counting = (n, word) => Array.from({ length: n }, (_, k) => [k + 1, `${word} ${k + 1}`]);
  view.body.append(
    view.bar(
      view.select("mode", "Show", [["mean", "mean of heads"], ["head", "one head"], ["rollout", "rollout"]]),
      view.select("layer", "Layer", counting(data.layers, "layer")),
      view.select("head", "Head", counting(data.heads, "head")),
      view.slider("top", "ASVs one by one", { min: 1, max: data.most }),
    ),
  );

  // -- samples ----------------------------------------------------------------------------------------------------------
  const facts = (pairs) =>
    node("dl", { class: "aam-facts" }, pairs.map(([k, v]) => node("div", {}, node("dt", {}, k), node("dd", {}, v))));
  const about = node("div", {}),
    filter = node("input", {
      type: "search",
      placeholder: "part of an id",
      "aria-label": "Filter samples",
      style:
        "font:inherit;color:inherit;background:var(--aam-tinted);border:1px solid var(--aam-faint);border-radius:4px;padding:1px 6px;width:11em",
    });
  const only = node("input", { type: "checkbox" });
  const known = () => (view.live ? data.samples : held());
  const chosen = () => new Set(view.get("selected"));
  const rows = () => {
    const words = filter.value.trim().toLowerCase(), some = chosen();
    return known()
      .filter((id) => (!words || id.toLowerCase().includes(words)) && (!only.checked || some.has(id)))
      .map((id) => {
        const i = place.get(id);
        const outcome = Object.fromEntries(
          data.outcomes.flatMap((
            o,
            k,
          ) => [[`truth${k}`, o.truth && o.truth[i]], [
            `prediction${k}`,
            o.prediction ? o.prediction[i] : (view.get("maps")[id] || { predictions: {} }).predictions[o.name],
          ]]),
        );
        return { id, asvs: data.asvs[i], reads: data.reads[i], ...outcome };
      });
  };
  const samples = view.table({
    caption: () =>
      (view.live
        ? `${number(data.samples.length)} samples`
        : `The ${number(held().length)} of ${
          number(data.samples.length)
        } samples that this page holds; a notebook shows all`) +
      (data.outcomes.some((o) => !o.prediction) ? "; predictions of those looked at" : ""),
    columns: [
      { key: "id", label: "sample", left: true, long: true },
      ...data.outcomes.flatMap((
        o,
        k,
      ) => [...(o.truth ? [{ key: `truth${k}`, label: o.name }] : []), {
        key: `prediction${k}`,
        label: `predicted${data.outcomes.length > 1 ? ` ${o.name}` : ""}`,
      }]),
      { key: "asvs", label: "ASVs" },
      { key: "reads", label: "reads" },
    ],
    rows,
    pick: (r) => view.set({ sample: r.id, ...(chosen().size > 1 && chosen().has(r.id) ? {} : { selected: [r.id] }) }),
    picked: (r) => r.id === view.get("sample"),
    most: 10,
  });
  filter.addEventListener("input", () => view.guard(samples.update));
  filter.addEventListener("keydown", (e) => e.stopPropagation()); // the notebook has keys of its own
  only.addEventListener("change", () => view.guard(samples.update));
  const picker = known().length > 1 && known().length <= 300 ? [view.select("sample", "Sample", known)] : [];
  const filters = known().length > 8
    ? [
      node("label", { class: "aam-control" }, "Filter ", filter),
      node("label", { class: "aam-control" }, only, " only those selected"),
    ]
    : [];
  view.panel("Samples", { table: samples, more: [view.bar(...picker, ...filters), about] });

  // -- layers and heads -------------------------------------------------------------------------------------------------
  const asvHeads = overview(view, {
    layers: data.layers,
    heads: data.heads,
    maps: () =>
      shown() && { n: shown().n, single: shown().single, of: (l, h) => shown().heads[(l - 1) * data.heads + h - 1] },
    title: () => `Attention among the ASVs of ${sample() ? sample().id : "a sample"}, all layers and heads`,
    describe: "A small map a head: rows look, columns are looked at. Enter shows a head.",
  });
  view.panel("All layers and heads", {
    plot: asvHeads,
    help:
      "Among the ASVs: rows look, columns are looked at, in the order of the bars below. Each map's colours go up to its own largest number, which stands under it; the others' column, where there is one, goes beyond. Click one to show it.",
  });

  // -- ASVs -------------------------------------------------------------------------------------------------------------
  const linked = () => {
    let at = null;
    const plots = [];
    const heat = (next, from) => {
      if (String(next) === String(at)) return;
      at = next;
      plots.forEach((p) => p !== from && p._mark());
      if (from) from._mark();
    };
    return { plots, hot: () => at, heat };
  };
  const asvs = linked();
  const isAsv = (s, k) => k >= sample().tokens && k < s.single;
  const toAsv = (k) => (isAsv(shown(), k) ? view.set({ asv: shown().ids[k] }) : view.say("This is not an ASV"));
  const chosenKey = () => (shown() && view.get("asv") ? shown().ids.indexOf(view.get("asv")) : -1);
  const rank = (k) => (isAsv(shown(), k) ? k - sample().tokens + 1 : "");
  const full = (k) => {
    const s = shown();
    return [
      `${rank(k) ? `${rank(k)}  ` : ""}${s.labels[k]}`,
      s.lineages[k],
      isAsv(s, k) ? s.ids[k] : "",
      isNumber(s.reads[k]) ? reads(s.reads[k]) : "",
    ].filter(Boolean);
  };
  const pooled = (k) => {
    const s = shown();
    return mode() === "head" ? s.pooling[head() - 1][k] : mode() === "mean" ? s.mean[k] : s.rolled[k];
  };
  const pooling = keyBars(view, {
    keys: () => {
      const s = shown();
      if (!s) return null;
      const each = {
        mean: `mean of ${data.heads} heads (dots: each head)`,
        head: `head ${head()} (dots: the other heads)`,
        rollout: "rollout (diamonds: pooling attention, mean)",
      }[mode()];
      return {
        even: 1 / (sample().tokens + sample().numAsvs),
        shape: mode() === "rollout" ? 2 : 0,
        label: each,
        rows: s.ids.map((_, k) => ({
          label: s.labels[k],
          rank: rank(k),
          plain: !isAsv(s, k),
          value: pooled(k),
          dots: mode() === "rollout"
            ? [s.mean[k]]
            : s.pooling.filter((_, h) => mode() === "mean" || h !== head() - 1).map((p) => p[k]),
          tip: [
            ...full(k),
            `mean of heads ${number(s.mean[k])}, head ${head()} ${number(s.pooling[head() - 1][k])}`,
            `rollout ${number(s.rolled[k])}`,
          ],
        })),
      };
    },
    title: () =>
      `From the ASVs to ${sample() ? sample().id : "the sample"}: ${
        mode() === "rollout" ? "rollout" : mode() === "head" ? `pooling, head ${head()}` : "pooling, mean of heads"
      }`,
    describe: "A bar an ASV. Enter looks into it.",
    chosen: chosenKey,
    hot: asvs.hot,
    heat: asvs.heat,
    pick: toAsv,
    rows: () => ({
      columns: ["asv_id", "name", "lineage", "mean", `head_${head()}`, "rollout"],
      rows: shown()
        ? shown().ids.map((
          id,
          k,
        ) => [
          id || shown().labels[k],
          shown().labels[k],
          shown().lineages[k],
          shown().mean[k],
          shown().pooling[head() - 1][k],
          shown().rolled[k],
        ])
        : [],
    }),
  });
  view.panel("From the ASVs to the sample", {
    plot: pooling,
    help:
      "How much of each ASV the sample's vector is pooled from. Dashed: even attention. Grey: no ASV of its own; ▸ where a bar or a head goes on. Click an ASV to look into it.",
  });

  const map = () => {
    const s = shown();
    if (!s) return null;
    const values = mode() === "head"
      ? s.heads[(layer() - 1) * data.heads + head() - 1]
      : averaged(s, (l) => s.heads.slice((l - 1) * data.heads, l * data.heads));
    const high = highest(values, s.n, s.single);
    return {
      n: s.n,
      values,
      high,
      over: highest(values, s.n, s.n) > high,
      rows: s.labels,
      ticks: s.labels.map((_, k) => String(rank(k) || "·")),
      whole: full,
      tip: (r, c, v) =>
        [
          `${s.labels[r]} looks at ${r === c ? "itself" : s.labels[c]}: ${number(v)}`,
          s.lineages[c],
          isAsv(s, c) ? s.ids[c] : "",
        ].filter(Boolean),
    };
  };
  const grid = square(view, {
    map,
    title: () => `Among the ASVs of ${sample() ? sample().id : "the sample"}, ${which()}`,
    describe: "Rows look, columns are looked at. Enter looks into the ASV of a column, with Shift into that of a row.",
    chosen: chosenKey,
    hot: asvs.hot,
    heat: asvs.heat,
    pick: toAsv,
  });
  asvs.plots.push(pooling, grid);
  const noRollout = view.note(
    () => (mode() === "rollout"
      ? `Rollout follows attention through all layers to one number an ASV, so it has no map; this is ${which()}.`
      : ""),
  );
  const among = view.panel("Among the ASVs", {
    plot: grid,
    more: [noRollout],
    help:
      "Each row sums to 1. Click a cell to look into the ASV that is looked at, with Shift (or on a name) into the one that looks.",
  });

  const keyRows = () => (shown()
    ? shown().ids.map((_, k) => ({
      k,
      rank: rank(k),
      name: shown().labels[k],
      lineage: shown().lineages[k],
      reads: shown().reads[k],
      mean: shown().mean[k],
      head: shown().pooling[head() - 1][k],
      rollout: shown().rolled[k],
    }))
    : []);
  const keyTable = view.table({
    caption: "The bars as a table",
    columns: () => [
      { key: "rank", label: "" },
      { key: "name", label: "ASV", left: true, long: true },
      { key: "mean", label: "mean" },
      { key: "head", label: `head ${head()}` },
      { key: "rollout", label: "rollout" },
      { key: "reads", label: "reads" },
    ],
    rows: keyRows,
    pick: (r) => toAsv(r.k),
    picked: (r) => r.k === chosenKey(),
    most: 10,
  });
  view.panel("Table of ASVs", { table: keyTable });
  const pairs = () => {
    const m = map(), s = shown();
    if (!m) return [];
    const order = Array.from(m.values.keys()).filter((i) => i % m.n < s.single && Math.floor(i / m.n) < s.single);
    return order.sort((a, b) => m.values[b] - m.values[a]).slice(0, 50).map((i) => ({
      c: i % m.n,
      looks: m.rows[Math.floor(i / m.n)],
      at: Math.floor(i / m.n) === i % m.n ? "itself" : m.rows[i % m.n],
      value: m.values[i],
    }));
  };
  const pairTable = view.table({
    caption: () => `Who looks most at whom, ${which()} (the 50 largest)`,
    columns: [{ key: "looks", label: "looks", left: true, long: true }, {
      key: "at",
      label: "is looked at",
      left: true,
      long: true,
    }, { key: "value", label: "attention" }],
    rows: pairs,
    pick: (r) => toAsv(r.c),
    most: 10,
  });
  view.panel("Strongest looks", { table: pairTable });

  // -- an ASV -----------------------------------------------------------------------------------------------------------
  const inner = linked();
  const inside = () => (asv() ? unpackedOnce(asv().weights) : null);
  const one = (l, h) => {
    const { shape, values } = inside(), P = shape[2], k = (l - 1) * shape[1] + h - 1;
    return values.subarray(k * P * P, (k + 1) * P * P);
  };
  const span = (k) => [...new Set(asv().spans[k])].join("–");
  const bases = (k) => asv().id.slice(asv().spans[k][0] - 1, asv().spans[k][1]);
  const value = (
    k,
  ) => (mode() === "rollout"
    ? asv().rolled[k]
    : mode() === "head"
    ? asv().pooling[k][head() - 1]
    : mean(asv().pooling[k]));
  const aboutAsv = node("div", {});
  const absent = view.note(() => {
    const id = view.get("asv");
    if (!id) return "Click an ASV above to look into it.";
    if (view.live || view.get("inside")[id]) return "";
    const there = Object.values(view.get("inside")).map((a) => a.label);
    return `This page does not hold the nucleotides of this ASV; a notebook shows any. It holds those of ${
      there.slice(0, 6).join(", ")
    }${there.length > 6 ? ` and ${there.length - 6} more` : ""}.`;
  });
  const pickAsv = view.select("asv", "ASV", () => {
    const options = view.live && shown()
      ? shown().ids.map((id, k) => [id, `${rank(k)}  ${shown().labels[k]}`]).filter((_, k) => isAsv(shown(), k))
      : Object.values(view.get("inside")).map((a) => [a.id, a.label]);
    const now = view.get("asv"), found = asv();
    return [
      ["", "none"],
      ...options,
      ...(now && !options.some(([id]) => id === now)
        ? [[now, found && found.id === now ? found.label : cut(now, 20)]]
        : []),
    ];
  });
  const sequence = letters(view, {
    places: () =>
      asv() && {
        dna: asv().id,
        spans: asv().spans,
        even: 1 / asv().spans.length,
        values: asv().spans.map((_, k) => value(k)),
        tip: (
          k,
        ) => [
          `nucleotides ${span(k)}: ${bases(k)}`,
          `mean of heads ${number(mean(asv().pooling[k]))}, head ${head()} ${number(asv().pooling[k][head() - 1])}`,
          `rollout ${number(asv().rolled[k])}`,
        ],
      },
    title: () =>
      `From the nucleotides to ${asv() ? asv().label : "the ASV"}: ${
        mode() === "rollout" ? "rollout" : mode() === "head" ? `pooling, head ${head()}` : "pooling, mean of heads"
      }`,
    describe: "A bar a position, above its letters, from the 5' end.",
    hot: inner.hot,
    heat: inner.heat,
    rows: () => ({
      columns: ["position", "letters", "mean", `head_${head()}`, "rollout"],
      rows: asv()
        ? asv().spans.map((
          _,
          k,
        ) => [span(k), bases(k), mean(asv().pooling[k]), asv().pooling[k][head() - 1], asv().rolled[k]])
        : [],
    }),
  });
  view.panel("From the nucleotides to the ASV", {
    plot: sequence,
    more: [view.bar(pickAsv), absent, aboutAsv],
    wide: true,
    help:
      "How much of each position the ASV's vector is pooled from; the same in every sample. Dashed: even attention.",
  });

  const positions = square(view, {
    label: 66,
    map: () => {
      const found = asv();
      if (!found) return null;
      const n = found.spans.length,
        values = mode() === "head"
          ? one(layer(), head())
          : averaged(found, (l) => Array.from({ length: data.heads }, (_, h) => one(l, h + 1)));
      return {
        n,
        values,
        high: highest(values, n, n),
        over: false,
        rows: found.spans.map((_, k) => span(k)),
        ticks: found.spans.map(([first]) => String(first)),
        tip: (r, c, v) => [`${span(r)} ${bases(r)}`, `looks at ${span(c)} ${bases(c)}: ${number(v)}`],
        whole: (r) => [`${span(r)} ${bases(r)}`],
      };
    },
    title: () => `Among the nucleotides of ${asv() ? asv().label : "the ASV"}, ${which()}`,
    describe: "Rows look, columns are looked at; positions from the 5' end.",
    hot: inner.hot,
    heat: inner.heat,
    pick: (k) => view.say(`nucleotides ${span(k)}: ${bases(k)}`),
  });
  inner.plots.push(sequence, positions);
  const joined = view.note(
    () => (asv() && asv().together > 1
      ? `${asv().together} neighbouring positions are drawn as one: columns are sums, rows are means.`
      : ""),
  );
  const amid = view.panel("Among the nucleotides", {
    plot: positions,
    more: [joined],
    help: "Labels count nucleotides from the 5' end. Point at a position to find it among the letters.",
  });
  const insideHeads = overview(view, {
    layers: data.layers,
    heads: data.heads,
    maps: () => asv() && { n: asv().spans.length, single: asv().spans.length, of: one },
    title: () => `Attention among the nucleotides of ${asv() ? asv().label : "an ASV"}, all layers and heads`,
    describe: "A small map a head: rows look, columns are looked at. Enter shows a head.",
  });
  const placeTable = view.table({
    caption: "The bars above the letters as a table",
    columns: () => [
      { key: "place", label: "nucleotides", left: true },
      { key: "bases", label: "letters", left: true },
      { key: "mean", label: "mean" },
      { key: "head", label: `head ${head()}` },
      { key: "rollout", label: "rollout" },
    ],
    rows: () => (asv()
      ? asv().spans.map((_, k) => ({
        place: span(k),
        bases: bases(k),
        mean: mean(asv().pooling[k]),
        head: asv().pooling[k][head() - 1],
        rollout: asv().rolled[k],
      }))
      : []),
    most: 10,
  });
  const inHeads = view.panel("All layers and heads, nucleotides", { plot: insideHeads, below: [placeTable.el] });

  // -- heads as numbers -------------------------------------------------------------------------------------------------
  const numbers = () =>
    [...(sample() ? sample().statistics : []), ...(asv() ? asv().statistics : [])].map((r) => ({
      ...r,
      words: LEVELS[r.level] || r.level,
      even: isNumber(r.keys) ? 1 / r.keys : null,
    }));
  const headTable = view.table({
    caption: "Layers and heads in numbers, of whole maps",
    columns: () => [
      { key: "words", label: "level", left: true },
      { key: "layer", label: "layer", format: (v) => v || "pooling" },
      { key: "head", label: "head" },
      { key: "distance", label: "distance" },
      { key: "distance_even", label: "if even" },
      { key: "entropy_share", label: "evenness" },
      { key: "largest", label: "largest" },
      { key: "even", label: "1 / keys" },
      { key: "on_itself", label: "on itself" },
      { key: "on_sample_token", label: "on sample token" },
      ...(sample() && sample().tokens > 1 ? [{ key: "on_covariates", label: "on covariates" }] : []),
    ],
    rows: numbers,
    pick: (r) => view.set({ head: r.head, mode: "head", ...(r.layer ? { layer: r.layer } : {}) }),
    picked: (r) => mode() === "head" && r.head === head() && (!r.layer || r.layer === layer()),
    most: 40,
  });
  view.panel("Heads in numbers", {
    table: headTable,
    wide: true,
    help:
      "distance: how far a head looks, in substitutions per site among ASVs (along the tree), in nucleotides inside one. evenness: entropy as a share of the largest there can be, 1 where attention is even. largest: share of what is most attended, beside 1 / keys, which it is where attention is even.",
  });
  view.body.append(view.note(data.moves));

  // -- keeping up -------------------------------------------------------------------------------------------------------
  const update = () => {
    [rule, waits, noRollout, absent, joined].forEach((n) => n.update());
    [samples, keyTable, pairTable, placeTable, headTable].forEach((t) => t.update());
    pickAsv.refill();
    const s = sample(), a = asv();
    if (s) {
      const i = place.get(s.id);
      const outcomes = data.outcomes.flatMap((
        o,
      ) => [...(o.truth ? [[o.name, number(o.truth[i]) || "missing"]] : []), [
        `predicted ${o.name}`,
        number(s.predictions[o.name]),
      ]]);
      about.replaceChildren(
        facts([["sample", cut(s.id, 30)], ...outcomes, [
          "ASVs",
          s.unseen ? `${number(s.numAsvs)} of ${number(s.numAsvs + s.unseen)}` : number(s.numAsvs),
        ], ["reads", number(s.reads)]]),
      );
      among.retitle(`Among the ASVs, ${which()}`);
    }
    aboutAsv.replaceChildren(
      ...(a
        ? [
          facts([
            ["ASV", a.label],
            ["length", `${a.id.length} nt`],
            ["found in", `${number(a.prevalence)} of ${number(data.samples.length)} samples`],
            ["in this sample", chosenKey() >= 0 ? reads(shown().reads[chosenKey()]) : "not shown one by one"],
            ...(a.lineage ? [["lineage", cut(a.lineage, 90)]] : []),
          ]),
        ]
        : []),
    );
    amid.retitle(`Among the nucleotides, ${which()}`);
    for (const el of [amid, inHeads]) el.hidden = !a;
    sequence.el.hidden = !a;
    view.redraw();
  };
  let asked = 0;
  view.watch(["maps", "inside", "sample", "asv", "layer", "head", "mode", "top", "selected"], () => {
    asked ||= requestAnimationFrame(() => {
      asked = 0;
      view.guard(update);
    });
  });
  view.watch("maps", () => sample() && view.say(`${sample().id}: ${number(sample().numAsvs)} ASVs`));
  view.watch("asv", () => asv() && view.say(`Inside ${asv().label}`));
  update();
}
