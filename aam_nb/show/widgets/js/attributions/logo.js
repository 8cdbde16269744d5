// Letters as high as what their positions were given, above 0 where they raise the prediction: `asv()` gives
// {letters, mean, low, high}, from..to.

const MONOSPACE = '"DejaVu Sans Mono", Menlo, Consolas, monospace', GLYPH = 20; // pixels of a letter before it is stretched

function logo(view, { asv, from, to, y, tip, picked, ...more }) {
  const glyph = glyphs();
  const draw = (pen, w, h, ink) => {
    const values = asv();
    if (!values || values.missing) return [];
    const a = from(), b = to(), box = { x: 64, y: 8, w: w - 64 - 10, h: h - 8 - 44 }, n = b - a + 1, cell = box.w / n;
    const places = Array.from({ length: n }, (_, k) => a - 1 + k),
      every = [1, 2, 5, 10, 20, 50, 100, 200].find((s) => s * cell >= 34) || 500;
    const all = [0, ...values.mean, ...values.low, ...values.high]; // one scale for the whole ASV
    const x = {
      label: "position, nucleotides",
      domain: [a - 0.5, b + 0.5],
      ticks: places.map((p) => p + 1).filter((p) => p % every === 0 || p === a),
    };
    const { sx, sy } = axes(pen, box, { x, y: { label: y(), room: 54, domain: padded(extent(all), 0.06) } }, ink);
    pen.line(box.x, sy(0), box.x + box.w, sy(0), { stroke: ink.soft });
    return places.map((p) => {
      const v = values.mean[p], left = sx(p + 0.5), high = Math.abs(sy(v) - sy(0)), top = v >= 0 ? sy(v) : sy(0);
      if (cell >= 7 && isNumber(values.low[p])) {
        pen.line(left + cell / 2, sy(values.low[p]), left + cell / 2, sy(values.high[p]), {
          stroke: ink.soft,
          width: 1,
          alpha: 0.7,
        });
      }
      if (high >= 0.4) {
        drawGlyph(pen, values.letters[p], glyph(values.letters[p]), { x: left, y: top, w: cell, h: high });
      }
      if (picked() === p + 1) pen.rect(left, box.y, cell, box.h, { stroke: ink.text });
      return { x: left, y: Math.min(top, sy(0) - 4), w: cell, h: Math.max(8, high), p, tip: tip(p) };
    });
  };
  return new Plot(view, { height: 240, ...more, draw });
}

// How far the ink of a letter reaches, measured once a letter.
function glyphs() {
  const context = document.createElement("canvas").getContext("2d"), measured = new Map();
  context.font = `bold ${GLYPH}px ${MONOSPACE}`;
  return (letter) => {
    if (!measured.has(letter)) {
      const m = context.measureText(letter);
      measured.set(letter, {
        left: m.actualBoundingBoxLeft,
        wide: m.actualBoundingBoxLeft + m.actualBoundingBoxRight,
        up: m.actualBoundingBoxAscent,
        down: m.actualBoundingBoxDescent,
      });
    }
    return measured.get(letter);
  };
}

// A letter stretched so that its ink fills a box.
function drawGlyph(pen, letter, { left, wide, up, down }, { x, y, w, h }) {
  const kx = (w * 0.92) / wide, ky = h / (up + down);
  pen.text(letter, x + w * 0.04 + left * kx, y + h - down * ky, {
    size: GLYPH,
    weight: "bold",
    font: MONOSPACE,
    baseline: "alphabetic",
    fill: LETTER_COLORS[letter] || GREY,
    stretch: [kx, ky],
  });
}
