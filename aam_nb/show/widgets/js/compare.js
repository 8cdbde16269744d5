// Models compared: scores with intervals, paired differences, and the samples where two models disagree.

function build(view) {
  const data = view.get("data");
  const chosen = () => new Set(view.get("selected"));
  const row = (name) => data.contenders.find((c) => c.name === name);
  const axis = () => ({ label: data.metrics[view.get("metric")] });

  view.body.append(view.note(data.sentence));
  data.warnings.forEach((w) => view.body.append(view.note(w, "beware")));

  // -- scores -----------------------------------------------------------------------------------------------------------
  const names = () => data.contenders.map((c) => c.name);
  const forest = bars(view, {
    title: () => `${data.metrics[view.get("metric")]} of each model`,
    describe: "A dot a model, with its bootstrap interval; the best is on top. Enter makes a model the second of the pair below.",
    dots: true,
    zero: null,
    x: axis,
    items: () =>
      data.contenders.map((c) => {
        const [value, low, high] = c.scores[view.get("metric")];
        return { key: c.name, label: c.name, value, low, high, shape: c.name === data.reference ? 0 : 1, bold: c.name === data.reference, color: c.name === data.reference ? PALETTE[0] : GREY, tip: [c.name, `${number(value)} [${number(low)}, ${number(high)}]`] };
      }),
    selected: () => view.get("b"),
    pick: (t) => view.set({ b: t.key }),
  });
  const scores = view.panel("Scores", { plot: forest, more: view.bar(view.select("metric", "Metric", Object.entries(data.metrics))) });

  const paired = bars(view, {
    title: `${data.reference} less each other, ${data.metrics[data.metric]}`,
    describe: "Paired differences with bootstrap intervals; to the right of 0 the reference is better.",
    dots: true,
    x: { label: `difference of ${data.metrics[data.metric]}` },
    items: () => data.differences.map((d) => ({ ...d, label: d.contender, key: d.contender, value: d.difference, color: d.verdict === "better" || d.verdict === "worse" ? PALETTE[0] : GREY, tip: [d.contender, `${signed(d.difference)} [${number(d.low)}, ${number(d.high)}]`, `p (Holm) ${number(d.p_holm)}`, d.verdict] })),
    selected: () => view.get("b"),
    pick: (t) => view.set({ b: t.key }),
  });
  if (data.differences.length) view.panel("Paired differences", { plot: paired, help: `Blue where ${data.reference} is told apart from the other: the interval excludes 0 and the corrected test agrees.` });

  const table = view.table({ caption: "Every model: metrics with intervals, difference from the reference, what it cost", columns: data.table.columns.map((c, k) => ({ key: c, label: c, left: k === 0 })), rows: data.table.rows, pick: (r) => view.set({ b: r.contender }), picked: (r) => r.contender === view.get("b") });
  view.panel("Table", { table, wide: true });

  // -- two models, sample by sample -------------------------------------------------------------------------------------
  const value = (name, i) => (view.get("show") === "errors" ? row(name).errors[i] : row(name).predictions[i]);
  const gap = (i) => Math.abs(row(view.get("a")).errors[i] - row(view.get("b")).errors[i]);
  const points = () => data.samples.map((id, i) => ({ i, x: value(view.get("a"), i), y: value(view.get("b"), i), tip: [id, `truth ${number(data.truth[i])}`, `${view.get("a")}: ${number(row(view.get("a")).predictions[i])}`, `${view.get("b")}: ${number(row(view.get("b")).predictions[i])}`] })).filter((p) => isNumber(p.x) && isNumber(p.y));
  const both = (name) => () => ({ label: `${view.get(name)}: ${view.get("show") === "errors" ? data.errorLabel : "prediction"}`, domain: padded(extent(points().flatMap((p) => [p.x, p.y]))) });
  const toIndex = () => new Set([...chosen()].map((id) => place.get(id)));
  const place = new Map(data.samples.map((id, i) => [id, i]));
  const pairs = scatter(view, {
    title: () => `${view.get("a")} and ${view.get("b")}, sample by sample`,
    describe: "A dot a sample; on the dashed line both models do equally well. Draw around dots to choose samples.",
    points,
    x: both("a"),
    y: both("b"),
    diagonal: true,
    column: () => data.columns.find((c) => c.name === view.get("color")) || null,
    selected: toIndex,
    lasso: (targets) => view.set({ selected: targets.map((t) => data.samples[t.i]) }),
    pick: (t) => view.set({ selected: [data.samples[t.i]] }),
    rows: () => ({ columns: ["sample_id", "truth", view.get("a"), view.get("b")], rows: points().map((p) => [data.samples[p.i], data.truth[p.i], p.x, p.y]) }),
  });
  const shows = [["errors", "errors"], ...(data.kind === "regression" ? [["predictions", "predictions"]] : [])];
  const tools = view.bar(
    view.select("a", "First", names),
    view.select("b", "Second", names),
    view.select("show", "Show", shows),
    ...(data.columns.length ? [view.select("color", "Colour", [["", "none"], ...data.columns.map((c) => c.name)])] : []),
    view.button("Clear selection", () => view.set({ selected: [] })),
  );
  view.panel("Two models on the same samples", { plot: pairs, more: tools, help: "Above the line the first model errs less. Drag to lasso; the ids are in `explorer.selected`." });

  const rows = () => data.samples.map((id, i) => ({ id, truth: data.truth[i], a: row(view.get("a")).predictions[i], b: row(view.get("b")).predictions[i], gap: gap(i) })).filter((r) => !chosen().size || chosen().has(r.id)).sort((p, q) => q.gap - p.gap);
  const apart = view.table({
    caption: () => (chosen().size ? `The ${chosen().size} samples chosen` : "All samples") + ", by how differently the two models err",
    columns: () => [{ key: "id", label: "sample", left: true }, { key: "truth", label: "truth" }, { key: "a", label: view.get("a") }, { key: "b", label: view.get("b") }, { key: "gap", label: "difference of errors" }],
    rows,
    pick: (r) => view.set({ selected: [r.id] }),
    picked: (r) => chosen().has(r.id),
    most: 12,
  });
  view.panel("Where they disagree", { table: apart });

  view.watch("metric", () => view.redraw(forest));
  view.watch(["a", "b", "show", "color", "selected"], () => {
    apart.update();
    table.update();
    view.redraw();
  });
  view.watch("selected", () => view.say(`${chosen().size} samples chosen`));
}
