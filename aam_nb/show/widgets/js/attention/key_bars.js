// Keys of a sample as bars: `keys()` gives {rows: [{label, rank, value, dots, tip, plain}], even, label, shape} or
// null.

const KEY = 17; // pixels of a bar

function keyBars(view, { keys, chosen, hot, heat, pick, ...more }) {
  const top = 4;
  const draw = (pen, w, _h, ink) => {
    const all = keys();
    if (!all) return nothing(pen, w, ink, "Nothing to draw yet");
    const left = Math.min(250, w * 0.5), box = { x: left, y: top, w: w - left - 52, h: KEY * all.rows.length };
    const asvs = all.rows.filter((k) => !k.plain), largest = Math.max(1e-9, ...asvs.map((k) => k.value));
    const high = Math.min(3 * largest, Math.max(largest, ...asvs.flatMap((k) => k.dots))); // one head does not shrink all bars
    const { sx } = axes(pen, box, {
      x: { domain: [0, high * 1.02], label: all.label, grid: true },
      y: { domain: [0, 1], ticks: [], grid: false },
    }, ink);
    const place = { w, box, sx, most: high * 1.02, shape: all.shape };
    const targets = all.rows.map((key, i) => {
      const y = top + (i + 0.5) * KEY;
      drawKey(pen, key, y, i === chosen(), place, ink);
      return { x: 0, y: y - KEY / 2, w, h: KEY, k: i, tip: key.tip };
    });
    if (all.even <= high) {
      pen.line(sx(all.even), box.y, sx(all.even), box.y + box.h, { stroke: ink.text, dash: [4, 3] });
    }
    return targets;
  };
  const plot = new Plot(view, {
    height: () => top + KEY * ((keys() || { rows: [] }).rows.length || 2) + 44,
    hover: (t) => heat(t ? [t.k, t.k] : null, plot),
    pick: (t) => pick(t.k),
    grip: {
      takes: () => false,
      draw: (pen, w, _h, ink) => {
        if (!hot() || !keys()) return;
        const shown = [...new Set(hot())].filter((k) => k < keys().rows.length);
        shown.forEach((k) => pen.rect(1, top + k * KEY, w - 2, KEY, { stroke: ink.text, width: 1.5 }));
      },
    },
    ...more,
    draw,
  });
  return plot;
}

// The bar of the value, and a mark a head; what goes beyond the axis ends in a triangle.
function drawKey(pen, key, y, on, { w, box, sx, most, shape }, ink) {
  const end = Math.min(sx(key.value), box.x + box.w);
  if (on) pen.rect(0, y - KEY / 2, w, KEY, { fill: UP, alpha: 0.16 });
  const words = `${on ? "▸ " : ""}${key.rank ? `${key.rank}  ` : ""}${key.label}`;
  rowLabel(pen, words, box.x - 7, y, { room: box.x - 9, size: 11, bold: on, fill: key.plain ? ink.soft : ink.text });
  pen.rect(box.x, y - 5, Math.max(0.5, end - box.x), 10, { fill: key.plain ? GREY : PALETTE[0] });
  key.dots.forEach((v) => {
    const inside = v <= most;
    pen.mark(inside ? shape : 7, inside ? sx(v) : box.x + box.w, y, inside && !shape ? 2.2 : 4, {
      fill: PALETTE[1],
      stroke: ink.text,
      width: 0.7,
    });
  });
  if (key.value <= most) return;
  pen.text("▸", end + 3, y, { size: 10, fill: ink.soft });
  pen.text(number(key.value, 2), end + 13, y, { size: 10.5, fill: ink.text });
}
