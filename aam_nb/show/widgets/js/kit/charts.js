// The charts that explorers are made of; each is a Plot. Options that may change are functions, asked at every drawing.

const text = (v) => (typeof v === "function" ? String(v()) : String(v ?? ""));
const now = (v) => (typeof v === "function" ? v() : v);

// Points {x, y, i, tip, faded} with the encoding of a column; `lasso(targets)` and `pick(target)` get targets with `i`.
// `form` is a column of categories that shapes them instead. `under(pen, {sx, sy, box}, ink)` draws below the points,
// `over(pen, targets, ink)` above them.
function scatter(view, options) {
  const {
    points,
    x,
    y,
    column = null,
    form = null,
    selected = () => new Set(),
    diagonal = false,
    radius = 4,
    under = null,
    over = null,
    rows,
    ...more
  } = options;
  const draw = (pen, w, h, ink) => {
    const shown = now(points), colour = encoding(now(column)), shaped = now(form) ? encoding(now(form)) : colour;
    // axes: as wide as the legends leave room
    const side = colour.items.length || colour.numbers || shaped !== colour ? legendRoom(w) : 8;
    const box = { x: 58, y: 10, w: w - 58 - side - 10, h: h - 10 - 44 };
    const xAxis = { grid: true, ...now(x) }, yAxis = now(y);
    xAxis.domain ||= padded(extent(shown.map((p) => p.x)));
    yAxis.domain ||= padded(extent(shown.map((p) => p.y)));
    const { sx, sy } = axes(pen, box, { x: xAxis, y: yAxis }, ink);
    if (under) pen.inside(box.x, box.y, box.w, box.h, () => under(pen, { sx, sy, box }, ink));
    if (diagonal) drawDiagonal(pen, { sx, sy }, ink);
    // points, those selected on top
    const targets = shown.map((p) => ({ ...p, x: sx(p.x), y: sy(p.y), r: radius }));
    pen.inside(box.x - 6, box.y - 6, box.w + 12, box.h + 12, () => {
      const fill = now(column) ? colour.color : () => ink.main;
      drawPoints(pen, targets, { fill, shape: shaped.shape, radius, selected: selected() }, ink);
      if (over) over(pen, targets, ink);
    });
    if (side > 8) {
      drawLegends(pen, { x: box.x + box.w + 16, y: box.y, w: side - 16 }, {
        colour,
        column: now(column),
        shaped,
        form: now(form),
      }, ink);
    }
    return targets;
  };
  return new Plot(view, { height: (w) => Math.min(460, Math.max(300, w * 0.62)), ...more, draw, rows });
}

// The width that legends take beside a plot.
const legendRoom = (w) => Math.min(170, w * 0.3);

// The line on which x and y are the same.
function drawDiagonal(pen, { sx, sy }, ink) {
  const low = Math.max(sx.domain[0], sy.domain[0]), high = Math.min(sx.domain[1], sy.domain[1]);
  pen.line(sx(low), sy(low), sx(high), sy(high), { stroke: ink.soft, dash: [5, 4] });
}

// Markers of a scatter: where some are selected they are drawn last and larger, and the others faintly.
function drawPoints(pen, targets, { fill, shape, radius, selected }, ink) {
  const some = selected.size > 0;
  for (const front of some ? [false, true] : [false]) {
    targets.forEach((t) => {
      if (some && selected.has(t.i) !== front) return;
      const faint = t.faded || (some && !front);
      pen.mark(shape(t.i), t.x, t.y, front ? radius + 1 : radius, {
        fill: fill(t.i),
        stroke: front ? ink.text : ink.paper,
        width: front ? 1.2 : 0.5,
        alpha: faint ? 0.25 : 0.9,
      });
    });
  }
}

// The legend of the colours and, below it, that of the markers where another column shapes them.
function drawLegends(pen, box, { colour, column, shaped, form }, ink) {
  const restyled = (encoded, style) => ({ ...encoded, items: encoded.items.map((t) => ({ ...t, ...style })) });
  const squares = shaped === colour ? colour : restyled(colour, { shape: 1 });
  const tall = column ? legend(pen, squares, box.x, box.y, box.w, ink, column.name) + 20 : 0;
  if (shaped !== colour) legend(pen, restyled(shaped, { color: ink.text }), box.x, box.y + tall, box.w, ink, form.name);
}

// Bars of a histogram: {edges, counts}; `shade(low, high)` says whether a bar is drawn faintly.
function histogram(view, { bins, x, y, shade = () => false, tip = null, ...more }) {
  const box = (w, h) => {
    const wide = w - 58 - 14, lines = tickLines(now(x), wide).lines;
    return { x: 58, y: 10, w: wide, h: h - 10 - 44 - LINE * (lines - 1) };
  };
  const domains = () => {
    const { edges, counts } = now(bins);
    return {
      x: { ...now(x), domain: [edges[0], edges[edges.length - 1]] },
      y: { ...now(y), domain: [0, Math.max(1, ...counts) * 1.05] },
    };
  };
  const draw = (pen, w, h, ink) => {
    const { edges, counts } = now(bins);
    const { sx, sy } = axes(pen, box(w, h), domains(), ink);
    return counts.map((n, k) => {
      const [a, b] = [sx(edges[k]), sx(edges[k + 1])], top = sy(n);
      pen.rect(a + 0.5, top, Math.max(0.5, b - a - 1), sy(0) - top, {
        fill: ink.main,
        alpha: shade(edges[k], edges[k + 1]) ? 0.25 : 1,
      });
      return {
        x: a,
        y: Math.min(top, sy(0) - 3),
        w: b - a,
        h: Math.max(3, sy(0) - top),
        k,
        tip: tip ? tip(k) : [`${number(edges[k])} to ${number(edges[k + 1])}`, `${number(n)}`],
      };
    });
  };
  const plot = new Plot(view, {
    height: 230,
    rows: () => ({
      columns: ["from", "to", "count"],
      rows: now(bins).counts.map((n, k) => [now(bins).edges[k], now(bins).edges[k + 1], n]),
    }),
    ...more,
    draw,
  });
  plot.scaleX = (w, h) => {
    const b = box(w, h), d = domains().x;
    return Object.assign(scale(d.domain, [b.x, b.x + b.w], d.log), { box: b });
  };
  return plot;
}

// Horizontal bars, or dots with intervals: {label, value, low, high, color, tip, key, mark, bold}. `zero` is where
// bars start.
function bars(view, { items, x, dots = false, zero = 0, labels = 190, selected = () => null, ...more }) {
  const line = 22;
  const draw = (pen, w, h, ink) => {
    const shown = now(items),
      room = Math.min(labels, w * 0.42),
      box = { x: room, y: 6, w: w - room - 24, h: h - 6 - 46 };
    const axis = { grid: true, ...now(x) };
    axis.domain ||= padded(extent(shown.flatMap((b) => [b.value, b.low, b.high, zero])), 0.04);
    const { sx } = axes(pen, box, { x: axis, y: { domain: [0, 1], ticks: [], grid: false } }, ink);
    const step = box.h / Math.max(1, shown.length),
      thick = Math.min(15, step * 0.68),
      at = sx(Math.min(axis.domain[1], Math.max(axis.domain[0], zero)));
    if (!dots || axis.domain[0] <= zero) pen.line(at, box.y, at, box.y + box.h, { stroke: ink.soft });
    return shown.map((b, k) => {
      const y = box.y + step * (k + 0.5),
        v = sx(b.value),
        color = b.color || ink.main,
        on = selected() !== null && selected() === b.key;
      if (on) pen.rect(0, y - step / 2, w, step, { fill: color, alpha: 0.14 });
      rowLabel(pen, b.label, room - 8, y, { room: room - 10, mark: b.mark, bold: b.bold || on, fill: ink.text });
      if (isNumber(b.value)) {
        if (dots) pen.mark(b.shape || 0, v, y, 5, { fill: color });
        else pen.rect(Math.min(at, v), y - thick / 2, Math.max(1, Math.abs(v - at)), thick, { fill: color });
        if (isNumber(b.low)) {
          pen.line(sx(b.low), y, sx(b.high), y, { stroke: dots ? color : ink.text, width: dots ? 2 : 1.2 });
          for (const end of [b.low, b.high]) {
            pen.line(sx(end), y - 4, sx(end), y + 4, { stroke: dots ? color : ink.text, width: dots ? 2 : 1.2 });
          }
        }
      }
      return { ...b, x: 0, y: y - step / 2, w, h: step, tip: b.tip || [b.label, number(b.value)] };
    });
  };
  return new Plot(view, {
    height: () => 52 + line * Math.max(1, now(items).length),
    rows: () => ({
      columns: ["label", "value", "low", "high"],
      rows: now(items).map((b) => [b.label, b.value, b.low, b.high]),
    }),
    ...more,
    draw,
  });
}

// Cells of a matrix, rows below one another: {values: [[..]], rows: [names], columns: [names], high, signed}.
// `tip(r, c, value)`; labels are drawn where they fit, and are always in the tip.
function heatmap(view, { matrix, tip, labels = true, cross = () => null, room = 150, square = true, ...more }) {
  const layout = (w) => {
    const m = now(matrix),
      left = labels ? Math.min(room, w * 0.3) : 4,
      below = labels ? left * 0.8 : 4,
      width = w - left - 74;
    const cell = square ? Math.min(26, width / Math.max(1, m.columns.length)) : width / Math.max(1, m.columns.length);
    const tall = square ? cell : Math.min(26, Math.max(14, 340 / Math.max(1, m.rows.length)));
    return { m, left, below, cell, tall, top: 4 };
  };
  const draw = (pen, w, _h, ink) => {
    const place = layout(w), { m, left, cell, tall, top } = place, framed = cross();
    const high = m.high || Math.max(1e-12, ...m.values.flat().filter(isNumber).map(Math.abs));
    const shade = (v) => (!isNumber(v) ? ink.faint : m.signed ? diverging(v / high) : cividis(v / high));
    const targets = m.values.flatMap((row, r) =>
      row.map((value, c) => {
        pen.rect(left + c * cell, top + r * tall, cell + 0.3, tall + 0.3, { fill: shade(value) });
        return {
          x: left + c * cell,
          y: top + r * tall,
          w: cell,
          h: tall,
          r,
          c,
          value,
          row: r,
          tip: tip ? tip(r, c, value) : [m.rows[r], m.columns[c], number(value)],
        };
      })
    );
    if (framed !== null) pen.rect(left + framed.c * cell, top + framed.r * tall, cell, tall, { stroke: UP, width: 2 });
    if (labels) drawCellLabels(pen, place, ink);
    const bar = {
      x: left + m.columns.length * cell + 14,
      y: top,
      w: 10,
      h: Math.min(120, Math.max(40, m.rows.length * tall)),
    };
    colourBar(pen, bar, (share) => (m.signed ? diverging(2 * share - 1) : cividis(share)), [
      m.signed ? number(-high, 2) : "0",
      number(high, 2),
    ], ink);
    return targets;
  };
  return new Plot(view, {
    height: (w) => {
      const { m, below, tall } = layout(w);
      return Math.max(60, 10 + m.rows.length * tall + below);
    },
    rows: () => ({
      columns: ["row", "column", "value"],
      rows: now(matrix).values.flatMap((row, r) => row.map((v, c) => [now(matrix).rows[r], now(matrix).columns[c], v])),
    }),
    ...more,
    draw,
  });
}

// Names of the rows and columns of a heatmap, as many as fit.
function drawCellLabels(pen, { m, left, below, cell, tall, top }, ink) {
  const every = (size) => Math.max(1, Math.ceil(12 / size)), style = { anchor: "end", size: 10.5, fill: ink.text };
  m.rows.forEach((name, r) =>
    r % every(tall) === 0 &&
    rowLabel(pen, name, left - 6, top + (r + 0.5) * tall, { room: left - 8, size: 10.5, fill: ink.text })
  );
  m.columns.forEach((name, c) =>
    c % every(cell) === 0 &&
    pen.text(fitted(name, below / 0.85, style), left + (c + 0.5) * cell, top + m.rows.length * tall + 8, {
      ...style,
      angle: -55,
    })
  );
}

// A bar of the colours of a map, the largest on top, with the numbers of its ends: `shade(share)`.
function colourBar(pen, { x, y, w, h, gap = 4 }, shade, [low, high], ink) {
  const steps = 40;
  for (let k = 0; k < steps; k++) {
    pen.rect(x, y + (h * k) / steps, w, h / steps + 0.6, { fill: shade(1 - k / (steps - 1)) });
  }
  pen.text(high, x + w + gap, y + 6, { size: 10.5, fill: ink.soft });
  pen.text(low, x + w + gap, y + h - 5, { size: 10.5, fill: ink.soft });
}

// Lines {label, points: [[x, y]], color, dash, band: [[x, low, high]]} with a legend on the right.
function lines(view, { series, x, y, ...more }) {
  const hue = (line, k) => line.color || PALETTE[k % PALETTE.length];
  const draw = (pen, w, h, ink) => {
    const shown = now(series),
      side = shown.some((s) => s.label) ? legendRoom(w) : 8,
      box = { x: 58, y: 10, w: w - 58 - side - 10, h: h - 10 - 44 };
    const xAxis = { grid: true, ...now(x) }, yAxis = { ...now(y) };
    xAxis.domain ||= extent(shown.flatMap((s) => s.points.map((p) => p[0])));
    yAxis.domain ||= padded(
      extent(shown.flatMap((s) => [...s.points.map((p) => p[1]), ...(s.band || []).flatMap((b) => [b[1], b[2]])])),
    );
    const scales = axes(pen, box, { x: xAxis, y: yAxis }, ink);
    pen.inside(
      box.x - 1,
      box.y - 1,
      box.w + 2,
      box.h + 2,
      () => shown.forEach((s, k) => drawLine(pen, s, hue(s, k), scales)),
    );
    let at = box.y + 8; // of the next name in the legend
    shown.forEach((s, k) => {
      if (!s.label) return;
      pen.line(box.x + box.w + 14, at, box.x + box.w + 32, at, { stroke: hue(s, k), width: 2, dash: s.dash || [] });
      pen.text(fitted(s.label, side - 40, { size: 11 }), box.x + box.w + 38, at, { size: 11, fill: ink.text });
      at += 18;
    });
    return shown.flatMap((
      s,
      k,
    ) => (s.points.length > 400 ? [] : s.points.map(([px, py]) => ({
      x: scales.sx(px),
      y: scales.sy(py),
      r: 3,
      series: k,
      tip: [s.label || s.name || "", `${xAxis.label || "x"}: ${number(px)}`, `${yAxis.label || "y"}: ${number(py)}`]
        .filter(Boolean),
    }))));
  };
  return new Plot(view, {
    height: (w) => Math.min(340, Math.max(240, w * 0.5)),
    rows: () => ({
      columns: ["series", "x", "y"],
      rows: now(series).flatMap((s) => s.points.map((p) => [s.label || s.name || "", ...p])),
    }),
    ...more,
    draw,
  });
}

// One line with the band around it.
function drawLine(pen, { points, band, width, dash, alpha }, color, { sx, sy }) {
  if (band) {
    const lower = band.map(([x, low]) => [sx(x), sy(low)]),
      upper = band.map(([x, , high]) => [sx(x), sy(high)]).reverse();
    pen.path([...lower, ...upper], { fill: color, alpha: 0.15, close: true });
  }
  pen.path(points.map(([x, y]) => [sx(x), sy(y)]), {
    stroke: color,
    width: width || 2,
    dash: dash || [],
    alpha: alpha || 1,
  });
}
