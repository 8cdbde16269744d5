// Dots of samples, a row a feature: rows {key, label, mark, bold, dots: [{i, x, share, tip}]}. Of more abundance a
// dot is larger and lighter.

const STRIP = 30; // pixels of a row

function strips(view, { rows, x, selected, picked, ...more }) {
  const draw = (pen, w, h, ink) => {
    const shown = rows(), room = Math.min(230, w * 0.38), box = { x: room, y: 26, w: w - room - 16, h: h - 26 - 46 };
    const domain = padded(extent([0, ...shown.flatMap((r) => r.dots.map((d) => d.x))]), 0.04);
    const { sx } = axes(pen, box, {
      x: { grid: true, domain, ...now(x) },
      y: { domain: [0, 1], ticks: [], grid: false },
    }, ink);
    pen.line(sx(0), box.y, sx(0), box.y + box.h, { stroke: ink.soft });
    if (shown.some((r) => r.dots.some((d) => isNumber(d.share)))) drawAbundanceLegend(pen, box, ink);
    const some = selected();
    return shown.flatMap((row, k) => {
      const y = box.y + (box.h / Math.max(1, shown.length)) * (k + 0.5), on = picked() !== "" && picked() === row.key;
      if (on) pen.rect(0, y - STRIP / 2, w, STRIP, { fill: ink.text, alpha: 0.08 });
      pen.line(box.x, y, box.x + box.w, y, { stroke: ink.faint });
      rowLabel(pen, row.label, room - 8, y, { room: room - 10, mark: row.mark, bold: row.bold || on, fill: ink.text });
      return drawDots(pen, row, y, sx, some, ink);
    });
  };
  return new Plot(view, {
    height: () => 76 + STRIP * Math.max(1, rows().length),
    rows: () => ({
      columns: ["feature", "sample_id", "attribution", "abundance"],
      rows: rows().flatMap((r) => r.dots.map((d) => [r.key, d.id, d.x, d.share])),
    }),
    ...more,
    draw,
  });
}

function drawAbundanceLegend(pen, { x, w }, ink) {
  const style = { size: 11, fill: ink.soft }, dots = 70, high = textWidth("high", style);
  const words =
    ["abundance in the row: low", "abundance: low", "low"].find((s) => textWidth(s, style) + dots + high <= w) || "low";
  const from = x + textWidth(words, style) + 10;
  pen.text(words, x, 10, style);
  [0, 0.25, 0.5, 0.75, 1].forEach((s, k) =>
    pen.mark(0, from + 12 * k, 10, 2.4 + 2.4 * s, { fill: cividis(0.15 + 0.85 * s), stroke: ink.text, width: 0.5 })
  );
  pen.text("high", from + 60, 10, style);
}

// Dots that would lie on one another are moved up and down in turn.
function drawDots(pen, row, y, sx, selected, ink) {
  const [low, high] = extent(row.dots.map((d) => d.share).filter((s) => s > 0).map(Math.log)), crowd = new Map();
  return row.dots.map((d) => {
    const share = d.share > 0 ? (Math.log(d.share) - low) / (high - low || 1) : d.share === 0 ? 0 : null;
    const slot = Math.round(sx(d.x) / 5), n = crowd.get(slot) || 0;
    crowd.set(slot, n + 1);
    const off = Math.min(STRIP / 2 - 4, 3.4 * Math.ceil(n / 2)) * (n % 2 ? 1 : -1), front = selected.has(d.i);
    const r = share === null ? 3.2 : 2.4 + 2.4 * share;
    const fill = share === null ? signColour(d.x) : cividis(Math.round(20 * (0.15 + 0.85 * share)) / 20);
    pen.mark(0, sx(d.x), y + off, Math.round(2 * r) / 2 + (front ? 1 : 0), {
      fill,
      stroke: front ? UP : ink.text,
      width: front ? 2 : 0.5,
      alpha: selected.size && !front ? 0.3 : 0.9,
    });
    return { x: sx(d.x), y: y + off, r, i: d.i, key: row.key, tip: d.tip };
  });
}
