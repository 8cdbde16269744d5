// What the drawings of attention share: colours of maps, names that fit, and words where there is nothing.

const SHADES = Array.from({ length: 256 }, (_, k) => cividis(k / 255).match(/\d+/g).map(Number));

// Pixels of a square map, from 0 to `high`.
function pixels(values, high) {
  const rgba = new Uint8ClampedArray(4 * values.length);
  values.forEach((v, i) => {
    const shade = SHADES[Math.max(0, Math.min(255, Math.round((255 * v) / high)))];
    rgba.set(shade, 4 * i);
    rgba[4 * i + 3] = 255;
  });
  return rgba;
}

// Where a chart has no maps to draw.
function nothing(pen, w, ink, words) {
  pen.text(words, w / 2, 20, { anchor: "middle", fill: ink.soft });
  return [];
}
