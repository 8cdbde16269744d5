// Taxa: mean shares of reads, of all samples, of the selection, and of each level of the colour.

function drawTaxa(state) {
  const { view, data, selected } = state, taxa = taxaOf(view);
  const composed = remembered(
    () => [taxa(), view.get("selected"), view.get("by_level"), view.get("color")],
    (table) => composeTaxa(state, table),
  );
  const plot = composition(view, {
    title: () => `Composition by ${view.get("rank")}`,
    describe:
      "Bars of mean shares of reads, for all samples and for the selection; the numbers are those of the legend.",
    parts: () => composed().parts,
    groups: () => composed().groups,
  });
  const difference = (v) => (v > 0 ? "+" : "") + percent(v, 2);
  const table = view.table({
    caption: () => `Mean share of reads: the largest ${composed().list.length} of ${number(taxa() ? taxa().taxa : 0)}`,
    columns: () => [
      { key: "name", label: view.get("rank"), left: true, long: true },
      { key: "all", label: "all", format: (v) => percent(v, 2) },
      ...(selected().size
        ? [{ key: "some", label: "selected", format: (v) => percent(v, 2) }, {
          key: "more",
          label: "difference",
          format: difference,
        }]
        : []),
      ...(view.get("rank") === "ASV"
        ? [{ key: "full", label: "DNA", left: true, long: true, format: (v) => cut(v, 14) }]
        : []),
    ],
    rows: () => composed().list,
    most: 8,
  });
  const waiting = view.note(() => (taxa() ? "" : "Computing shares …"));
  view.panel("Taxa", {
    plot,
    name: "taxa",
    more: view.bar(
      view.select("rank", "Rank", data.ranks),
      view.toggle("by_level", "one bar for each level of the colour"),
    ),
    below: [waiting, table.el],
    help: `${
      data.ranks.length > 1 ? "" : "The study has no taxonomy: ASVs are shown, named by both ends of their DNA. "
    }The ${TAXA} largest, in all samples or in the selection, are drawn; every sample counts the same.`,
  });
  const update = () => {
    plot.el.hidden = !taxa();
    waiting.update();
    table.update();
    view.redraw(plot);
  };
  update();
  view.watch(["selected", "color", "shape", "rank", "taxa", "by_level"], update);
}

// The shares of the rank chosen, unpacked once; null until the kernel has sent them.
function taxaOf(view) {
  const unpacked = new Map();
  return () => {
    const rank = view.get("rank"), sent = view.get("taxa")[rank];
    if (!sent) return null;
    if (!unpacked.has(rank)) unpacked.set(rank, { ...sent, values: unpackShares(sent.shares) });
    return unpacked.get(rank);
  };
}

// Shares as they are sent: whole numbers up to 65,535, little-endian.
function unpackShares(coded) {
  const bytes = Uint8Array.from(atob(coded), (c) => c.charCodeAt(0)), numbers = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 2 }, (_, k) => numbers.getUint16(2 * k, true) / 65535);
}

// Mean shares over some samples; those without reads have none.
function meanShares(table, samples, depth) {
  const width = table.names.length, sums = new Float64Array(width);
  let n = 0;
  for (const i of samples) {
    if (!depth[i]) continue;
    n += 1;
    for (let k = 0; k < width; k++) sums[k] += table.values[i * width + k];
  }
  return { n, shares: [...sums].map((v) => v / Math.max(1, n)) };
}

// The samples shown of each level of the colour, as the legend lists them: [name, samples].
function shownByLevel({ colour, shown }) {
  const column = colour();
  if (!column || column.kind === "numbers") return [];
  const samples = column.levels.map(() => []);
  for (const i of shown()) if (column.values[i] >= 0) samples[column.values[i]].push(i);
  return encoding(column).items.map((t) => [t.label, samples[column.levels.indexOf(t.label)] || []]).filter((
    [, some],
  ) => some.length);
}

// What is drawn and listed: {parts, groups, list}, the largest taxa first.
function composeTaxa(state, table) {
  if (!table) return { parts: [{ name: "" }], groups: [{ label: "", shares: [0] }], list: [] };
  const { view, data, everyone, selected } = state, mean = (samples) => meanShares(table, samples, data.depth);
  const all = mean(everyone), some = selected().size ? mean(selected()) : null;
  const larger = all.shares.map((v, k) => [Math.max(v, some ? some.shares[k] : 0), k]).sort((a, b) =>
    b[0] - a[0] || a[1] - b[1]
  );
  const rank = larger.map(([, k]) => k), top = rank.slice(0, TAXA), others = table.taxa - top.length;
  const group = (label, { n, shares }) => {
    const own = top.map((k) => shares[k]), rest = Math.max(0, 1 - own.reduce((a, b) => a + b, 0));
    return { label: `${label} (${number(n)})`, shares: others ? [...own, rest] : own };
  };
  const groups = [group("all", all), ...(some ? [group("selected", some)] : [])];
  if (view.get("by_level")) {
    for (const [name, samples] of shownByLevel(state)) {
      groups.push(group(name, mean(samples)));
    }
  }
  const names = (k) => ({ name: table.names[k], full: table.full[k] });
  return {
    parts: [...top.map(names), ...(others ? [{ name: count(others, "other") }] : [])],
    groups,
    list: rank.map((k) => ({
      ...names(k),
      all: all.shares[k],
      some: some ? some.shares[k] : null,
      more: some ? some.shares[k] - all.shares[k] : null,
    })),
  };
}
