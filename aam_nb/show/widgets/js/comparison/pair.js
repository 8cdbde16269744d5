// Two models on the same samples, and where they disagree.

function drawPair(state) {
  const { view, data } = state, help = node("p", { class: "aam-help" });
  const plot = pairPlot(state);
  const update = () => (help.textContent = pairHelp(state));
  update();
  const names = () => data.contenders.map((c) => c.name);
  const controls = view.bar(
    view.select("a", "First", names),
    view.select("b", "Second", names),
    ...(data.kind === "regression"
      ? [view.select("show", "Show", [["errors", "errors"], ["predictions", "predictions"]])]
      : []),
    ...(data.columns.length
      ? [view.select("color", "Colour", [["", "none"], ...data.columns.map((c) => c.name)])]
      : []),
    view.button("Clear selection", () => view.set({ selected: [] })),
  );
  view.panel("Two models on the same samples", { plot, more: [controls, help] });
  view.watch(["a", "b", "show"], update);
}

function pairHelp({ view, data, errors }) {
  const diagonal = errors()
    ? `Above the dashed line ${view.get("a")} has the smaller error, below it ${view.get("b")}.`
    : "On the dashed line both predictions are the same.";
  const repeats = data.repeats > 1 ? ` Each dot is the mean of ${data.repeats} repeats.` : "";
  return `${diagonal}${repeats} Drag around dots to select samples; their ids are in explorer.selected.`;
}

function pairPlot({ view, data, selected, contender, errors }) {
  const drawn = (name) => (errors() ? contender(view.get(name)).errors : contender(view.get(name)).predictions);
  const tip = (i) => [
    data.samples[i],
    `true ${number(data.truth[i])}`,
    ...["a", "b"].map((name) => contender(view.get(name))).map((c) =>
      `${c.name}: ${number(c.predictions[i])}, error ${number(c.errors[i])}`
    ),
  ];
  const points = () => {
    const x = drawn("a"), y = drawn("b");
    return data.samples.map((_, i) => ({ i, x: x[i], y: y[i], tip: () => tip(i) })).filter((p) =>
      isNumber(p.x) && isNumber(p.y)
    );
  };
  const axis = (name) => () => ({
    label: `${view.get(name)}: ${errors() ? data.errorLabel : "prediction"}`,
    domain: padded(extent([...drawn("a"), ...drawn("b")])), // the same for both, so that the diagonal is one
  });
  return scatter(view, {
    title: () => `${view.get("a")} and ${view.get("b")}, sample by sample`,
    describe: "One dot for each sample; on the dashed line both models are equal. Draw around dots to select samples.",
    points,
    x: axis("a"),
    y: axis("b"),
    diagonal: true,
    column: () => data.columns.find((c) => c.name === view.get("color")) || null,
    selected,
    lasso: (targets) => view.set({ selected: targets.map((t) => data.samples[t.i]) }),
    pick: (t) => view.set({ selected: [data.samples[t.i]] }),
    rows: () => ({
      columns: ["sample_id", "truth", view.get("a"), view.get("b")],
      rows: points().map((p) => [data.samples[p.i], data.truth[p.i], p.x, p.y]),
    }),
  });
}

function drawDisagreement(state) {
  const { view, data, selected, contender } = state;
  const rows = () => {
    const [a, b] = [contender(view.get("a")), contender(view.get("b"))], some = selected();
    return data.samples
      .map((id, i) => ({
        i,
        id,
        truth: data.truth[i],
        a: a.predictions[i],
        b: b.predictions[i],
        errorA: a.errors[i],
        errorB: b.errors[i],
        gap: Math.abs(a.errors[i] - b.errors[i]),
      }))
      .filter((r) => !some.size || some.has(r.i))
      .sort((p, q) => q.gap - p.gap);
  };
  const table = view.table({
    caption: () => `${selectionWords(state)}, sorted by the difference of the two errors (${data.errorLabel})`,
    columns: () => [
      { key: "id", label: "sample", left: true, long: true },
      { key: "truth", label: "true", long: true },
      { key: "a", label: view.get("a"), long: true },
      { key: "b", label: view.get("b"), long: true },
      { key: "errorA", label: `error of ${view.get("a")}` },
      { key: "errorB", label: `error of ${view.get("b")}` },
      { key: "gap", label: "difference" },
    ],
    rows,
    pick: (r) => view.set({ selected: [r.id] }),
    picked: (r) => selected().has(r.i),
    most: 50,
  });
  view.panel("Where they disagree", { table });
  view.watch(["a", "b", "selected"], () => table.update());
}
