// Samples by their error, and one of them closely: what is known of it, what moved its prediction, and what lies near
// it.

function drawWorstSamples(state) {
  const { view, data, regression, total, listed, look, current } = state;
  const table = view.table({
    caption: () => {
      const n = listed().length;
      return `${
        n < total ? `${countSamples(n)} selected${selectionOrigin(view)}` : `All ${countSamples(total)}`
      }, the largest error first; click a row to see the sample`;
    },
    columns: [
      { key: "id", label: "sample", left: true, long: true },
      { key: "truth", label: "true", long: true },
      { key: "prediction", label: "predicted", long: true },
      { key: "error", label: "error" },
      ...(regression ? [{ key: "residual", label: "residual", format: signed }] : []),
      ...(data.outside ? [{ key: "far", label: "distance percentile" }] : []),
      { key: "depth", label: "reads" },
      { key: "flags", label: "warnings", left: true },
    ],
    rows: listed,
    pick: (r) => look(r.i),
    picked: (r) => r.i === current(),
    most: 50,
  });
  view.panel("Worst samples", { table });
  view.watch(["sample", "selected", "slice", "cell"], () => table.update());
}

function drawOneSample(state) {
  const { view, data, listed, look, select, current } = state;
  const list = node("dl", { class: "aam-facts" }), doubt = view.note(() => doubtWords(state), "beware");
  const metadata = data.columns.filter((c) => c.metadata);
  const table = view.table({
    caption: "Metadata",
    columns: [{ key: "name", label: "column", left: true }, { key: "value", label: "value", left: true, long: true }],
    rows: () => metadata.map((c) => ({ name: c.name, value: valueText(c, current()) })),
  });
  const step = (by) => {
    const rows = listed(), k = rows.findIndex((r) => r.i === current());
    look(rows[Math.min(rows.length - 1, Math.max(0, k < 0 ? 0 : k + by))].i);
  };
  const walk = view.bar(
    view.button("◂ larger error", () => step(-1)),
    view.button("smaller error ▸", () => step(1)),
    view.button("Select only this", () => select([current()])),
  );
  const panel = view.panel("One sample", {
    name: "One sample",
    more: [walk, list, doubt],
    below: metadata.length ? table.el : [],
  });
  const update = () => {
    panel.retitle(`Sample ${view.get("sample")}`);
    list.replaceChildren(...sampleFacts(state).map(([name, value]) => fact(name, number(value))));
    doubt.update();
    table.update();
  };
  update();
  view.watch("sample", update);
}

function sampleFacts({ data, total, everyone, current }) {
  const i = current(), rank = everyone.findIndex((r) => r.i === i) + 1;
  const more = data.columns.filter((c) => !c.metadata && c.kind === "numbers" && c.name !== "error");
  return [
    ["true", data.truth[i]],
    ["predicted", data.prediction[i]],
    ["error", data.error[i]],
    ["rank by error", `${number(rank)} of ${number(total)}`],
    ...more.map((c) => [c.name.replaceAll("_", " "), c.values[i]]),
  ].filter(([, value]) => value !== undefined && value !== null && value !== "");
}

function doubtWords({ data, suspects, current }) {
  const i = current(), s = suspects.get(i), doubts = [];
  if (data.outside && data.outside[i]) {
    doubts.push(
      "It is outside the training data: farther from it than 99% of the training samples are from each other.",
    );
  }
  if (s) {
    doubts.push(
      `Its label is suspect: the model says ${number(s.model)}, the random forest ${number(s.forest)}, the label ${
        number(s.truth)
      } (score ${number(s.score)}). Check this label; it may still be right.`,
    );
  }
  return doubts.join(" ");
}

// Why something is not known of the sample looked at, where it is known of others or of none.
function missingWords({ data, total, current }, name, all) {
  if (!all.length) return `${name}: none in this analysis${data.notes.length ? "; see the notes above" : ""}.`;
  if (data.looked.includes(current())) return "";
  const n = data.looked.length, more = Math.min(total, Math.max(50, 2 * n));
  return `${name}: only for the ${
    number(n)
  } samples with the largest errors, not for this one. For more samples: aam.errors(result, study, num_worst=${more}).`;
}

function drawReasons(state) {
  const { view, data, ids, regression, current } = state, own = () => data.reasons.filter((r) => r.i === current());
  const table = view.table({
    caption: () => `ASVs of ${view.get("sample")}`,
    columns: [
      { key: "name", label: "ASV", left: true, long: true },
      { key: "value", label: "attribution", format: signed },
      ...(data.reasons.some((r) => r.lineage) ? [{ key: "lineage", label: "taxa", left: true, long: true }] : []),
      { key: "asv", label: "DNA", left: true, long: true },
    ],
    rows: own,
  });
  const item = (r) => ({
    key: r.asv,
    label: r.name,
    value: r.value,
    color: r.value > 0 ? UP : DOWN,
    mark: r.value > 0 ? "▲" : "▼",
    tip: [r.name, ...[r.lineage].filter(Boolean), signed(r.value), r.asv],
  });
  const plot = !data.reasons.length ? null : bars(view, {
    title: () => `ASVs that moved the prediction of ${view.get("sample")}`,
    describe: "One bar for each ASV: to the right it raises the output, to the left it lowers it.",
    x: () => ({
      label: regression
        ? `attribution (units of ${data.target})`
        : `attribution (log-odds of ${own()[0]?.output ?? ""})`,
    }),
    items: () => own().map(item),
    labels: 260,
    rows: () => ({
      columns: ["sample_id", "output", "asv_id", "name", "attribution"],
      rows: own().map((r) => [ids[r.i], r.output, r.asv, r.name, r.value]),
    }),
  });
  const missing = view.note(() => (own().length ? "" : missingWords(state, "Attributions", data.reasons)));
  const strongest = node(
    "p",
    { class: "aam-help" },
    `Its ${
      number(data.topAsvs)
    } ASVs with the largest attributions (integrated gradients). Check them with aam.explain.faithfulness before you use them.`,
  );
  view.panel("What moved its prediction", { plot, more: [missing, strongest], below: table.el });
  const update = () => {
    missing.update();
    for (const el of [table.el, strongest, ...(plot ? [plot.el] : [])]) el.hidden = !own().length;
    table.update();
  };
  update();
  view.watch("sample", update);
}

function drawNeighbours(state) {
  const { view, data, current } = state,
    near = (space) => data.neighbours.filter((r) => r.i === current() && r.space === space);
  const columns = [{ key: "rank", label: "" }, { key: "neighbour", label: "training sample", left: true, long: true }, {
    key: "neighbour_truth",
    label: "true",
    long: true,
  }, { key: "distance", label: "distance" }];
  const spaces = [["embedding", "In the model's embedding (Euclidean)"], ["unifrac", "In unweighted UniFrac"]];
  const tables = spaces.map(([space, caption]) => ({
    space,
    table: view.table({ caption, columns, rows: () => near(space) }),
  }));
  const missing = view.note(
    () => (spaces.some(([space]) => near(space).length)
      ? ""
      : missingWords(state, "Nearest training samples", data.neighbours)),
  );
  view.panel("Its nearest training samples", {
    below: [missing, ...tables.map(({ table }) => table.el)],
    help:
      "If training samples that are close to it have other true values, these ASVs do not determine the target, or a label is wrong.",
  });
  const update = () => {
    missing.update();
    for (const { space, table } of tables) {
      table.el.hidden = !near(space).length;
      table.update();
    }
  };
  update();
  view.watch("sample", update);
}
