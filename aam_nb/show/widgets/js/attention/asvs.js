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
    describe: "One small map for each head: rows attend to columns. Enter shows a head.",
  });
  view.panel("All layers and heads", {
    plot,
    wide: data.heads > MANY,
    help:
      "Attention among the ASVs: rows attend to columns, in the order of the bars below. The colours of each map go up to its own largest number; the column of all other ASVs, where there is one, may be above it. Click a map to show it below.",
  });
}

function drawAsvs(state) {
  const { view, mode, mapName, updates } = state, link = linkedPlots();
  const pooling = poolingPlot(state, link);
  view.panel("From the ASVs to the sample", {
    plot: pooling,
    help:
      "Pooling attention: how much each ASV adds to the vector of the sample. Dashed line: even attention. Grey bars are not single ASVs; ▸ marks values beyond the axis. Click an ASV to see its nucleotides.",
  });
  const average = headMeans();
  state.asvMap = () => asvMap(state, average);
  const grid = squareMap(view, {
    map: state.asvMap,
    title: () => `Among the ASVs of ${state.sample() ? state.sample().id : "the sample"}, ${mapName()}`,
    describe: "Rows attend to columns. Enter opens the ASV of a column, with Shift that of a row.",
    chosen: state.chosenKey,
    hot: link.hot,
    heat: link.heat,
    pick: state.openAsv,
  });
  link.plots.push(pooling, grid);
  const noMap = view.note(
    () => (mode() === "rollout"
      ? `Rollout follows attention through all layers and gives one number for each ASV, so it has no map. Shown here: ${mapName()}.`
      : ""),
  );
  const panel = view.panel("Among the ASVs", {
    plot: grid,
    more: [noMap],
    help:
      "Rows attend to columns; each row sums to 1. Click a cell to open the ASV of its column, with Shift (or on a name) that of its row.",
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
    describe: "One bar for each ASV. Enter opens it.",
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
        `${f.labels[r]} attends to ${r === c ? "itself" : f.labels[c]}: ${number(v)}`,
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
    caption: () => `The 50 largest values of the map, ${mapName()}`,
    columns: [{ key: "from", label: "from", left: true, long: true }, {
      key: "at",
      label: "to",
      left: true,
      long: true,
    }, { key: "value", label: "attention" }],
    rows: () => largestCells(state.asvMap(), folded()),
    pick: (r) => state.openAsv(r.c),
    most: 10,
  });
  view.panel("Strongest attention", { table: pairTable });
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
    from: rows[row(i)],
    at: row(i) === i % n ? "itself" : rows[i % n],
    value: values[i],
  }));
}
