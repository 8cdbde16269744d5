// What errors go with, and whether more training samples would help.

function drawAssociations({ view, data, column }) {
  const table = view.table({
    caption: "Errors tested against every known column, sorted by p; click a row to colour the dots by it",
    columns: [
      { key: "outcome", label: "of", left: true },
      { key: "column", label: "with", left: true, long: true },
      { key: "kind", label: "test", left: true },
      { key: "effect", label: "effect", format: signed },
      { key: "n", label: "n" },
      { key: "p", label: "p" },
      { key: "p_adjusted", label: "adjusted p" },
    ],
    rows: data.associations,
    pick: (r) =>
      view.set({
        ...(column(r.column) ? { color: r.column } : {}),
        ...(data.numbers.includes(r.column) ? { against: r.column } : {}),
      }),
    picked: (r) => r.column === view.get("color"),
  });
  view.panel("Associations", {
    table,
    help:
      "Numbers: Spearman's ρ (-1 to 1). Categories: share of the variance of ranks that they explain. Whole groups are permuted.",
  });
  view.watch("color", () => table.update());
}

function drawLearningCurve({ view, data }) {
  const name = data.metrics[data.curve[0].metric] || data.curve[0].metric;
  const tip = (
    r,
  ) => [
    `${percent(r.share)} of the training samples: ${number(r.n_train)}`,
    `${name} ${number(r.value)} [${number(r.low)}, ${number(r.high)}]`,
  ];
  const plot = intervalCurves(view, {
    title: "Learning curve",
    describe: "One dot for each share of the training samples, with its interval.",
    series: [{
      label: name,
      shape: 0,
      bars: true,
      points: data.curve.map((r) => ({ x: r.n_train, y: r.value, low: r.low, high: r.high, tip: tip(r) })),
    }],
    x: { label: "training samples" },
    y: { label: name },
  });
  const table = view.table({
    caption: "Scores by share of the training samples",
    columns: [
      { key: "share", label: "share", format: (v) => percent(v) },
      { key: "n_train", label: "samples" },
      { key: "value", label: name },
      { key: "low", label: "low" },
      { key: "high", label: "high" },
    ],
    rows: data.curve,
  });
  view.panel("Learning curve", {
    plot,
    help: "If the curve still improves at the right end, more samples would help. One fit for each dot.",
    below: table.el,
  });
}
