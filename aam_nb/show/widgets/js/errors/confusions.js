// A confusion matrix: colour is the share of the true class, text the count or that share; the cell chosen is framed.

function drawConfusions({ view, data, ids, select }) {
  const places = new Map(data.classes.map((c, k) => [c, k]));
  const plot = confusionMatrix(view, {
    title: `Confusions of ${data.target}`,
    describe: "Rows are true classes, columns are predicted classes. Enter selects the samples of a cell.",
    classes: data.classes,
    counts: data.counts,
    target: data.target,
    shares: () => view.get("show") === "shares",
    cell: () => (view.get("cell").length ? view.get("cell").map((c) => places.get(c)) : null),
    pick: (t) => {
      const cell = [data.classes[t.r], data.classes[t.c]];
      select([...ids.keys()].filter((i) => data.truth[i] === cell[0] && data.prediction[i] === cell[1]), { cell });
    },
  });
  const table = view.table({
    caption: "Precision, recall and F1 (0 to 1) of each class; support is its number of samples",
    columns: [
      { key: "class", label: "class", left: true, long: true },
      ...["precision", "recall", "f1", "support"].map((k) => ({ key: k, label: k === "f1" ? "F1" : k })),
    ],
    rows: data.byClass,
  });
  view.panel("Confusions", {
    plot,
    more: view.bar(view.select("show", "Show", [["counts", "samples"], ["shares", "share of the true class"]])),
    help: "Colour is the share of the true class. Click a cell to select its samples; they are listed below.",
    below: table.el,
  });
}

function confusionMatrix(view, { classes, counts, target, shares, cell: framed, ...more }) {
  const sums = counts.map((row) => row.reduce((a, b) => a + b, 0)), n = classes.length;
  const longest = Math.min(130, widest(classes, { size: 11 }));
  const layout = (w) => {
    const left = Math.min(w * 0.3, 34 + longest),
      cell = Math.max(4, Math.min(64, (w - left - 66) / n)),
      steep = cell < 24;
    return { left, top: 8, cell, side: n * cell, steep, longest, below: 36 + (steep ? 0.95 : 0.65) * longest };
  };
  const draw = (pen, w, _h, ink) => {
    const place = layout(w), { left, top, cell, side } = place;
    const targets = drawConfusionCells(pen, { classes, counts, sums, shares: shares() }, place, ink), frame = framed();
    if (frame) {
      pen.rect(left + frame[1] * cell + 0.5, top + frame[0] * cell + 0.5, cell - 1, cell - 1, { stroke: UP, width: 3 });
    }
    drawClassNames(pen, classes, target, place, ink);
    colourBar(pen, { x: left + side + 16, y: top, w: 10, h: Math.min(120, side) }, cividis, ["0%", "100%"], ink);
    return targets;
  };
  return new Plot(view, {
    height: (w) => 8 + layout(w).side + layout(w).below,
    rows: () => ({
      columns: ["truth", "prediction", "n", "share_of_truth"],
      rows: counts.flatMap((row, r) => row.map((v, c) => [classes[r], classes[c], v, v / Math.max(1, sums[r])])),
    }),
    ...more,
    draw,
  });
}

function drawConfusionCells(pen, { classes, counts, sums, shares }, { left, top, cell }, ink) {
  return counts.flatMap((row, r) =>
    row.map((v, c) => {
      const share = v / Math.max(1, sums[r]), x = left + c * cell, y = top + r * cell;
      pen.rect(x + 0.5, y + 0.5, cell - 1, cell - 1, { fill: v ? cividis(share) : ink.faint, alpha: v ? 1 : 0.5 });
      const fill = !v ? ink.soft : share > 0.6 ? "#111111" : "#ffffff", size = Math.min(12.5, cell * 0.38);
      if (cell >= 22) {
        pen.text(shares ? percent(share) : number(v), x + cell / 2, y + cell / 2, {
          anchor: "middle",
          size,
          fill,
          weight: r === c ? "bold" : "normal",
        });
      }
      const tip = () => [
        `true ${classes[r]}`,
        `predicted ${classes[c]}`,
        `${number(v)} of ${countSamples(sums[r])} (${percent(share, 1)})`,
      ];
      return { x, y, w: cell, h: cell, r, c, tip };
    })
  );
}

// Names of the classes, as many as fit, and of the two axes.
function drawClassNames(pen, classes, target, { left, top, cell, side, steep, below, longest }, ink) {
  const every = Math.max(1, Math.ceil(12 / cell)), across = Math.max(1, Math.ceil(14 / cell));
  const style = { anchor: "end", size: 11, fill: ink.text, angle: steep ? -70 : -38 };
  classes.forEach((name, k) => {
    const x = left + (k + 0.5) * cell, y = top + (k + 0.5) * cell;
    if (k % every === 0) rowLabel(pen, name, left - 7, y, { room: left - 28, size: 11, fill: ink.text });
    if (k % across === 0) pen.text(fitted(name, Math.min(longest, x / 0.8), style), x, top + side + 8, style);
  });
  const named = { anchor: "middle", size: 12, fill: ink.text };
  pen.text(fitted(`true ${target}`, side + 14, named), 10, top + side / 2, { ...named, angle: -90 });
  pen.text(fitted(`predicted ${target}`, left + side, named), left + side / 2, top + side + below - 10, named);
}
