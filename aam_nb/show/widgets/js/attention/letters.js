// Bars above the letters of an ASV, in lines that fit: `places()` gives {dna, spans, values, even, tip(k)} or null.

const LETTERS = { left: 46, tall: 84, up: 46 }; // pixels: left of a line, of a line with its letters, of the highest bar

function letterBars(view, { places, hot, heat, ...more }) {
  const draw = (pen, w, _h, ink) => {
    const layout = lettersLayout(w, places()), { asv } = layout;
    if (!asv) return nothing(pen, w, ink, "Choose an ASV");
    const high = Math.max(1e-12, ...asv.values);
    drawLines(pen, layout, high, ink);
    const targets = asv.spans.map((_, k) => drawSpan(pen, layout, k, high, ink));
    if (asv.even <= high) drawEven(pen, layout, high, ink);
    return targets;
  };
  const plot = new Plot(view, {
    height: (w) => 6 + lettersLayout(w, places()).lines * LETTERS.tall,
    hover: (t) => heat(t ? [t.k, t.k] : null, plot),
    grip: {
      takes: () => false,
      draw: (pen, w, _h, ink) => {
        const layout = lettersLayout(w, places());
        if (!hot() || !layout.asv) return;
        for (const k of new Set(hot())) {
          const b = spanBox(layout, k);
          pen.rect(b.x, b.y, b.w, b.h, { stroke: ink.text, width: 1.5 });
        }
      },
    },
    ...more,
    draw,
  });
  return plot;
}

// How many spans stand on a line, all lines being of one length, and how wide a letter is.
function lettersLayout(w, asv) {
  const room = w - LETTERS.left - 12, span = asv ? asv.spans[0][1] - asv.spans[0][0] + 1 : 1;
  const fitting = Math.max(1, Math.floor(room / 8 / span));
  const lines = asv ? Math.ceil(asv.spans.length / fitting) : 1, each = asv ? Math.ceil(asv.spans.length / lines) : 1;
  return { asv, lines, each, wide: Math.min(15, room / (each * span)), span };
}

function spanBox({ asv, each, span, wide }, k) {
  const [first, last] = asv.spans[k];
  return {
    x: LETTERS.left + (k % each) * span * wide,
    y: 6 + Math.floor(k / each) * LETTERS.tall,
    w: (last - first + 1) * wide,
    h: LETTERS.up + 18,
  };
}

const lineEnd = ({ asv, each, span, wide }, row) =>
  LETTERS.left + Math.min(each, asv.spans.length - row * each) * span * wide;

// The axes: a line below the bars, with 0 and the largest number.
function drawLines(pen, layout, high, ink) {
  const { left, tall, up } = LETTERS, style = { anchor: "end", size: 9.5, fill: ink.soft };
  for (let row = 0; row < layout.lines; row++) {
    const base = 6 + row * tall + up;
    pen.line(left, base, lineEnd(layout, row), base, { stroke: ink.soft });
    pen.text(number(high, 2), left - 5, base - up + 4, style);
    pen.text("0", left - 5, base - 2, style);
  }
}

// One bar and the letters below it.
function drawSpan(pen, layout, k, high, ink) {
  const { asv, wide } = layout, b = spanBox(layout, k), base = b.y + LETTERS.up, [first, last] = asv.spans[k];
  const size = (asv.values[k] / high) * (LETTERS.up - 2);
  pen.rect(b.x + 0.5, base - size, Math.max(0.6, b.w - 1), size, { fill: PALETTE[0] });
  for (let p = first; p <= last; p++) {
    const x = b.x + (p - first + 0.5) * wide, letter = asv.dna[p - 1];
    pen.text(letter, x, base + 9, {
      anchor: "middle",
      size: Math.min(12, wide * 1.35),
      weight: "bold",
      font: "monospace",
      fill: LETTER_COLORS[letter] || ink.text,
    });
    if (p % 10 === 0 || p === 1) pen.text(p, x, base + 22, { anchor: "middle", size: 9, fill: ink.soft });
  }
  return { ...b, k, tip: asv.tip(k) };
}

// What every position would have if attention were even.
function drawEven(pen, layout, high, ink) {
  for (let row = 0; row < layout.lines; row++) {
    const y = 6 + row * LETTERS.tall + LETTERS.up - (layout.asv.even / high) * (LETTERS.up - 2);
    pen.line(LETTERS.left, y, lineEnd(layout, row), y, { stroke: ink.text, dash: [4, 3] });
  }
}
