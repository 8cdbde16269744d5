// One ASV, letter by letter: what each position was given, and what a mutation of it would take.

const METHODS = {
  integrated_gradients: "integrated gradients, from hidden letters",
  occlusion: "each letter mutated",
  gradient_x_input: "gradient x input",
};

function drawNucleotides(state) {
  const { view, data } = state, asv = asvState(state);
  const choose = (position) => {
    asv.position = position;
    view.redraw(letters, mutations);
    table.update();
  };
  const letters = lettersPlot(state, asv, choose),
    mutations = mutationsPlot(state, asv),
    table = positionsTable(state, asv, choose);
  const why = view.note(() => absentWords(state, asv), "beware"),
    about = node("p", { class: "aam-help", style: "overflow-wrap:anywhere" });
  const mutationsHelp = node(
    "p",
    { class: "aam-help" },
    "How much a mutation changes the prediction: orange-red where the ASV's own letter gives a higher prediction than the other letter.",
  );
  const { slider, show } = positionSlider(view, asv);
  const controls = [
    view.select("letters", "Explained", data.methods.map((m) => [m, METHODS[m] || m])),
    view.select("span", "Positions drawn", [[40, "40"], [75, "75"], [150, "150"], [0, "all"]]),
    slider,
  ];
  if (data.ownLevel === "nucleotide") {
    controls.unshift(view.select("asv", "ASV", () => asv.kept().map((k) => [k.id, k.label])));
  }
  const panel = view.panel("Nucleotides of an ASV", {
    name: "Nucleotides",
    wide: true,
    plot: letters,
    more: data.noLetters ? [why] : [view.bar(...controls), why, about],
    below: [mutationsHelp, mutations.el, table.el],
  });
  const update = () => {
    const there = asv.length() > 0;
    why.update();
    for (const el of [letters.el, table.el]) el.hidden = !there;
    mutations.el.hidden = mutationsHelp.hidden = !(there && asv.inside().mutations);
    show();
    about.textContent = asvWords(state, asv);
    panel.retitle(there ? `Nucleotides of ${asv.inside().label}` : "Nucleotides of an ASV");
    table.update();
    view.redraw(letters, mutations);
  };
  update();
  view.watch("asv", () => (asv.position = 0));
  view.watch(["asv", "inside", "letters", "start", "span"], update);
}

// What the drawings of one ASV ask: its numbers, and which of its positions are drawn.
function asvState({ view }) {
  const inside = () => view.get("inside")[`${view.get("letters")} ${view.get("asv")}`] || null;
  const length = () => (inside() && inside().letters ? inside().letters.length : 0);
  const span = () => Math.min(length(), view.get("span") || length());
  const first = () => Math.max(1, Math.min(view.get("start"), length() - span() + 1));
  return {
    inside,
    length,
    span,
    first,
    last: () => first() + span() - 1,
    label: () => (inside() ? inside().label : "an ASV"),
    kept: () => Object.values(view.get("inside")).filter((a) => a.letters),
    position: 0, // the one chosen, counted from 1
    rows: () => {
      const values = inside();
      return length()
        ? [...values.letters].map((letter, p) => ({
          position: p + 1,
          letter,
          mean: values.mean[p],
          low: values.low[p],
          high: values.high[p],
          positive: values.positive[p],
        }))
        : [];
    },
  };
}

// Why there are no letters, or what to know about those there are.
function absentWords({ view, data }, { inside, kept }) {
  if (data.noLetters) return data.noLetters;
  const id = view.get("asv"), asv = inside();
  if (!id) return "Select an ASV: click a bar, a row or a tip of the tree.";
  if (asv) return asv.missing || asv.warning;
  if (view.live) return "Computing the attribution of each letter …";
  const labels = [...new Set(kept().map((k) => k.label))];
  return `This ASV is not on the page. In a notebook: \`aam.widgets.attributions(found, asvs=["${cut(id, 12)}"])\`.${
    labels.length ? ` On this page: ${labels.join(", ")}.` : ""
  }`;
}

function asvWords({ view, data }, { inside, length }) {
  if (!length()) return view.get("asv");
  const { id, label, lineage, samples, holders, reference } = inside();
  const some = samples < holders
    ? `${number(samples)} of the ${number(holders)} samples with this ASV, drawn at random`
    : `${holders === 1 ? "the 1 sample" : `all ${number(holders)} samples`} with this ASV`;
  return `${label}${lineage ? ` (${lineage})` : ""}, ${some}; compared with ${reference}. In ${data.unit}. ${id}`;
}

function lettersPlot({ view }, asv, choose) {
  const tip = (p) => {
    const { letters, mean, low, high, positive } = asv.inside();
    return [
      `${letters[p]} at ${p + 1}`,
      `mean ${signed(mean[p])}${isNumber(low[p]) ? ` [${number(low[p])}, ${number(high[p])}]` : ""}`,
      `raises ${percent(positive[p])} of the samples`,
    ];
  };
  return logo(view, {
    title: () => `Nucleotides of ${asv.label()}`,
    describe:
      "One letter for each position, as high as its mean attribution: above 0 it raises the prediction, below 0 it lowers it.",
    asv: asv.inside,
    from: asv.first,
    to: asv.last,
    y: () => "mean attribution",
    tip,
    picked: () => asv.position,
    pick: (t) => choose(asv.position === t.p + 1 ? 0 : t.p + 1),
    rows: () => {
      const columns = ["position", "letter", "mean", "low", "high", "positive"];
      return { columns, rows: asv.rows().map((r) => columns.map((c) => r[c])) };
    },
  });
}

function mutationsPlot({ view, data }, asv) {
  const cells = () => (asv.inside() && asv.inside().mutations) || [[], [], [], []];
  return heatmap(view, {
    title: () => `Mutations of ${asv.label()}`,
    describe:
      "Columns are positions, rows are the letters put there: prediction minus prediction with that letter, mean over samples.",
    matrix: () => {
      const from = asv.first() - 1,
        to = from + asv.span(),
        letters = asv.length() ? [...asv.inside().letters.slice(from, to)] : [];
      return {
        values: cells().map((row) => row.slice(from, to)),
        rows: [..."ACGT"],
        columns: letters.map((l, k) => `${l}${from + k + 1}`),
        signed: true,
        high: Math.max(1e-12, ...cells().flat().map(Math.abs)),
      };
    },
    tip: (r, c, v) => {
      const p = asv.first() - 1 + c, own = asv.inside().letters[p];
      return own === "ACGT"[r] ? [`${own} at ${p + 1}: its own letter`] : [
        `${own} at ${p + 1} made ${"ACGT"[r]}`,
        `prediction changes by ${isNumber(v) ? signed(-v) : ""} ${data.unit}`,
      ];
    },
    square: false,
    room: 48,
  });
}

function positionsTable({ view }, asv, choose) {
  return view.table({
    caption: () => (asv.length() ? "Positions" : ""),
    columns: [
      { key: "position", label: "position" },
      { key: "letter", label: "letter", left: true },
      { key: "mean", label: "mean", format: arrow },
      { key: "low", label: "low" },
      { key: "high", label: "high" },
      {
        key: "positive",
        label: "raises",
        format: (v) => percent(v),
      },
    ],
    rows: asv.rows,
    pick: ({ position }) => {
      asv.position = position;
      // where it is not among those drawn, they move to it
      if (position < asv.first() || position > asv.last()) {
        view.set({
          start: Math.max(1, Math.min(position - Math.floor(asv.span() / 2), asv.length() - asv.span() + 1)),
        });
      }
      choose(position);
    },
    picked: (r) => r.position === asv.position,
    most: 12,
  });
}

// Moves through an ASV that is longer than what is drawn.
function positionSlider(view, { length, span, first, last }) {
  const input = node("input", {
    type: "range",
    min: 1,
    max: 1,
    step: 1,
    "aria-label": "First position shown",
    "data-trait": "start",
    oninput: () => view.set({ start: +input.value }),
  });
  const range = node("output", {}),
    slider = node("label", { class: "aam-control" }, "From position ", input, " ", range);
  const show = () => {
    slider.hidden = !length() || span() >= length();
    input.max = Math.max(1, length() - span() + 1);
    input.value = first();
    range.textContent = length() ? `${first()} to ${last()} of ${length()}` : "";
    input.setAttribute("aria-valuetext", range.textContent);
  };
  return { slider, show };
}
