// Samples on two axes of a principal coordinate analysis.

function drawOrdination(state) {
  const { view, data } = state, ordination = ordinationOf(view);
  const plot = ordinationPlot(state, ordination);
  const note = view.note(() => {
    const { drawn, current } = ordination;
    if (drawn()) return [current().note, data.drawn].filter(Boolean).join(" ");
    if (current()) return current().note;
    return view.live ? "Computing distances …" : "This PCoA is not on the page. Choose another distance or depth.";
  });
  const update = () => {
    plot.el.hidden = !ordination.drawn();
    note.update();
    note.classList.toggle("aam-beware", !ordination.drawn() || Boolean(ordination.current().note));
    view.redraw(plot);
  };
  update();
  view.panel("Sample ordination (PCoA)", {
    plot,
    name: "pcoa",
    more: ordinationControls(state),
    below: note,
    help: `Drag around dots to select samples, with Shift to add more.${
      view.live ? " Their ids are in explorer.selected, their study in explorer.selection." : ""
    }`,
  });
  view.watch(["distance", "rarefy", "axes", "ordinations", "depth"], update);
  view.watch(["selected", "color", "shape"], () => view.redraw(plot));
}

// The PCoA of the distance and depth chosen, and which of its axes are drawn; there may be none yet.
function ordinationOf(view) {
  const key = () => view.get("distance") + (view.get("rarefy") ? `@${view.get("depth")}` : "");
  const current = () => view.get("ordinations")[key()];
  return {
    current,
    drawn: () => Boolean(current() && current().samples),
    axis: (k) => Number(view.get("axes").split("-")[k]) - 1,
  };
}

function ordinationPlot(state, { current, drawn, axis }) {
  const { view, data, ids, total, colour, column, selected, select, toggle } = state;
  const form = () => column(view.get("shape"));
  const tip = (i) => {
    const columns = [colour(), form()].filter((c, k, all) => c && all.indexOf(c) === k);
    return [
      ids[i],
      ...columns.map((c) => `${c.name}: ${valueText(c, i)}`),
      `${count(data.depth[i], "read")}, ${count(data.richness[i], "ASV")}`,
    ];
  };
  const points = remembered(
    () => [current(), view.get("axes")],
    (
      result,
    ) => (result && result.samples
      ? result.samples.map((i, n) => ({
        i,
        x: result.points[axis(0)][n],
        y: result.points[axis(1)][n],
        tip: () => tip(i),
      }))
      : []),
  );
  const label = (k) => () => ({
    label: drawn() ? `PCo ${axis(k) + 1} (${percent(current().share[axis(k)], 1)} explained)` : "",
  });
  return scatter(view, {
    title: () => `PCoA, ${drawn() ? current().label : ""}`,
    describe:
      "One dot for each sample. Draw around dots to select samples; Enter selects one; Escape clears the selection.",
    points,
    x: label(0),
    y: label(1),
    radius: total > 1500 ? 3 : 4.5,
    column: colour,
    form: () => (view.get("shape") === view.get("color") ? null : form()),
    selected,
    lasso: (targets, e) => select(new Set([...(e.shiftKey ? selected() : []), ...targets.map((t) => t.i)])),
    pick: (t, e) => (e.shiftKey ? toggle([t.i]) : select([t.i])),
    rows: () => ({
      columns: ["sample_id", `PCo ${axis(0) + 1}`, `PCo ${axis(1) + 1}`],
      rows: points().map((p) => [ids[p.i], p.x, p.y]),
    }),
  });
}

// Without a kernel only the distances that were saved can be chosen.
function ordinationControls({ view, data }) {
  const keys = Object.keys(view.get("ordinations")), rarefied = view.live || keys.some((key) => key.includes("@"));
  const metrics = () => {
    const saved = new Set(Object.keys(view.get("ordinations")).map((key) => key.split("@")[0]));
    return data.distances.filter(([name]) => view.live || saved.has(name));
  };
  return view.bar(
    view.select("distance", "Distance", metrics),
    view.select("axes", "Axes", [["1-2", "1 and 2"], ["1-3", "1 and 3"], ["2-3", "2 and 3"]]),
    ...(rarefied ? [view.toggle("rarefy", "rarefied to the depth")] : []),
  );
}
