// Models compared: scores with intervals, paired differences, and the samples where two models disagree.

function build(view) {
  const data = view.get("data");
  const chosen = () => new Set(view.get("selected"));
  const row = (name) => data.contenders.find((c) => c.name === name);
  const axis = () => ({
    label: data.metrics[view.get("metric")] + (data.smaller.includes(view.get("metric")) ? " (smaller is better)" : ""),
  });
  const against = (
    name,
  ) => (name === view.get("a") ? view.say(`${name} is the first of the pair already`) : view.set({ b: name }));

  view.body.append(view.note(data.sentence));
  data.warnings.forEach((w) => view.body.append(view.note(w, "beware")));

  // -- scores -----------------------------------------------------------------------------------------------------------
  const names = () => data.contenders.map((c) => c.name);
  const forest = bars(view, {
    title: () => `${data.metrics[view.get("metric")]} of each model`,
    describe:
      "A dot a model, with its bootstrap interval; the best is on top. Enter makes a model the second of the pair below.",
    dots: true,
    zero: null,
    labels: 260,
    x: axis,
    items: () => {
      const metric = view.get("metric"), way = data.smaller.includes(metric) ? 1 : -1;
      const score = (c) => (isNumber(c.scores[metric][0]) ? way * c.scores[metric][0] : Infinity);
      return [...data.contenders].sort((p, q) => (score(p) === score(q) ? 0 : score(p) - score(q))).map((c) => {
        const [value, low, high] = c.scores[metric];
        return {
          key: c.name,
          label: c.name,
          value,
          low,
          high,
          shape: c.name === data.reference ? 0 : 1,
          bold: c.name === data.reference,
          color: c.name === data.reference ? null : GREY,
          tip: [c.name, isNumber(value) ? `${number(value)} [${number(low)}, ${number(high)}]` : "not defined"],
        };
      });
    },
    selected: () => view.get("b"),
    pick: (t) => against(t.key),
  });
  view.panel("Scores", { plot: forest, more: view.bar(view.select("metric", "Metric", Object.entries(data.metrics))) });

  const apart = (d) => d.verdict === "better" || d.verdict === "worse";
  const paired = bars(view, {
    title: `${data.reference} less each other, ${data.metrics[data.metric]}`,
    describe: "Paired differences with bootstrap intervals; to the right of 0 the reference is better.",
    dots: true,
    labels: 260,
    x: { label: `difference of ${data.metrics[data.metric]}` },
    items: () =>
      data.differences.map((d) => ({
        ...d,
        label: d.contender,
        key: d.contender,
        value: d.difference,
        shape: apart(d) ? 2 : 0,
        color: apart(d) ? null : GREY,
        tip: [
          d.contender,
          `${signed(d.difference)} [${number(d.low)}, ${number(d.high)}]`,
          `p (Holm) ${number(d.p_holm)}`,
          d.verdict,
        ],
      })),
    selected: () => view.get("b"),
    pick: (t) => against(t.key),
  });
  if (data.differences.length) {
    view.panel("Paired differences", {
      plot: paired,
      help:
        `A blue diamond where ${data.reference} is told apart from the other: the interval excludes 0 and the corrected test agrees.`,
    });
  }

  const table = view.table({
    caption: "Every model: metrics with intervals, difference from the reference, what it cost",
    columns: data.table.columns.map((c, k) => ({ key: c, label: c, left: k === 0 })),
    rows: data.table.rows,
    pick: (r) => against(r.contender),
    picked: (r) => r.contender === view.get("b"),
  });
  view.panel("Table", { table, wide: true });

  // -- two models, sample by sample -------------------------------------------------------------------------------------
  const place = new Map(data.samples.map((id, i) => [id, i]));
  const shows = (name) => (view.get("show") === "errors" ? row(name).errors : row(name).predictions);
  const points = () => {
    const [a, b] = [row(view.get("a")), row(view.get("b"))], [x, y] = [shows(a.name), shows(b.name)];
    return data.samples
      .map((id, i) => ({
        i,
        x: x[i],
        y: y[i],
        tip: () => [
          id,
          `true ${number(data.truth[i])}`,
          ...[a, b].map((c) => `${c.name}: ${number(c.predictions[i])}, error ${number(c.errors[i])}`),
        ],
      }))
      .filter((p) => isNumber(p.x) && isNumber(p.y));
  };
  const axisOf = (name) => () => ({
    label: `${cut(view.get(name), 36)}: ${view.get("show") === "errors" ? data.errorLabel : "prediction"}`,
    domain: padded(extent([...shows(view.get("a")), ...shows(view.get("b"))])),
  });
  const help = node("p", { class: "aam-help" });
  const explain = () => {
    const [a, b] = [view.get("a"), view.get("b")];
    const what = view.get("show") === "errors"
      ? `Above the dashed line ${a} errs less, below it ${b}.`
      : "On the dashed line both predict the same.";
    help.textContent = `${what}${
      data.repeats > 1 ? ` Each dot is the mean of ${data.repeats} repeats.` : ""
    } Drag to lasso; the ids are in explorer.selected.`;
  };
  explain();
  const pairs = scatter(view, {
    title: () => `${view.get("a")} and ${view.get("b")}, sample by sample`,
    describe: "A dot a sample; on the dashed line both models do alike. Draw around dots to choose samples.",
    points,
    x: axisOf("a"),
    y: axisOf("b"),
    diagonal: true,
    column: () => data.columns.find((c) => c.name === view.get("color")) || null,
    selected: () => new Set(view.get("selected").map((id) => place.get(id))),
    lasso: (targets) => view.set({ selected: targets.map((t) => data.samples[t.i]) }),
    pick: (t) => view.set({ selected: [data.samples[t.i]] }),
    rows: () => ({
      columns: ["sample_id", "truth", view.get("a"), view.get("b")],
      rows: points().map((p) => [data.samples[p.i], data.truth[p.i], p.x, p.y]),
    }),
  });
  const kinds = [["errors", "errors"], ["predictions", "predictions"]];
  const tools = view.bar(
    view.select("a", "First", names),
    view.select("b", "Second", names),
    ...(data.kind === "regression" ? [view.select("show", "Show", kinds)] : []),
    ...(data.columns.length
      ? [view.select("color", "Colour", [["", "none"], ...data.columns.map((c) => c.name)])]
      : []),
    view.button("Clear selection", () => view.set({ selected: [] })),
  );
  view.panel("Two models on the same samples", { plot: pairs, more: [tools, help] });

  let marked = chosen();
  const rows = () => {
    const some = (marked = chosen()), [a, b] = [row(view.get("a")), row(view.get("b"))];
    return data.samples
      .map((id, i) => ({
        id,
        truth: data.truth[i],
        a: a.predictions[i],
        b: b.predictions[i],
        errorA: a.errors[i],
        errorB: b.errors[i],
        gap: Math.abs(a.errors[i] - b.errors[i]),
      }))
      .filter((r) => !some.size || some.has(r.id))
      .sort((p, q) => q.gap - p.gap);
  };
  const counted =
    () => (chosen().size
      ? `The ${number(chosen().size)} sample${chosen().size === 1 ? "" : "s"} chosen`
      : `All ${number(data.samples.length)} samples`);
  const differ = view.table({
    caption: () => `${counted()}, by how differently the two models err (${data.errorLabel})`,
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
    picked: (r) => marked.has(r.id),
    most: 50,
  });
  view.panel("Where they disagree", { table: differ });

  view.watch("metric", () => view.redraw(forest));
  view.watch(["a", "b", "show", "color", "selected"], () => {
    explain();
    differ.update();
    table.update();
    view.redraw();
  });
  view.watch("selected", () => view.say(`${counted()}`));
}
