// One sample against another: what makes their predictions differ.

function drawPair(state) {
  const { view, data, ids, ownAsvs, toggleAsv } = state, pair = pairOf(state);
  const shown = () => (pair() ? pair().rows.slice(0, view.get("top")) : []);
  const plot = pairPlot(state, pair, shown), sums = node("dl", { class: "aam-facts" });
  const absent = view.note(
    () => (pair()
      ? ""
      : view.live
      ? "Comparing …"
      : "This page has only the pair of samples that was shown when it was saved."),
    "beware",
  );
  const mixed = view.note(() => mixedWords(state), "beware");
  const swap = view.button("Swap", () => view.set({ sample_a: view.get("sample_b"), sample_b: view.get("sample_a") }));
  const table = view.table({
    caption: () => (pair() && pair().rows.length
      ? `The first ${number(Math.min(pair().rows.length, view.get("top")))} of ${
        number(pair().rows.length + pair().others)
      } features`
      : ""),
    columns: () => [
      { key: "label", label: ownAsvs ? "ASV" : data.ownLevel, left: true, long: true, format: starred },
      { key: "a", label: cut(view.get("sample_a"), 18), format: signed },
      { key: "b", label: cut(view.get("sample_b"), 18), format: signed },
      { key: "difference", label: "difference", format: arrow },
    ],
    rows: shown,
    pick: ownAsvs
      ? (r) => toggleAsv(r.id)
      : null,
    picked: (r) => ownAsvs && r.id === view.get("asv"),
    most: 15,
  });
  view.panel("One sample against another", {
    plot,
    more: [
      view.bar(view.select("sample_a", "First", ids), view.select("sample_b", "Second", ids), swap),
      mixed,
      absent,
      sums,
    ],
  });
  view.panel("Difference", { table, help: "0 where a sample does not have the feature." });
  const update = () => {
    sums.replaceChildren(...pairFacts(state, pair()).map(([name, value]) => fact(name, value)));
    absent.update();
    mixed.update();
    table.update();
    view.redraw(plot);
  };
  update();
  view.watch(["sample_a", "sample_b", "pair", "top"], update);
  view.watch("asv", () => {
    table.update();
    view.redraw(plot);
  });
}

// The pair as the kernel sent it, or worked out from all samples where they are at hand: {rows, others, total}, or
// null.
function pairOf({ view, data, places }) {
  let made = ["", null];
  return () => {
    const a = view.get("sample_a"), b = view.get("sample_b"), key = `${a}\n${b}`, sent = view.get("pair")[key];
    if (sent || !data.whole) return sent || null;
    if (made[0] !== key) made = [key, comparePair(data.whole, places.get(a), places.get(b), data.mostTop)];
    return made[1];
  };
}

// Features of two samples from all attributions, which are in compressed rows; the largest differences first.
function comparePair({ ends, columns, values, ids, labels, lineages, marked }, a, b, most) {
  const features = new Map();
  for (const [i, name] of [[a, "a"], [b, "b"]]) {
    for (let k = ends[i]; k < ends[i + 1]; k++) {
      const row = features.get(columns[k]) || { a: 0, b: 0, difference: 0 };
      row[name] = values[k];
      row.difference = row.a - row.b;
      features.set(columns[k], row);
    }
  }
  const named = [...features].map(([c, row]) => ({
    ...row,
    id: ids[c],
    label: labels[c],
    lineage: lineages[c],
    marked: marked[c],
  }));
  const all = named.sort((p, q) => Math.abs(q.difference) - Math.abs(p.difference));
  return {
    rows: all.slice(0, most),
    others: Math.max(0, all.length - most),
    total: all.reduce((sum, r) => sum + r.difference, 0),
  };
}

function pairPlot({ view, unit, ownAsvs, toggleAsv }, pair, shown) {
  const a = () => view.get("sample_a"), b = () => view.get("sample_b");
  const item = (r) => ({
    key: r.id,
    label: r.label,
    value: r.difference,
    color: signColour(r.difference),
    mark: star(r),
    tip: [
      r.label,
      ...[r.lineage].filter(Boolean),
      r.id,
      `${a()}: ${signed(r.a)}`,
      `${b()}: ${signed(r.b)}`,
      `difference ${signed(r.difference)}`,
    ],
  });
  return bars(view, {
    title: () => `${a()} minus ${b()}`,
    describe:
      "One bar for each feature: its attribution in the first sample minus that in the second. Bars to the right make the prediction of the first sample larger.",
    labels: 230,
    x: { label: `difference of ${unit}` },
    items: () => shown().map(item),
    selected: () => (ownAsvs ? view.get("asv") || null : null),
    pick: (t) => ownAsvs && toggleAsv(t.key),
    rows: () => ({
      columns: ["id", "label", "a", "b", "difference"],
      rows: (pair() ? pair().rows : []).map((r) => [r.id, r.label, r.a, r.b, r.difference]),
    }),
  });
}

// The predictions of both, and what their difference is made of.
function pairFacts({ view, data, ids, places, ownAsvs }, pair) {
  const { prediction, reference, output } = data.check,
    i = places.get(view.get("sample_a")),
    j = places.get(view.get("sample_b"));
  const explained = (k) => (output[k] && output[k] !== data.target ? ` (${cut(output[k], 20)})` : "");
  const gap = prediction[i] - prediction[j], referenceGap = reference[i] - reference[j];
  const matters = Math.abs(referenceGap) > 1e-4 * Math.max(1e-9, Math.abs(gap));
  return [
    ...[i, j].map((k) => [cut(`prediction of ${ids[k]}${explained(k)}`, 44), number(prediction[k], 4)]),
    ["difference of predictions", signed(gap)],
    ...(pair && data.adds
      ? [[`difference of attributions, all ${ownAsvs ? "ASVs" : "features"}`, signed(pair.total)]]
      : []),
    ...(pair && data.adds && matters ? [["difference of the references", signed(referenceGap)]] : []),
  ];
}

function mixedWords({ view, data, places }) {
  const [first, second] = [view.get("sample_a"), view.get("sample_b")].map((id) => data.check.output[places.get(id)]);
  return first === second
    ? ""
    : `The first sample is explained for ${first}, the second for ${second}: their difference mixes both.`;
}
