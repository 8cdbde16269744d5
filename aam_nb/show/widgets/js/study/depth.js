// Depth: reads per sample, and what is kept at a rarefaction depth.

function drawDepth(state) {
  const { view, data, total, colour } = state, depths = depthsOf(data);
  const plot = depthPlot(state, depths, (depth) => drag(depth));
  const { slider, exact, show } = depthControls(state, depths, (depth) => drag(depth));
  const words = view.note(() => depthWords(state, depths));
  const table = view.table({
    caption: () => `Samples kept${colour() && colour().kind === "categories" ? `, by ${view.get("color")}` : ""}`,
    columns: [
      { key: "name", label: "samples", left: true },
      { key: "n", label: "all" },
      { key: "kept", label: "kept" },
      { key: "share", label: "kept, of these", format: (v) => percent(v, 1) },
    ],
    rows: () => keptByLevel(state),
    most: 6,
  });
  // While the line is dragged everything here follows it; the trait is set at the end.
  function drag(depth) {
    state.draft = depth;
    show(depth);
    words.update();
    view.redraw(plot);
  }
  drag(state.draft);
  const empty = total - depths.reaching(1);
  view.panel("Depth", {
    plot,
    name: "depth",
    more: view.bar(
      node("label", { class: "aam-control" }, "Rarefaction depth ", slider),
      node("label", { class: "aam-control" }, exact, " reads"),
    ),
    below: [words, table.el],
    help: `Drag the line. Samples with fewer reads are dropped; from each of the others this many reads are drawn${
      view.live ? " (explorer.rarefied)" : ""
    }.${empty ? ` ${countSamples(empty)} without reads are not in the histogram.` : ""}`,
  });
  view.watch("depth", () => {
    drag(view.get("depth"));
    table.update();
    view.say(`${countSamples(depths.reaching(state.draft))} kept`);
  });
  view.watch(["selected", "retained"], () => words.update());
  view.watch(["color", "shape"], () => table.update());
}

// Depths in order: the least above 0, the largest, and what reaches a depth.
function depthsOf(data) {
  const sorted = Float64Array.from(data.depth).sort(),
    deepest = sorted[sorted.length - 1],
    shallowest = sorted.find((d) => d > 0);
  const reaching = (depth) => {
    let [low, high] = [0, sorted.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle] >= depth) high = middle;
      else low = middle + 1;
    }
    return sorted.length - low; // samples with at least so many reads
  };
  return {
    deepest,
    shallowest,
    reaching,
    held: (depth) => data.deepest[0].reduce((n, deep, k) => (deep >= depth ? n + data.deepest[1][k] : n), 0), // ASVs
    reads: sorted.reduce((a, b) => a + b, 0),
    asvs: data.prevalence[1].reduce((a, b) => a + b, 0),
    clamp: (depth) => Math.min(deepest, Math.max(1, Math.round(depth))),
  };
}

// A step of the keys is a twentieth of the depth.
function nudgeDepth(view, depths, by) {
  const depth = view.get("depth");
  view.set({ depth: depths.clamp(depth + by * Math.max(1, Math.round(depth / 20))) });
}

// The histogram, on a logarithm, with the line that can be dragged.
function depthPlot(state, depths, drag) {
  const { view } = state,
    { shallowest, reaching, clamp } = depths,
    bins = 30,
    top = Math.max(depths.deepest, shallowest + 1);
  const edges = Array.from({ length: bins + 1 }, (_, k) => shallowest * (top / shallowest) ** (k / bins));
  edges[bins] = top;
  const counts = edges.slice(1).map((edge, k) => reaching(edges[k]) - (k === bins - 1 ? 0 : reaching(edge)));
  const plot = histogram(view, {
    title: "Reads per sample",
    describe:
      "Histogram of reads per sample, with a line at the rarefaction depth. Shift and an arrow key move the line; Enter moves it to a bar.",
    bins: { edges, counts },
    x: { label: "reads per sample", log: true },
    y: { label: "samples" },
    shade: (_low, high) => high <= state.draft,
    pick: (t) => view.set({ depth: clamp(Math.ceil(edges[t.k])) }),
    grip: {
      draw: (pen, w, h, ink) => drawDepthLine(pen, w, state.draft, plot.scaleX(w, h), [shallowest, top], ink),
      takes: (x, _y, w, h) => Math.abs(x - plot.scaleX(w, h)(Math.max(shallowest, state.draft))) < 8,
      move: (x, _y, w, h) => drag(clamp(plot.scaleX(w, h).invert(x))),
      done: () => view.set({ depth: state.draft }),
      key: (name, shift) => {
        if (!shift || !["ArrowLeft", "ArrowRight"].includes(name)) return false;
        nudgeDepth(view, depths, name === "ArrowRight" ? 1 : -1);
        return true;
      },
    },
  });
  return plot;
}

function drawDepthLine(pen, w, depth, sx, [low, high], ink) {
  const x = sx(Math.min(high, Math.max(low, depth))), { y, h } = sx.box, left = x > w - 90;
  pen.line(x, y - 4, x, y + h, { stroke: UP, width: 2 });
  pen.path([[x - 6, y - 8], [x + 6, y - 8], [x, y + 2]], { fill: UP, close: true });
  pen.text(number(depth), x + (left ? -9 : 9), y + 4, {
    size: 11.5,
    weight: "bold",
    anchor: left ? "end" : "start",
    fill: ink.text,
  });
}

// A slider, on a logarithm, and a field for the exact number; `show(depth)` sets both.
function depthControls(state, depths, drag) {
  const { view } = state, { deepest, clamp } = depths;
  const slider = node("input", {
    type: "range",
    min: 0,
    max: Math.log10(deepest),
    step: "any",
    "aria-label": "Rarefaction depth",
    "data-trait": "depth",
  });
  const exact = node("input", {
    type: "number",
    min: 1,
    max: deepest,
    step: 1,
    class: "aam-button",
    "aria-label": "Rarefaction depth, exactly",
  });
  slider.addEventListener("input", () => drag(clamp(10 ** +slider.value)));
  slider.addEventListener("change", () => view.set({ depth: state.draft }));
  slider.addEventListener("keydown", (e) => {
    const way = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[e.key];
    if (!way) return;
    e.preventDefault();
    e.stopPropagation();
    if (e.shiftKey) view.set({ depth: clamp(view.get("depth") + way) });
    else nudgeDepth(view, depths, way);
  });
  exact.addEventListener("change", () => {
    exact.value = clamp(+exact.value || 1);
    view.set({ depth: +exact.value });
  });
  const show = (depth) => {
    if (Math.round(10 ** +slider.value) !== depth) slider.value = Math.log10(depth);
    slider.setAttribute("aria-valuetext", count(depth, "read"));
    exact.value = depth;
  };
  return { slider, exact, show };
}

// What a depth keeps and what it drops, in a few sentences.
function depthWords({ view, data, total, selected, draft }, { reaching, held, reads, asvs }) {
  const n = reaching(draft), expected = view.get("retained")[draft];
  const dropped = [...selected()].filter((i) => data.depth[i] < draft).length;
  return (
    `At ${number(draft)} reads, ${number(n)} of ${countSamples(total)} are kept (${percent(n / total, 1)}) with ${
      number(held(draft))
    } of ${number(asvs)} ASVs; ` +
    `${number(n * draft)} reads are drawn (${percent((n * draft) / reads, 1)} of all). ` +
    (expected === undefined
      ? (view.live ? "" : "A notebook also shows how many ASVs are expected among them. ")
      : `Of the ASVs, ${number(Math.round(expected))} are expected among the reads drawn. `) +
    (selected().size ? `Of the ${number(selected().size)} selected, ${number(dropped)} would be dropped.` : "")
  );
}

// How many samples of each level of the colour are kept, the largest level first.
function keptByLevel({ data, everyone, colour, draft }) {
  const column = colour(), levels = [];
  if (column && column.kind === "categories") {
    levels.push(...column.levels.map((name, k) => [name, k]));
    if (column.values.includes(-1)) levels.push(["missing", -1]);
  }
  const row = (name, samples) => ({
    name,
    n: samples.length,
    kept: samples.filter((i) => data.depth[i] >= draft).length,
  });
  const byLevel = levels.map(([name, level]) => row(name, everyone.filter((i) => column.values[i] === level)));
  return [row("all samples", everyone), ...byLevel.sort((a, b) => b.n - a.n)].map((r) => ({
    ...r,
    share: r.n ? r.kept / r.n : 0,
  }));
}
