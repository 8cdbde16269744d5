// Attention inside one ASV: of the ASV on its nucleotides, and of its nucleotides on one another.

function drawNucleotides(state) {
  const { view, asv, mapName, updates } = state, inner = nucleotidesState(state), link = linkedPlots();
  const sequence = sequencePlot(state, inner, link), about = node("div", {});
  const absent = view.note(() => absentWords(view)), picker = view.select("asv", "ASV", () => asvOptions(state));
  view.panel("From the nucleotides to the ASV", {
    plot: sequence,
    more: [view.bar(picker), absent, about],
    wide: true,
    help:
      "Pooling attention: how much each position adds to the vector of the ASV; the same in every sample. Dashed line: even attention.",
  });
  const positions = positionsPlot(state, inner, link);
  link.plots.push(sequence, positions);
  const joined = view.note(
    () => (asv() && asv().together > 1
      ? `${asv().together} neighbouring positions are drawn as one: their columns are summed, their rows averaged.`
      : ""),
  );
  const among = view.panel("Among the nucleotides", {
    plot: positions,
    more: [joined],
    help: "Positions are counted from the 5' end. Point at one to mark it among the letters.",
  });
  const heads = drawNucleotideHeads(state, inner);
  updates.push(() => {
    absent.update();
    joined.update();
    picker.refill();
    about.replaceChildren(...(asv() ? [facts(asvFacts(state))] : []));
    among.retitle(`Among the nucleotides, ${mapName()}`);
    for (const el of [sequence.el, among, heads]) el.hidden = !asv();
  });
}

// What the drawings of one ASV ask: its maps, and names and numbers of its positions.
function nucleotidesState({ asv, mode, head }) {
  const map = (layer, head) => {
    const { shape, values } = unpackedOnce(asv().weights), size = shape[2] ** 2, k = (layer - 1) * shape[1] + head - 1;
    return values.subarray(k * size, (k + 1) * size);
  };
  return {
    map,
    span: (k) => [...new Set(asv().spans[k])].join("–"),
    bases: (k) => asv().id.slice(asv().spans[k][0] - 1, asv().spans[k][1]),
    mean: (k) => mean(asv().pooling[k]),
    ofHead: (k) => asv().pooling[k][head() - 1],
    value: (
      k,
    ) => (mode() === "rollout"
      ? asv().rolled[k]
      : mode() === "head"
      ? asv().pooling[k][head() - 1]
      : mean(asv().pooling[k])),
  };
}

function absentWords(view) {
  const id = view.get("asv");
  if (!id) return "Click an ASV above to see its nucleotides.";
  if (view.live || view.get("inside")[id]) return "";
  const labels = Object.values(view.get("inside")).map((a) => a.label), more = labels.length - 6;
  return `This page does not hold the nucleotides of this ASV; a notebook shows any. It holds those of ${
    labels.slice(0, 6).join(", ")
  }${more > 0 ? ` and ${more} more` : ""}.`;
}

// A notebook offers the ASVs of the sample that are shown, a page those that it holds.
function asvOptions({ view, asv, folded, isAsv, rank }) {
  const f = folded();
  const options = view.live && f
    ? f.ids.map((id, k) => [id, `${rank(k)}  ${f.labels[k]}`]).filter((_, k) => isAsv(k))
    : Object.values(view.get("inside")).map((a) => [a.id, a.label]);
  const current = view.get("asv"), offered = options.some(([id]) => id === current);
  const label = asv() && asv().id === current ? asv().label : cut(current, 20);
  return [["", "none"], ...options, ...(current && !offered ? [[current, label]] : [])];
}

function asvFacts({ data, asv, folded, chosenKey }) {
  const { id, label, prevalence, lineage } = asv();
  return [
    ["ASV", label],
    ["length", `${id.length} nt`],
    ["found in", `${number(prevalence)} of ${countSamples(data.samples.length)}`],
    ["in this sample", chosenKey() >= 0 ? reads(folded().reads[chosenKey()]) : "not shown one by one"],
    ...(lineage ? [["lineage", cut(lineage, 90)]] : []),
  ];
}

function sequencePlot({ view, asv, head, poolingName }, { span, bases, mean, ofHead, value }, { hot, heat }) {
  const tip = (
    k,
  ) => [
    `nucleotides ${span(k)}: ${bases(k)}`,
    `mean of heads ${number(mean(k))}, head ${head()} ${number(ofHead(k))}`,
    `rollout ${number(asv().rolled[k])}`,
  ];
  return letterBars(view, {
    places: () =>
      asv() &&
      {
        dna: asv().id,
        spans: asv().spans,
        even: 1 / asv().spans.length,
        values: asv().spans.map((_, k) => value(k)),
        tip,
      },
    title: () => `From the nucleotides to ${asv() ? asv().label : "the ASV"}: ${poolingName()}`,
    describe: "One bar for each position, above its letters, from the 5' end.",
    hot,
    heat,
    rows: () => ({
      columns: ["position", "letters", "mean", `head_${head()}`, "rollout"],
      rows: asv() ? asv().spans.map((_, k) => [span(k), bases(k), mean(k), ofHead(k), asv().rolled[k]]) : [],
    }),
  });
}

function positionsPlot({ view, data, asv, mode, layer, head, mapName }, { map, span, bases }, { hot, heat }) {
  const average = headMeans(), heads = (l) => Array.from({ length: data.heads }, (_, h) => map(l, h + 1));
  return squareMap(view, {
    label: 66,
    map: () => {
      if (!asv()) return null;
      const { spans } = asv(),
        n = spans.length,
        values = mode() === "head" ? map(layer(), head()) : average(asv(), layer(), heads);
      return {
        n,
        values,
        high: highest(values, n, n),
        over: false,
        rows: spans.map((_, k) => span(k)),
        ticks: spans.map(([first]) => String(first)),
        tip: (r, c, v) => [`${span(r)} ${bases(r)}`, `attends to ${span(c)} ${bases(c)}: ${number(v)}`],
        whole: (r) => [`${span(r)} ${bases(r)}`],
      };
    },
    title: () => `Among the nucleotides of ${asv() ? asv().label : "the ASV"}, ${mapName()}`,
    describe: "Rows attend to columns; positions are counted from the 5' end.",
    hot,
    heat,
    pick: (k) => view.say(`nucleotides ${span(k)}: ${bases(k)}`),
  });
}

function drawNucleotideHeads({ view, data, asv, head, updates }, { map, span, bases, mean, ofHead }) {
  const plot = smallMaps(view, {
    layers: data.layers,
    heads: data.heads,
    maps: () => asv() && { n: asv().spans.length, single: asv().spans.length, of: map },
    title: () => `Attention among the nucleotides of ${asv() ? asv().label : "an ASV"}, all layers and heads`,
    describe: "One small map for each head: rows attend to columns. Enter shows a head.",
  });
  const table = view.table({
    caption: "The bars above the letters as a table",
    columns: () => [
      { key: "place", label: "nucleotides", left: true },
      { key: "bases", label: "letters", left: true },
      { key: "mean", label: "mean" },
      { key: "head", label: `head ${head()}` },
      { key: "rollout", label: "rollout" },
    ],
    rows: () => (asv()
      ? asv().spans.map((_, k) => ({
        place: span(k),
        bases: bases(k),
        mean: mean(k),
        head: ofHead(k),
        rollout: asv().rolled[k],
      }))
      : []),
    most: 10,
  });
  updates.push(table.update);
  return view.panel("All layers and heads, nucleotides", { plot, wide: data.heads > MANY, below: [table.el] });
}
