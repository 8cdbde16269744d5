// Tables that are sorted by their headings, walked through by keys, and saved as CSV.

class Table {
  constructor(view, { columns, rows, pick = null, picked = () => false, caption = "", most = 100 }) {
    Object.assign(this, { view, columns, rows, pick, picked, caption, most });
    this.sort = { by: null, down: true };
    this.shown = most;
    this.el = node("div", {
      class: "aam-scroll",
      tabindex: pick ? null : "0",
      role: "region",
      "aria-label": text(caption) || "table",
    });
    this.update = this.update.bind(this);
    this.csv = this.csv.bind(this);
    this.update();
  }

  // Draw it anew, and put the keyboard back on the row where it was.
  update() {
    const columns = now(this.columns), { by, down } = this.sort, list = [...now(this.rows)];
    if (by) list.sort((a, b) => order(a[by], b[by]) * (down ? -1 : 1));
    const body = list.slice(0, this.shown).map((row) => this._row(columns, row)), rest = list.length - this.shown;
    const focused = this._focused();
    this.el.replaceChildren(
      node(
        "table",
        { class: this.pick ? "aam-pickable" : null },
        this.caption ? node("caption", {}, text(this.caption)) : null,
        node("thead", {}, node("tr", {}, columns.map((c) => this._heading(c)))),
        node("tbody", {}, body),
      ),
      ...(rest > 0
        ? [this.view.button(`Show ${Math.min(this.most, rest)} more of ${number(rest)}`, () => this._more())]
        : []),
    );
    if (focused >= 0) this.el.querySelectorAll("tbody tr")[focused]?.focus();
  }

  csv() {
    const columns = now(this.columns);
    return { columns: columns.map((c) => c.label), rows: now(this.rows).map((row) => columns.map((c) => row[c.key])) };
  }

  _heading({ key, label, left }) {
    const sorted = this.sort.by === key, down = this.sort.down;
    const sort = () => {
      this.sort = { by: key, down: sorted ? !down : true };
      this.update();
    };
    return node(
      "th",
      {
        class: left ? "aam-left" : null,
        scope: "col",
        "aria-sort": sorted ? (down ? "descending" : "ascending") : null,
      },
      node(
        "button",
        { type: "button", title: `Sort by ${label}`, onclick: sort },
        label + (sorted ? (down ? " ▾" : " ▴") : ""),
      ),
    );
  }

  _row(columns, row) {
    const pick = (e) => {
      if (e.type === "keydown" && e.key !== "Enter" && e.key !== " ") return;
      e.preventDefault();
      this.view.guard(() => this.pick(row));
    };
    const cells = columns.map((c) =>
      node(
        "td",
        { class: c.left ? "aam-left" : null, title: c.long ? String(row[c.key] ?? "") : null },
        c.format ? c.format(row[c.key], row) : number(row[c.key]),
      )
    );
    const picked = this.picked(row), act = this.pick ? pick : null;
    return node("tr", {
      class: picked ? "aam-picked" : null,
      "aria-selected": picked ? "true" : null,
      tabindex: act ? "0" : null,
      onclick: act,
      onkeydown: act,
    }, cells);
  }

  _more() {
    this.shown += this.most;
    this.update();
  }

  // The place of the row that the keyboard is on, or -1.
  _focused() {
    const inside = this.el.querySelector("tbody")?.contains(document.activeElement);
    return inside ? [...this.el.querySelectorAll("tbody tr")].indexOf(document.activeElement.closest("tr")) : -1;
  }
}

function order(a, b) {
  if (isNumber(a) && isNumber(b)) return a - b;
  if (isNumber(a) !== isNumber(b)) return isNumber(a) ? 1 : -1;
  return String(a ?? "").localeCompare(String(b ?? ""));
}
