// What all panels of an error analysis know: its samples by their places, the one looked at, those selected, and what
// is doubtful about them.

function errorsState(view) {
  const data = view.get("data"), ids = data.samples, regression = data.kind === "regression";
  const places = new Map(ids.map((id, i) => [id, i]));
  const suspects = new Map(data.suspects.map((s) => [s.i, s]));
  const column = (name) => data.columns.find((c) => c.name === name) || null;
  const selected = remembered(() => [view.get("selected")], (chosen) => new Set(chosen.map((id) => places.get(id))));
  const flags = (i) =>
    [data.outside && data.outside[i] && "outside the training data", suspects.has(i) && "label suspect"].filter(Boolean)
      .join(", ");
  // rows of the table, the largest error first
  const everyone = data.order.map((i) => ({
    i,
    id: ids[i],
    truth: data.truth[i],
    prediction: data.prediction[i],
    error: data.error[i],
    residual: regression ? data.residual[i] : null,
    far: column("distance_percentile")?.values[i],
    depth: column("depth")?.values[i],
    flags: flags(i),
  }));
  return {
    view,
    data,
    ids,
    regression,
    total: ids.length,
    suspects,
    column,
    selected,
    everyone,
    listed: () => (selected().size ? everyone.filter((r) => selected().has(r.i)) : everyone),
    flaggedLast: [...ids.keys()].sort((p, q) => !!flags(p) - !!flags(q)), // so that they are drawn on top
    current: () => places.get(view.get("sample")),
    look: (i) => view.set({ sample: ids[i] }),
    select: (samples, of = {}) => view.set({ selected: samples.map((i) => ids[i]), slice: "", cell: [], ...of }),
    tip: (
      i,
    ) => [
      ids[i],
      `true ${number(data.truth[i])}, predicted ${number(data.prediction[i])}`,
      `error ${number(data.error[i])}`,
      ...[flags(i)].filter(Boolean),
    ],
  };
}

// The slice or the cell that the selection was made by.
function selectionOrigin(view) {
  const cell = view.get("cell");
  return view.get("slice")
    ? `, slice ${view.get("slice")}`
    : cell.length
    ? `, true ${cell[0]} predicted ${cell[1]}`
    : "";
}

function selectionWords({ view, data, regression, total, selected }) {
  const samples = [...selected()], origin = selectionOrigin(view);
  const mean = samples.reduce((sum, i) => sum + data.error[i], 0) / samples.length;
  if (samples.length) {
    return `${number(samples.length)} of ${countSamples(total)} selected${origin}; mean error ${number(mean)}`;
  }
  return origin
    ? `No samples selected${origin}`
    : "No selection: drag around dots, or click a slice" + (regression ? "" : " or a cell");
}
