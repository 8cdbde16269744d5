// Rarefaction curves: how many ASVs are expected among so many reads.

const DASHES = [[], [7, 3], [2, 2], [8, 3, 2, 3], [12, 3], [4, 4], [1, 3], [9, 2, 2, 2, 2, 2]];

function drawCurves(state) {
  const { view } = state,
    sent = () => view.get("curves").series || [],
    byLevel = () => view.get("curves_by") === "levels";
  const plot = curvesPlot(state, sent);
  const table = view.table({
    caption: () => view.get("curves").of || "",
    columns: () => [
      { key: "name", label: byLevel() ? "level" : "sample", left: true },
      { key: "reads", label: byLevel() ? "reads, median" : "reads" },
      { key: "asvs", label: byLevel() ? "ASVs, median" : "ASVs" },
      {
        key: "here",
        label: `expected at ${number(view.get("curves").depth)} reads`,
        format: (v) => (isNumber(v) ? number(v) : "too shallow"),
      },
    ],
    rows: sent,
    most: 8,
  });
  view.panel("Rarefaction curves", {
    plot,
    name: "curves",
    more: view.live
      ? view.bar(
        view.select("curves_by", "Curves of", [["samples", "single samples"], [
          "levels",
          "levels of the colour (means)",
        ]]),
      )
      : [],
    below: table.el,
    help:
      `Where a curve is flat, more reads would find no more ASVs (exact expected values). The dashed line is the depth.${
        view.live ? "" : " The curves are as they were when the page was saved."
      }`,
  });
  view.watch(["selected", "color", "shape", "depth"], () => view.redraw(plot));
  view.watch(["curves", "curves_by"], () => {
    table.update();
    view.redraw(plot);
  });
}

function curvesPlot(state, sent) {
  const { view } = state;
  const longest = () => Math.max(2, ...sent().map((s) => s.points[s.points.length - 1][0]));
  return lines(view, {
    title: "Rarefaction curves",
    describe: "ASVs expected among a number of reads drawn from a sample. The line is the rarefaction depth.",
    series: () => styledCurves(state, sent()),
    x: () => ({ label: "reads drawn", domain: [0, longest()] }),
    y: { label: "ASVs expected" },
    grip: {
      draw: (pen, w, h) => {
        const side = styledCurves(state, sent()).some((s) => s.label) ? legendRoom(w) : 8,
          x = scale([0, longest()], [58, w - side - 10])(state.draft);
        if (x <= w - side - 10) pen.line(x, 10, x, h - 44, { stroke: UP, width: 1.5, dash: [4, 3] });
      },
      takes: () => false,
    },
    rows: () => ({
      columns: ["series", "reads", "asvs"],
      rows: sent().flatMap((s) => s.points.map((p) => [s.name, ...p])),
    }),
  });
}

// Curves in the colours of their levels; of each level the first has its name in the legend. A curve of a level has
// no sample: its `i` is -1.
function styledCurves({ view, colour, selected }, sent) {
  const column = colour(), encoded = encoding(column), named = new Set();
  return sent.map((s, n) => {
    const single = s.i >= 0, level = !single ? s.name : column ? valueText(column, s.i) : "";
    const k = encoded.items.findIndex((t) => t.label === level), first = !named.has(level);
    named.add(level);
    const faint = selected().size && single && !selected().has(s.i);
    const hue = single
      ? (column ? encoded.color(s.i) : view.ink().main)
      : k >= 0
      ? encoded.items[k].color
      : PALETTE[n % PALETTE.length];
    return {
      ...s,
      label: single ? (first && k >= 0 ? level : "") : `${s.name} (${number(s.n)})`,
      name: single && column ? `${s.name}, ${level}` : s.name,
      color: hue,
      dash: k >= 0 ? DASHES[k % DASHES.length] : [],
      width: single ? 1.3 : 2.2,
      alpha: faint ? 0.2 : 0.9,
    };
  });
}
