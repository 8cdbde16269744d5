// The frame around an explorer: its state, its controls, its panels, and what it says.
//
// Text from a file reaches the page as text nodes only: nothing here writes HTML.

function node(tag, props = {}, ...children) {
  const el = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) el.addEventListener(name.slice(2), value);
    else if (name === "value") el.value = value;
    else el.setAttribute(name, value === true ? "" : value);
  }
  el.append(
    ...children.flat().filter((c) => c !== null && c !== undefined && c !== false).map((
      c,
    ) => (c instanceof Node ? c : document.createTextNode(String(c)))),
  );
  return el;
}

// Facts, a name above its value.
const fact = (name, value) => node("div", {}, node("dt", {}, name), node("dd", {}, value));
const facts = (pairs) => node("dl", { class: "aam-facts" }, pairs.map(([name, value]) => fact(name, value)));

// A function that makes its value anew only when one of its inputs is another.
function remembered(inputs, make) {
  let before, value;
  return () => {
    const fresh = inputs();
    if (!before || fresh.some((v, k) => v !== before[k])) [before, value] = [fresh, make(...fresh)];
    return value;
  };
}

let views = 0;

class View {
  constructor(model, el) {
    Object.assign(this, { model, plots: [], hooks: [], id: `aam${(views += 1)}` });
    this.live = !model.standalone; // whether a kernel answers
    this.alerts = node("div", { class: "aam-error", role: "alert", hidden: true });
    this.heard = node("div", { class: "aam-heard", "aria-live": "polite" });
    this.body = node("div", { class: "aam-body" });
    // JupyterLab's own keys, the arrows among them, rest while one works in here.
    this.root = node("div", { class: "aam", "data-lm-suppress-shortcuts": "true" }, this.alerts, this.body, this.heard);
    el.append(this.root);
    this.watch("error", () => this.fail(model.get("error")));
    this.again = () => this.redraw();
    this.theme = new MutationObserver(this.again);
    this.theme.observe(document.body, {
      attributes: true,
      attributeFilter: ["data-jp-theme-light", "data-jp-theme-name", "data-theme", "class"],
    });
    this.dark = window.matchMedia("(prefers-color-scheme: dark)");
    this.dark.addEventListener("change", this.again);
    this.fail(model.get("error"));
  }

  close() {
    this.theme.disconnect();
    this.dark.removeEventListener("change", this.again);
    this.plots.forEach((p) => p.sized.disconnect());
    cancelAnimationFrame(this.frame);
    for (const [event, f] of this.hooks) this.model.off(event, f);
  }

  // -- state ------------------------------------------------------------------------------------------------------------

  get(name) {
    return this.model.get(name);
  }

  // Set traits, and tell the kernel where there is one.
  set(values) {
    for (const [name, value] of Object.entries(values)) this.model.set(name, value);
    this.model.save_changes();
  }

  // Call f when one of some traits changes.
  watch(names, f) {
    for (const name of [].concat(names)) {
      const event = `change:${name}`,
        safe = () => {
          if (this.failed) this.fail(this.get("error"));
          this.failed = false;
          this.guard(f);
        };
      this.model.on(event, safe);
      this.hooks.push([event, safe]);
    }
  }

  // Redraw the plots, all or some, before the next frame.
  redraw(...some) {
    const wanted = (this.wanted ||= new Set());
    (some.length ? some : this.plots).forEach((p) => wanted.add(p));
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.wanted = null;
      wanted.forEach((p) => p.redraw());
    });
  }

  // -- words ------------------------------------------------------------------------------------------------------------

  guard(f) {
    const fail = (error) => {
      console.error(error);
      this.failed = true;
      this.fail(
        `The explorer failed: ${error.message}. Its figure and table are still there in Python: \`explorer.figure()\`, \`explorer.to_frame()\`.`,
      );
    };
    try {
      const result = f();
      return result instanceof Promise ? result.catch(fail) : result;
    } catch (error) {
      fail(error);
    }
  }

  fail(words) {
    this.alerts.hidden = !words;
    this.alerts.textContent = words || "";
  }

  say(words) {
    this.heard.textContent = words;
  }

  ink() {
    const style = getComputedStyle(this.root);
    const of = (name) => style.getPropertyValue(name).trim();
    const [r, g, b] = (style.backgroundColor.match(/[\d.]+/g) || [255, 255, 255]).map(Number);
    const dark = 0.3 * r + 0.6 * g + 0.1 * b < 128;
    return {
      text: style.color,
      soft: of("--aam-soft"),
      faint: of("--aam-faint"),
      paper: style.backgroundColor,
      main: dark ? PALETTE[5] : PALETTE[0],
    };
  }

  // -- parts ------------------------------------------------------------------------------------------------------------

  // A row of controls.
  bar(...controls) {
    const el = node("div", { class: "aam-bar", role: "group" }, ...controls);
    return el;
  }

  // A titled box; `plot` gets buttons that save it. `more` are elements above, `below` those under the plot.
  panel(title, { plot = null, more = [], below = [], help = "", wide = false, table = null, name = null } = {}) {
    const heading = node("h4", {}, text(title));
    const head = node("div", { class: "aam-head" }, heading);
    const el = node(
      "section",
      {
        class: wide ? "aam-panel aam-wide" : "aam-panel",
        "aria-label": text(title),
        "data-panel": name || text(title),
      },
      head,
      ...[].concat(more),
    );
    if (help) el.append(node("p", { class: "aam-help" }, help));
    if (plot) {
      el.append(plot.el);
      head.append(this.saving(plot));
    }
    if (table) {
      el.append(table.el);
      if (!plot && table.csv) head.append(this.saving({ title: text(title), rows: table.csv }));
    }
    el.append(...[].concat(below));
    el.retitle = (words) => (heading.textContent = words);
    this.body.append(el);
    return el;
  }

  saving(plot) {
    const file = (kind) =>
      `${
        text(plot.title).toLowerCase().replace(/[^a-z0-9]+/g, "_").replace(/^_|_$/g, "").slice(0, 60) || "figure"
      }.${kind}`;
    const button = (kind, make) =>
      node("button", {
        class: "aam-save",
        type: "button",
        "data-save": kind,
        title: `Save as ${kind.toUpperCase()}`,
        "aria-label": `Save ${text(plot.title)} as ${kind.toUpperCase()}`,
        onclick: () =>
          this.guard(async () => {
            download(await make(), file(kind));
            this.say(`Saved ${file(kind)}`);
          }),
      }, kind.toUpperCase());
    const drawn = plot.svg
      ? [button("png", () => plot.png()), button("svg", () => new Blob([plot.svg()], { type: "image/svg+xml" }))]
      : [];
    const rows = plot.rows ? [button("csv", () => new Blob([csv(now(plot.rows))], { type: "text/csv" }))] : [];
    return node("span", { class: "aam-saves" }, drawn, rows);
  }

  note(words, kind = "note") {
    const el = node("p", { class: `aam-note aam-${kind}` }, text(words));
    el.update = () => {
      el.textContent = text(words);
      el.hidden = !el.textContent;
    };
    el.hidden = !el.textContent;
    return el;
  }

  // -- controls: each is bound to a trait ---------------------------------------------------------------------------------

  // `options`: a list, or a function that gives one, of values or [value, label].
  select(name, label, options, { onchange = null } = {}) {
    const box = node("select", { "aria-label": label, "data-trait": name });
    const fill = () => {
      const pairs = now(options).map((o) => (Array.isArray(o) ? o : [o, o]));
      box.replaceChildren(...pairs.map(([v, words]) => node("option", { value: String(v) }, cut(words, 48))));
      box.kept = pairs.map(([v]) => v);
      box.value = String(this.get(name));
    };
    box.addEventListener("change", () => this.set({ [name]: box.kept[box.selectedIndex] }));
    this.watch(name, () => {
      box.value = String(this.get(name));
      onchange && onchange();
    });
    fill();
    const el = node("label", { class: "aam-control" }, `${label} `, box);
    el.refill = fill;
    return el;
  }

  slider(name, label, { min, max, step = 1, format = number, log = false, oninput = null }) {
    const [to, from] = log ? [(v) => Math.log10(Math.max(1, v)), (v) => Math.round(10 ** v)] : [(v) => v, (v) => v];
    const box = node("input", {
      type: "range",
      min: to(min),
      max: to(max),
      step: log ? "any" : step,
      "aria-label": label,
      "data-trait": name,
    });
    const shown = node("output", {});
    const show = () => {
      if (from(+box.value) !== this.get(name)) box.value = to(this.get(name));
      shown.textContent = format(this.get(name));
      box.setAttribute("aria-valuetext", format(this.get(name)));
    };
    box.addEventListener("input", () => {
      this.set({ [name]: Math.min(max, Math.max(min, from(+box.value))) });
      oninput && oninput();
    });
    // JupyterLab takes the arrows of sliders; and a step of a log slider is a twentieth of the value, not a share of
    // the whole range.
    box.addEventListener("keydown", (e) => {
      const way = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[e.key];
      if (!way) return;
      e.preventDefault();
      e.stopPropagation();
      const v = this.get(name), by = log && !e.shiftKey ? Math.max(1, Math.round(v / 20)) : step;
      this.set({ [name]: Math.min(max, Math.max(min, v + way * by)) });
      oninput && oninput();
    });
    this.watch(name, show);
    box.value = to(this.get(name));
    show();
    return node("label", { class: "aam-control" }, `${label} `, box, " ", shown);
  }

  toggle(name, label) {
    const box = node("input", { type: "checkbox", "data-trait": name });
    const show = () => (box.checked = Boolean(this.get(name)));
    box.addEventListener("change", () => this.set({ [name]: box.checked }));
    this.watch(name, show);
    show();
    return node("label", { class: "aam-control" }, box, ` ${label}`);
  }

  button(label, f, props = {}) {
    return node("button", { type: "button", class: "aam-button", ...props, onclick: () => this.guard(f) }, label);
  }

  // A table: columns [{key, label, format, left}], rows of objects; `pick(row)` on click or Enter, `picked(row)`
  // marks rows.
  // Sorted by a click on a heading; the first 100 rows are shown until more are asked for.
  table(options) {
    return new Table(this, options);
  }
}

// Draw an explorer into an element; gives what takes it away again.
function mount(model, el, build) {
  const view = new View(model, el);
  view.guard(() => build(view));
  view.redraw();
  return () => view.close();
}

// What stands in for a kernel on a page that was saved: the same traits, kept here.
class SavedModel {
  constructor(values) {
    Object.assign(this, { values, standalone: true, listeners: {} });
  }

  get(name) {
    return this.values[name];
  }

  set(name, value) {
    if (this.values[name] === value) return;
    this.values[name] = value;
    for (const f of this.listeners[`change:${name}`] || []) f();
  }

  save_changes() {}

  on(event, f) {
    (this.listeners[event] ||= []).push(f);
  }

  off(event, f) {
    this.listeners[event] = (this.listeners[event] || []).filter((g) => g !== f);
  }
}
