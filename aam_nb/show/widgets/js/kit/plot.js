// A drawing that can be pointed at, walked through with the arrow keys, lassoed and saved.
//
// `draw(pen, width, height, ink)` draws and gives its targets: {x, y, r} or {x, y, w, h}, each with `tip` (lines of
// text,
// or a function that gives them) and what else the plot wants back. A second canvas on top holds what follows the
// pointer, so that moving it redraws nothing else.

class Plot {
  constructor(
    view,
    { title, describe, height = 300, draw, rows = null, pick = null, lasso = null, hover = null, grip = null },
  ) {
    Object.assign(this, { view, title, describe, height, draw, rows, pick, lasso, hover, grip });
    this.targets = [];
    this.at = -1; // the target under the pointer or the keys
    this.base = node("canvas", { class: "aam-base", "aria-hidden": "true" });
    this.over = node("canvas", {
      class: "aam-over",
      tabindex: "0",
      role: "application",
      "aria-roledescription": "plot",
    });
    this.tip = node("div", { class: "aam-tip", hidden: true, "aria-hidden": "true" });
    this.el = node("div", { class: "aam-plot" }, this.base, this.over, this.tip);
    this._listen();
    this.sized = new ResizeObserver(() => this.redraw());
    this.sized.observe(this.el);
    view.plots.push(this);
  }

  get size() {
    const tall = typeof this.height === "function" ? this.height(this.el.clientWidth) : this.height;
    return [Math.max(120, this.el.clientWidth), Math.max(40, Math.round(tall))];
  }

  redraw() {
    if (!this.el.isConnected || !this.el.clientWidth) return;
    this.view.guard(() => {
      const [w, h] = this.size;
      const context = fit(this.base, w, h);
      context.clearRect(0, 0, w, h);
      this.targets = this.draw(new CanvasPen(context), w, h, this.view.ink()) || [];
      if (this.at >= this.targets.length) this.at = -1;
      const label = `${text(this.title)}. ${text(this.describe)} ${
        this.targets.length ? "Arrow keys move through it, Enter selects." : ""
      }`;
      this.over.setAttribute("aria-label", label);
      this._mark();
    });
  }

  // -- pointing ---------------------------------------------------------------------------------------------------------

  find(x, y) {
    let best = -1, nearest = 144; // within 12 pixels of a point
    this.targets.forEach((t, i) => {
      if (t.w !== undefined) {
        if (x >= t.x && x <= t.x + t.w && y >= t.y && y <= t.y + t.h) {
          best = i;
          nearest = 0;
        }
      } else {
        const d = (t.x - x) ** 2 + (t.y - y) ** 2;
        if (d < nearest) [best, nearest] = [i, d];
      }
    });
    return best;
  }

  go(i, say = false) {
    if (i === this.at && !say) return;
    this.at = i;
    this._mark();
    const target = this.targets[i];
    if (this.hover) this.view.guard(() => this.hover(target || null));
    if (say && target) this.view.say([].concat(now(target.tip) || []).join(", "));
  }

  choose(i, event) {
    if (this.pick && this.targets[i]) this.view.guard(() => this.pick(this.targets[i], event));
  }

  // The next target in the direction of an arrow key: the nearest whose way there is mostly that way.
  step(dx, dy) {
    if (!this.targets.length) return;
    if (this.at < 0) return this.go(0, true);
    const centre = (t) => (t.w === undefined ? [t.x, t.y] : [t.x + t.w / 2, t.y + t.h / 2]);
    const [x, y] = centre(this.targets[this.at]);
    let best = -1, cost = Infinity;
    this.targets.forEach((t, i) => {
      if (i === this.at) return;
      const [tx, ty] = centre(t);
      const along = (tx - x) * dx + (ty - y) * dy, aside = Math.abs((tx - x) * dy) + Math.abs((ty - y) * dx);
      if (along > 0.5 && along + 3 * aside < cost) [best, cost] = [i, along + 3 * aside];
    });
    if (best >= 0) this.go(best, true);
  }

  _mark() {
    const [w, h] = this.size;
    const c = fit(this.over, w, h);
    c.clearRect(0, 0, w, h);
    const ink = this.view.ink(), t = this.targets[this.at];
    if (this.grip) this.view.guard(() => this.grip.draw(new CanvasPen(c), w, h, ink));
    if (this.trail && this.trail.length > 1) {
      const pen = new CanvasPen(c);
      pen.path(this.trail, { fill: ink.text, alpha: 0.12, close: true });
      pen.path(this.trail, { stroke: ink.text, dash: [4, 3], close: true });
    }
    this.tip.hidden = !t || !t.tip;
    if (!t) return;
    c.strokeStyle = ink.text;
    c.lineWidth = 2;
    c.beginPath();
    if (t.w === undefined) c.arc(t.x, t.y, (t.r || 4) + 3, 0, 2 * Math.PI);
    else c.rect(t.x, t.y, t.w, t.h);
    c.stroke();
    if (!t.tip) return;
    this.tip.replaceChildren(...[].concat(now(t.tip)).map((line) => node("div", {}, line)));
    const x = t.w === undefined ? t.x : t.x + t.w / 2, y = t.w === undefined ? t.y : t.y + t.h / 2;
    const tw = this.tip.offsetWidth, th = this.tip.offsetHeight;
    this.tip.style.left = `${Math.max(0, Math.min(x + 12 + tw > w ? x - tw - 12 : x + 12, w - tw))}px`;
    this.tip.style.top = `${Math.max(0, Math.min(y + 12 + th > h ? y - th - 12 : y + 12, h - th))}px`;
  }

  // -- mouse and keys ---------------------------------------------------------------------------------------------------

  _listen() {
    const over = this.over;
    this.start = null; // where the mouse button went down
    over.addEventListener("pointerdown", (e) => this._press(e));
    over.addEventListener("pointermove", (e) => this._drag(...this._where(e)));
    over.addEventListener("pointerup", (e) => this._release(e));
    over.addEventListener("pointercancel", () => {
      this.start = this.trail = this.held = null;
      this._mark();
    });
    over.addEventListener("pointerleave", () => !this.start && document.activeElement !== over && this.go(-1));
    over.addEventListener("blur", () => this.go(-1));
    over.addEventListener("keydown", (e) => {
      if (!this._key(e)) return;
      e.preventDefault();
      e.stopPropagation(); // the notebook has keys of its own
    });
  }

  _where(event) {
    const r = this.over.getBoundingClientRect();
    return [event.clientX - r.left, event.clientY - r.top];
  }

  _press(event) {
    if (event.button !== 0) return;
    this.start = this._where(event);
    this.trail = null;
    this.held = this.grip && this.grip.takes(...this.start, ...this.size);
    this.over.setPointerCapture(event.pointerId);
    if (this.held) this.view.guard(() => this.grip.move(...this.start, ...this.size));
  }

  _drag(x, y) {
    const start = this.start;
    if (start && this.held) {
      this.view.guard(() => this.grip.move(x, y, ...this.size));
      return this._mark();
    }
    if (start && this.lasso && (this.trail || Math.hypot(x - start[0], y - start[1]) > 4)) {
      this.trail = this.trail || [start];
      this.trail.push([x, y]);
      return this._mark();
    }
    this.go(this.find(x, y));
    const grips = this.grip && this.grip.takes(x, y, ...this.size), picks = this.at >= 0 && this.pick;
    this.over.style.cursor = grips ? "ew-resize" : picks ? "pointer" : this.lasso ? "crosshair" : "default";
  }

  _release(event) {
    if (!this.start) return;
    const { trail, held } = this;
    this.start = this.trail = this.held = null;
    if (held) return this.view.guard(() => this.grip.done && this.grip.done());
    if (trail && trail.length > 2) {
      const around = this.targets.filter((t) => within(trail, t.x, t.y));
      this._mark();
      return this.view.guard(() => this.lasso(around, event));
    }
    const i = this.find(...this._where(event));
    this.go(i);
    this.choose(i, event);
  }

  // What a key does; whether it does anything.
  _key(event) {
    const { key } = event, arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (this.grip && this.grip.key && this.grip.key(key, event.shiftKey)) this._mark();
    else if (arrows[key]) this.step(...arrows[key]);
    else if (key === "Home") this.go(0, true);
    else if (key === "End") this.go(this.targets.length - 1, true);
    else if (key === "Enter" || key === " ") this.choose(this.at, event);
    else if (key === "Escape" && this.at >= 0) this.go(-1);
    else if (key === "Escape" && this.lasso) this.view.guard(() => this.lasso([], event));
    else return false;
    return true;
  }

  // -- saving -----------------------------------------------------------------------------------------------------------

  _whole(pen, w, h, ink) {
    pen.rect(0, 0, w, h + 30, { fill: ink.paper });
    pen.text(text(this.title), 10, 16, { size: 14, weight: "bold", fill: ink.text });
    pen.shifted(0, 30, () => {
      this.draw(pen, w, h, ink);
      if (this.grip) this.grip.draw(pen, w, h, ink);
    });
  }

  svg() {
    const [w, h] = this.size, pen = new SvgPen();
    this._whole(pen, w, h, LIGHT);
    return pen.page(w, h + 30, text(this.title));
  }

  png() {
    const [w, h] = this.size, canvas = document.createElement("canvas");
    this._whole(new CanvasPen(fit(canvas, w, h + 30, 2)), w, h, LIGHT);
    return new Promise((done, failed) =>
      canvas.toBlob((blob) => (blob ? done(blob) : failed(new Error("the picture is too large"))), "image/png")
    );
  }
}

function fit(canvas, w, h, ratio = window.devicePixelRatio || 1) {
  const [cw, ch] = [Math.round(w * ratio), Math.round(h * ratio)];
  if (canvas.width !== cw || canvas.height !== ch) {
    [canvas.width, canvas.height] = [cw, ch];
    canvas.style.width = `${w}px`;
    canvas.style.height = `${h}px`;
  }
  const c = canvas.getContext("2d");
  c.setTransform(ratio, 0, 0, ratio, 0, 0);
  return c;
}

// Whether a point lies in a polygon: the parity of edges crossed by a ray to the right.
function within(polygon, x, y) {
  let inside = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
    const [xi, yi] = polygon[i], [xj, yj] = polygon[j];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) inside = !inside;
  }
  return inside;
}

// Text that a spreadsheet would run as a formula gets an apostrophe in front, as in aam_nb/config/spreadsheet.py.
const FORMULA = /^'*(?:[=@]|[+-](?!(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$)|[\t\r\n])[^]/;
const unrun = (v) => (typeof v === "string" && FORMULA.test(v) ? `'${v}` : v);

// A comma-separated table: quoted where it must be.
function csv({ columns, rows }) {
  const cell = (v) => {
    const text = v === null || v === undefined ? "" : String(unrun(v));
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [columns, ...rows].map((row) => row.map(cell).join(",")).join("\n") + "\n";
}

function download(blob, name) {
  const link = node("a", { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
