// Two pens with the same strokes: one draws on a canvas, one writes SVG. A plot is drawn by either, so what is saved
// is what is seen.

const FONT = 'system-ui, "DejaVu Sans", sans-serif';
const BASELINES = { middle: "central", top: "text-before-edge", bottom: "text-after-edge", alphabetic: "alphabetic" };

// Corners of a marker around 0, for radius 1; null is a circle. The order is that of the figures' markers.
const SHAPES = [
  null,
  [[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]],
  [[0, -1.2], [1.2, 0], [0, 1.2], [-1.2, 0]],
  [[0, -1.2], [1.1, 0.9], [-1.1, 0.9]],
  [[0, 1.2], [1.1, -0.9], [-1.1, -0.9]],
  [
    [-0.4, -1.2],
    [0.4, -1.2],
    [0.4, -0.4],
    [1.2, -0.4],
    [1.2, 0.4],
    [0.4, 0.4],
    [0.4, 1.2],
    [-0.4, 1.2],
    [-0.4, 0.4],
    [-1.2, 0.4],
    [-1.2, -0.4],
    [-0.4, -0.4],
  ],
  [[-1.2, 0], [0.9, -1.1], [0.9, 1.1]],
  [[1.2, 0], [-0.9, -1.1], [-0.9, 1.1]],
];

class CanvasPen {
  constructor(context) {
    this.c = context;
  }

  line(x1, y1, x2, y2, { stroke = "#000", width = 1, dash = [], alpha = 1 } = {}) {
    this.path([[x1, y1], [x2, y2]], { stroke, width, dash, alpha });
  }

  path(points, { stroke = null, fill = null, width = 1, dash = [], close = false, alpha = 1 } = {}) {
    if (!points.length) return;
    const c = this.c;
    c.globalAlpha = alpha;
    c.beginPath();
    points.forEach(([x, y], i) => (i ? c.lineTo(x, y) : c.moveTo(x, y)));
    if (close) c.closePath();
    this._paint(fill, stroke, width, dash);
  }

  rect(x, y, w, h, { stroke = null, fill = null, width = 1, alpha = 1 } = {}) {
    const c = this.c;
    c.globalAlpha = alpha;
    c.beginPath();
    c.rect(x, y, w, h);
    this._paint(fill, stroke, width, []);
  }

  // Markers are stamped: thousands are drawn at once, of few kinds.
  mark(shape, x, y, r, { stroke = null, fill = null, width = 1, alpha = 1 } = {}) {
    const c = this.c,
      ratio = (this.ratio ||= c.getTransform().a),
      half = Math.ceil(1.3 * r + width),
      snap = (v) => Math.round((v - half) * ratio) / ratio;
    c.globalAlpha = alpha;
    c.drawImage(
      stamp(shape % SHAPES.length, r, half, ratio, { stroke, fill, width }),
      snap(x),
      snap(y),
      2 * half,
      2 * half,
    );
  }

  text(
    words,
    x,
    y,
    {
      fill = "#000",
      size = 12,
      anchor = "start",
      baseline = "middle",
      angle = 0,
      weight = "normal",
      font = FONT,
      stretch = null,
    } = {},
  ) {
    const c = this.c;
    c.save();
    c.globalAlpha = 1;
    c.translate(x, y);
    c.rotate((angle * Math.PI) / 180);
    if (stretch) c.scale(stretch[0], stretch[1]);
    c.font = `${weight} ${size}px ${font}`;
    c.fillStyle = fill;
    c.textAlign = anchor === "middle" ? "center" : anchor;
    c.textBaseline = baseline;
    c.fillText(String(words), 0, 0);
    c.restore();
  }

  // A picture of pixels (RGBA, row by row), stretched without smoothing.
  raster(x, y, w, h, columns, pixels) {
    this.c.globalAlpha = 1;
    this.c.imageSmoothingEnabled = false;
    this.c.drawImage(picture(columns, pixels), x, y, w, h);
  }

  inside(x, y, w, h, draw) {
    this.c.save();
    this.c.beginPath();
    this.c.rect(x, y, w, h);
    this.c.clip();
    draw();
    this.c.restore();
  }

  shifted(dx, dy, draw) {
    this.c.save();
    this.c.translate(dx, dy);
    draw();
    this.c.restore();
  }

  _paint(fill, stroke, width, dash) {
    const c = this.c;
    if (fill) {
      c.fillStyle = fill;
      c.fill();
    }
    if (stroke) {
      c.strokeStyle = stroke;
      c.lineWidth = width;
      c.setLineDash(dash);
      c.stroke();
    }
    c.globalAlpha = 1;
  }
}

const stamps = new Map();

function stamp(shape, r, half, ratio, { stroke, fill, width }) {
  const key = [shape, r, ratio, stroke, fill, width].join();
  if (stamps.has(key)) return stamps.get(key);
  if (stamps.size > 2000) stamps.clear();
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = Math.ceil(2 * half * ratio);
  const c = canvas.getContext("2d"), corners = SHAPES[shape];
  c.scale(canvas.width / (2 * half), canvas.width / (2 * half));
  c.translate(half, half);
  c.beginPath();
  if (corners) corners.forEach(([a, b], i) => (i ? c.lineTo(a * r, b * r) : c.moveTo(a * r, b * r)));
  else c.arc(0, 0, r, 0, 2 * Math.PI);
  c.closePath();
  Object.assign(c, { fillStyle: fill || "#000", strokeStyle: stroke || "#000", lineWidth: width });
  if (fill) c.fill();
  if (stroke) c.stroke();
  stamps.set(key, canvas);
  return canvas;
}

function picture(columns, pixels) {
  const canvas = document.createElement("canvas");
  canvas.width = columns;
  canvas.height = pixels.length / 4 / columns;
  canvas.getContext("2d").putImageData(new ImageData(pixels, columns), 0, 0);
  return canvas;
}

const escaped = (text) =>
  String(text)
    // deno-lint-ignore no-control-regex -- XML allows none of these
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g, " ")
    .replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
const short2 = (v) => +v.toFixed(2);

class SvgPen {
  constructor() {
    this.parts = [];
    this.clips = 0;
  }

  line(x1, y1, x2, y2, style = {}) {
    this.path([[x1, y1], [x2, y2]], { stroke: "#000", ...style });
  }

  path(points, style = {}) {
    if (!points.length) return;
    const d = points.map(([x, y], i) => `${i ? "L" : "M"}${short2(x)} ${short2(y)}`).join("") +
      (style.close ? "Z" : "");
    this.parts.push(`<path d="${d}"${this._style(style)}/>`);
  }

  rect(x, y, w, h, style = {}) {
    this.parts.push(
      `<rect x="${short2(x)}" y="${short2(y)}" width="${short2(Math.max(0, w))}" height="${short2(Math.max(0, h))}"${
        this._style(style)
      }/>`,
    );
  }

  mark(shape, x, y, r, style = {}) {
    const corners = SHAPES[shape % SHAPES.length];
    if (corners) return this.path(corners.map(([a, b]) => [x + a * r, y + b * r]), { ...style, close: true });
    this.parts.push(`<circle cx="${short2(x)}" cy="${short2(y)}" r="${short2(r)}"${this._style(style)}/>`);
  }

  text(
    words,
    x,
    y,
    {
      fill = "#000",
      size = 12,
      anchor = "start",
      baseline = "middle",
      angle = 0,
      weight = "normal",
      font = FONT,
      stretch = null,
    } = {},
  ) {
    const place = [`translate(${short2(x)} ${short2(y)})`];
    if (angle) place.push(`rotate(${angle})`);
    if (stretch) place.push(`scale(${stretch.map(short2).join(" ")})`);
    this.parts.push(
      `<text transform="${place.join(" ")}" font-family="${
        escaped(font)
      }" font-size="${size}" font-weight="${weight}" fill="${escaped(fill)}" ` +
        `text-anchor="${anchor}" dominant-baseline="${BASELINES[baseline]}">${escaped(words)}</text>`,
    );
  }

  raster(x, y, w, h, columns, pixels) {
    const place = [x, y, w, h].map(short2);
    this.parts.push(
      `<image x="${place[0]}" y="${place[1]}" width="${place[2]}" height="${
        place[3]
      }" preserveAspectRatio="none" style="image-rendering:pixelated" ` +
        `href="${picture(columns, pixels).toDataURL()}"/>`,
    );
  }

  inside(x, y, w, h, draw) {
    const id = `clip${(this.clips += 1)}`;
    this.parts.push(
      `<clipPath id="${id}"><rect x="${x}" y="${y}" width="${w}" height="${h}"/></clipPath><g clip-path="url(#${id})">`,
    );
    draw();
    this.parts.push("</g>");
  }

  shifted(dx, dy, draw) {
    this.parts.push(`<g transform="translate(${dx} ${dy})">`);
    draw();
    this.parts.push("</g>");
  }

  _style({ stroke = null, fill = null, width = 1, dash = [], alpha = 1 }) {
    const dashed = dash.length ? ` stroke-dasharray="${dash.join(" ")}"` : "";
    return ` fill="${escaped(fill || "none")}"` +
      (stroke ? ` stroke="${escaped(stroke)}" stroke-width="${width}"${dashed}` : "") +
      (alpha < 1 ? ` opacity="${alpha}"` : "");
  }

  page(width, height, title) {
    return (
      `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">` +
      `<title>${escaped(title)}</title>${this.parts.join("")}</svg>`
    );
  }
}
