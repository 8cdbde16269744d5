// Attention of a sample on its ASVs and of its ASVs on one another.

function drawHeadMaps({ view, data, sample, folded }) {
  const plot = smallMaps(view, {
    layers: data.layers,
    heads: data.heads,
    maps: () =>
      folded() &&
      {
        n: folded().n,
        single: folded().single,
        of: (layer, head) => folded().heads[(layer - 1) * data.heads + head - 1],
      },
    title: () => `Attention among the ASVs of ${sample() ? sample().id : "a sample"}, all layers and heads`,
    describe: "A small map a head: rows look, columns are looked at. Enter shows a head.",
  });
  view.panel("All layers and heads", {
    plot,
    wide: data.heads > MANY,
    help:
      "Among the ASVs: rows look, columns are looked at, in the order of the bars below. Each map's colours go up to its own largest number, which stands under it; the others' column, where there is one, goes beyond. Click one to show it.",
  });
}

function drawAsvs(state) {
  const { view, mode, mapName, updates } = state, link = linkedPlots();
  const pooling = poolingPlot(state, link);
  view.panel("From the ASVs to the sample", {
    plot: pooling,
    help:
      "How much of each ASV the sample's vector is pooled from. Dashed: even attention. Grey: no ASV of its own; ▸ where a bar or a head goes on. Click an ASV to look into it.",
  });
  const average = headMeans();
  state.asvMap = () => asvMap(state, average);
  const grid = squareMap(view, {
    map: state.asvMap,
    title: () => `Among the ASVs of ${state.sample() ? state.sample().id : "the sample"}, ${mapName()}`,
    describe: "Rows look, columns are looked at. Enter looks into the ASV of a column, with Shift into that of a row.",
    chosen: state.chosenKey,
    hot: link.hot,
    heat: link.heat,
    pick: state.openAsv,
  });
  link.plots.push(pooling, grid);
  const noMap = view.note(
    () => (mode() === "rollout"
      ? `Rollout follows attention through all layers to one number an ASV, so it has no map; this is ${mapName()}.`
      : ""),
  );
  const panel = view.panel("Among the ASVs", {
    plot: grid,
    more: [noMap],
    help:
      "Each row sums to 1. Click a cell to look into the ASV that is looked at, with Shift (or on a name) into the one that looks.",
  });
  updates.push(() => noMap.update(), () => state.sample() && panel.retitle(`Among the ASVs, ${mapName()}`));
}

function poolingPlot(state, { hot, heat }) {
  const { view, data, sample, folded, mode, head, poolingName } = state;
  const labels = () => ({
    mean: `mean of ${data.heads} heads (dots: each head)`,
    head: `head ${head()} (dots: the other heads)`,
    rollout: "rollout (diamonds: pooling attention, mean)",
  });
  const keys = () =>
    folded() && {
      even: 1 / (sample().tokens + sample().numAsvs),
      shape: mode() === "rollout" ? 2 : 0,
      label: labels()[mode()],
      rows: folded().ids.map((_, k) => poolingKey(state, k)),
    };
  return keyBars(view, {
    keys,
    title: () => `From the ASVs to ${sample() ? sample().id : "the sample"}: ${poolingName()}`,
    describe: "A bar an ASV. Enter looks into it.",
    chosen: state.chosenKey,
    hot,
    heat,
    pick: state.openAsv,
    rows: () => {
      const f = folded(),
        rows = f
          ? f.ids.map((
            id,
            k,
          ) => [id || f.labels[k], f.labels[k], f.lineages[k], f.mean[k], f.pooling[head() - 1][k], f.rolled[k]])
          : [];
      return { columns: ["asv_id", "name", "lineage", "mean", `head_${head()}`, "rollout"], rows };
    },
  });
}

// One bar: what is pooled from a key, and what each head pools from it.
function poolingKey(state, k) {
  const { folded, mode, head, isAsv, rank } = state, f = folded(), own = f.pooling[head() - 1][k];
  const others = f.pooling.filter((_, h) => mode() === "mean" || h !== head() - 1).map((p) => p[k]);
  return {
    label: f.labels[k],
    rank: rank(k),
    plain: !isAsv(k),
    value: { head: own, mean: f.mean[k], rollout: f.rolled[k] }[mode()],
    dots: mode() === "rollout" ? [f.mean[k]] : others,
    tip: [
      ...keyWords(state, k),
      `mean of heads ${number(f.mean[k])}, head ${head()} ${number(own)}`,
      `rollout ${number(f.rolled[k])}`,
    ],
  };
}

// All that is known of a key.
function keyWords({ folded, isAsv, rank }, k) {
  const f = folded();
  return [
    `${rank(k) ? `${rank(k)}  ` : ""}${f.labels[k]}`,
    f.lineages[k],
    isAsv(k) ? f.ids[k] : "",
    isNumber(f.reads[k]) ? reads(f.reads[k]) : "",
  ].filter(Boolean);
}

// The map of the layer and head chosen, or of the mean of heads.
function asvMap(state, average) {
  const { data, folded, mode, layer, head, isAsv, rank } = state, f = folded();
  if (!f) return null;
  const maps = (l) => f.heads.slice((l - 1) * data.heads, l * data.heads);
  const values = mode() === "head" ? maps(layer())[head() - 1] : average(f, layer(), maps),
    high = highest(values, f.n, f.single);
  return {
    n: f.n,
    values,
    high,
    over: highest(values, f.n, f.n) > high,
    rows: f.labels,
    ticks: f.labels.map((_, k) => String(rank(k) || "·")),
    whole: (k) => keyWords(state, k),
    tip: (r, c, v) =>
      [
        `${f.labels[r]} looks at ${r === c ? "itself" : f.labels[c]}: ${number(v)}`,
        f.lineages[c],
        isAsv(c) ? f.ids[c] : "",
      ].filter(Boolean),
  };
}

// The bars, and the largest cells of the map, as tables.
function drawStrongest(state) {
  const { view, folded, head, rank, mapName, updates } = state;
  const keys = () => {
    const f = folded();
    return f
      ? f.ids.map((_, k) => ({
        k,
        rank: rank(k),
        name: f.labels[k],
        lineage: f.lineages[k],
        reads: f.reads[k],
        mean: f.mean[k],
        head: f.pooling[head() - 1][k],
        rollout: f.rolled[k],
      }))
      : [];
  };
  const keyTable = view.table({
    caption: "The bars as a table",
    columns: () => [
      { key: "rank", label: "" },
      { key: "name", label: "ASV", left: true, long: true },
      { key: "mean", label: "mean" },
      { key: "head", label: `head ${head()}` },
      { key: "rollout", label: "rollout" },
      { key: "reads", label: "reads" },
    ],
    rows: keys,
    pick: (r) => state.openAsv(r.k),
    picked: (r) => r.k === state.chosenKey(),
    most: 10,
  });
  view.panel("Table of ASVs", { table: keyTable });
  const pairTable = view.table({
    caption: () => `Who looks most at whom, ${mapName()} (the 50 largest)`,
    columns: [{ key: "looks", label: "looks", left: true, long: true }, {
      key: "at",
      label: "is looked at",
      left: true,
      long: true,
    }, { key: "value", label: "attention" }],
    rows: () => largestCells(state.asvMap(), folded()),
    pick: (r) => state.openAsv(r.c),
    most: 10,
  });
  view.panel("Strongest looks", { table: pairTable });
  updates.push(keyTable.update, pairTable.update);
}

function largestCells(map, folded) {
  if (!map) return [];
  const { n, values, rows } = map, row = (i) => Math.floor(i / n), single = folded.single;
  const cells = Array.from(values.keys()).filter((i) => i % n < single && row(i) < single).sort((a, b) =>
    values[b] - values[a]
  );
  return cells.slice(0, 50).map((i) => ({
    c: i % n,
    looks: rows[row(i)],
    at: row(i) === i % n ? "itself" : rows[i % n],
    value: values[i],
  }));
}
