// A square map: `map()` gives {n, values, high, rows, ticks, tip(r, c), over} or null. Rows look, columns are looked
// at.

const TOP = 6; // pixels above the map

function squareMap(view, { map, label = 170, chosen = () => -1, hot, heat, pick, ...more }) {
  const layout = (w) => squareLayout(w, map(), label);
  const draw = (pen, w, _h, ink) => {
    const place = layout(w), { m, n, left, cell, side } = place;
    if (!m) return nothing(pen, w, ink, "Nothing to draw yet");
    pen.raster(left, TOP, side, side, n, pixels(m.values, m.high));
    pen.rect(left, TOP, side, side, { stroke: ink.faint });
    drawSquareNames(pen, place, chosen(), ink);
    const bar = { x: left + side + 12, y: TOP, w: 10, h: Math.min(120, Math.max(40, side)), gap: 3 };
    colourBar(pen, bar, cividis, ["0", `${m.over ? "≥ " : ""}${number(m.high, 2)}`], ink);
    if (chosen() >= 0) {
      pen.rect(left, TOP + chosen() * cell, side, cell, { stroke: UP, width: 1.4 });
      pen.rect(left + chosen() * cell, TOP, cell, side, { stroke: UP, width: 1.4 });
    }
    return squareTargets(place);
  };
  const plot = new Plot(view, {
    height: (w) => TOP + layout(w).side + layout(w).below + 22,
    rows: () => squareRows(map()),
    hover: (t) => heat(t ? [t.r, t.c] : null, plot),
    pick: (t, e) => pick(t.row || e.shiftKey ? t.r : t.c),
    grip: {
      takes: () => false,
      draw: (pen, w, _h, ink) => {
        const { m, left, cell, side } = layout(w), at = hot();
        if (!m || !at) return;
        pen.rect(left - 3, TOP + at[0] * cell - 1, side + 6, cell + 2, { stroke: ink.text, width: 1.5 });
        pen.rect(left + at[1] * cell - 1, TOP - 3, cell + 2, side + 6, { stroke: ink.text, width: 1.5 });
      },
    },
    ...more,
    draw,
  });
  plot.find = (x, y) => findCell(layout(plot.size[0]), x, y);
  plot.step = (dx, dy) => stepCell(plot, layout(plot.size[0]).n, dx, dy);
  return plot;
}

// Where everything stands; names of columns are slanted where cells are large enough, else there are ticks.
function squareLayout(w, m, label) {
  const n = m ? m.n : 1,
    left = Math.min(label, w * 0.36),
    cell = Math.min(24, Math.max(140, Math.min(470, w - left - 74)) / n);
  const slant = cell >= 13 && label > 80;
  return { m, n, left, cell, slant, side: n * cell, below: slant ? left * 0.68 : 18 };
}

function drawSquareNames(pen, { m, n, left, cell, slant, side, below }, mark, ink) {
  const every = Math.max(1, Math.ceil(12 / cell)), step = slant ? 1 : Math.max(1, Math.ceil(26 / cell));
  m.rows.forEach((name, r) => {
    // the row chosen has its name always, so those that it would touch have none
    const crowded = r !== mark && mark >= 0 && Math.abs(r - mark) * cell < 11;
    if (crowded || (r % every !== 0 && r !== mark)) return;
    rowLabel(pen, name, left - 6, TOP + (r + 0.5) * cell, {
      room: left - 8,
      size: 10.5,
      bold: r === mark,
      fill: ink.text,
    });
  });
  for (let c = 0; c < n; c += step) {
    const x = left + (c + 0.5) * cell, y = TOP + side + 6;
    if (slant) {
      const style = { anchor: "end", size: 10, angle: -50, fill: ink.text };
      pen.text(fitted(m.rows[c], Math.min(below * 1.25, x / 0.65), style), x + 3, y, style);
    } else pen.text(m.ticks[c], x, y, { anchor: "middle", baseline: "top", size: 10, fill: ink.soft });
  }
  pen.text("rows attend to columns", left + side / 2, TOP + side + below + 4, {
    anchor: "middle",
    baseline: "top",
    size: 11.5,
    fill: ink.text,
  });
}

// Cells row by row, then the names of the rows: `findCell` counts on this order.
function squareTargets({ m, n, left, cell }) {
  const targets = [];
  for (let r = 0; r < n; r++) {
    for (let c = 0; c < n; c++) targets.push(new Cell(m, r, c, left + c * cell, TOP + r * cell, cell));
  }
  m.rows.forEach((name, r) =>
    targets.push({
      x: 0,
      y: TOP + r * cell,
      w: left - 3,
      h: cell,
      r,
      c: r,
      row: true,
      tip: [m.whole ? m.whole(r) : name].flat(),
    })
  );
  return targets;
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

function findCell({ m, n, left, cell }, x, y) {
  const r = Math.floor((y - TOP) / cell), c = Math.floor((x - left) / cell);
  if (!m || r < 0 || r >= n || c >= n) return -1;
  return x < left - 3 ? n * n + r : c < 0 ? -1 : r * n + c;
}

// Arrow keys walk through the cells; on the names of rows, up and down.
function stepCell(plot, n, dx, dy) {
  const t = plot.targets[plot.at];
  if (!plot.targets.length) return;
  if (!t) return plot.go(0, true);
  const held = (v) => Math.min(n - 1, Math.max(0, v));
  plot.go(held(t.r + dy) * n + held((t.row ? -1 : t.c) + dx), true);
}

function squareRows(m) {
  const rows = m
    ? m.rows.flatMap((looks, r) => m.rows.map((at, c) => [looks, at, +m.values[r * m.n + c].toPrecision(4)]))
    : [];
  return { columns: ["from", "to", "attention"], rows };
}
