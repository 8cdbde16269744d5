// What each model scores, how far it is from the reference, and both as a table.

function drawScores({ view, data, compareWith }) {
  const metric = () => view.get("metric"), smaller = () => data.smaller.includes(metric());
  const ranked = () => {
    const score = (c) => (isNumber(c.scores[metric()][0]) ? (smaller() ? 1 : -1) * c.scores[metric()][0] : Infinity);
    return [...data.contenders].sort((p, q) => (score(p) === score(q) ? 0 : score(p) - score(q)));
  };
  const item = (c) => {
    const [value, low, high] = c.scores[metric()], reference = c.name === data.reference;
    const tip = [c.name, isNumber(value) ? `${number(value)} [${number(low)}, ${number(high)}]` : "not defined"];
    return {
      key: c.name,
      label: c.name,
      value,
      low,
      high,
      shape: reference ? 0 : 1,
      bold: reference,
      color: reference ? null : GREY,
      tip,
    };
  };
  const plot = bars(view, {
    title: () => `${data.metrics[metric()]} of each model`,
    describe:
      "One dot for each model, with its bootstrap interval; the best is on top. Enter makes a model the second of the pair below.",
    dots: true,
    zero: null,
    labels: 260,
    x: () => ({ label: data.metrics[metric()] + (smaller() ? " (smaller is better)" : "") }),
    items: () => ranked().map(item),
    selected: () => view.get("b"),
    pick: (t) => compareWith(t.key),
  });
  view.panel("Scores", { plot, more: view.bar(view.select("metric", "Metric", Object.entries(data.metrics))) });
  view.watch("metric", () => view.redraw(plot));
}

function drawDifferences({ view, data, compareWith }) {
  const differs = (d) => d.verdict === "better" || d.verdict === "worse", metric = data.metrics[data.metric];
  const item = (d) => ({
    ...d,
    label: d.contender,
    key: d.contender,
    value: d.difference,
    shape: differs(d) ? 2 : 0,
    color: differs(d) ? null : GREY,
    tip: [
      d.contender,
      `${signed(d.difference)} [${number(d.low)}, ${number(d.high)}]`,
      `p (Holm) ${number(d.p_holm)}`,
      d.verdict,
    ],
  });
  const plot = bars(view, {
    title: `${data.reference} minus each other model, ${metric}`,
    describe: "Paired differences with bootstrap intervals; to the right of 0 the reference is better.",
    dots: true,
    labels: 260,
    x: { label: `difference of ${metric}` },
    items: () => data.differences.map(item),
    selected: () => view.get("b"),
    pick: (t) => compareWith(t.key),
  });
  if (data.differences.length) {
    view.panel("Paired differences", {
      plot,
      help:
        `A blue diamond: ${data.reference} differs from the other model (the interval excludes 0 and the corrected test agrees).`,
    });
  }
}

function drawTable({ view, data, compareWith }) {
  const table = view.table({
    caption: "Every model: metrics with intervals, difference from the reference, time",
    columns: data.table.columns.map((c, k) => ({ key: c, label: c, left: k === 0 })),
    rows: data.table.rows,
    pick: (r) => compareWith(r.contender),
    picked: (r) => r.contender === view.get("b"),
  });
  view.panel("Table", { table, wide: true });
  view.watch("b", () => table.update());
}
