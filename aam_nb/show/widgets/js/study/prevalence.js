// Prevalence: how many ASVs are found in how many samples, and what a filter by it would keep.

function drawPrevalence({ view, data }) {
  const [inSamples, asvs, reads] = data.prevalence,
    most = Math.max(...inSamples),
    sum = (values) => values.reduce((a, b) => a + b, 0);
  const allAsvs = sum(asvs), allReads = sum(data.depth);
  // ASVs found in at least so many samples, and their reads
  const common = (least) =>
    inSamples.reduce(([n, r], p, k) => (p >= least ? [n + asvs[k], r + reads[k]] : [n, r]), [0, 0]);
  const plot = prevalencePlot(view, inSamples, asvs, most);
  const words = view.note(() => {
    const least = view.get("min_prevalence"), [n, r] = common(least);
    return `${number(n)} of ${number(allAsvs)} ASVs (${percent(n / allAsvs, 1)}) are found in at least ${
      countSamples(least)
    }; they have ${percent(r / allReads, 2)} of the reads.`;
  });
  const table = view.table({
    caption: "ASVs kept by a filter on prevalence",
    columns: [{ key: "least", label: "in at least … samples" }, { key: "n", label: "ASVs" }, {
      key: "share",
      label: "of all ASVs",
      format: (v) => percent(v, 1),
    }, { key: "reads", label: "of all reads", format: (v) => percent(v, 2) }],
    rows: () =>
      [1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000].filter((k) => k <= most).map((least) => ({
        least,
        n: common(least)[0],
        share: common(least)[0] / allAsvs,
        reads: common(least)[1] / allReads,
      })),
    pick: (r) => view.set({ min_prevalence: r.least }),
    picked: (r) => r.least === view.get("min_prevalence"),
    most: 6,
  });
  view.panel("Prevalence", {
    plot,
    name: "prevalence",
    more: view.bar(view.slider("min_prevalence", "At least", { min: 1, max: most, log: true, format: countSamples })),
    below: [words, table.el],
    help: `Many ASVs are found in few samples and have few reads.${
      view.live ? " Without them: explorer.filtered." : ""
    }`,
  });
  view.watch("min_prevalence", () => {
    words.update();
    table.update();
    view.redraw(plot);
  });
}

// Bars from 1 sample, 2, 3 to 4, 5 to 8 … up to the most.
function prevalencePlot(view, inSamples, asvs, most) {
  const ends = Array.from({ length: Math.ceil(Math.log2(Math.max(1, most))) + 1 }, (_, k) => 2 ** k);
  const starts = ends.map((_, k) => (k ? ends[k - 1] + 1 : 1));
  const counts = starts.map((start, k) =>
    inSamples.reduce((n, p, j) => (p >= start && p <= ends[k] ? n + asvs[j] : n), 0)
  );
  const range = (k) => (starts[k] === ends[k] ? `${number(ends[k])}` : `${number(starts[k])}–${number(ends[k])}`);
  return histogram(view, {
    title: "Prevalence of ASVs",
    describe: "Numbers of ASVs by how many samples they are found in. Enter filters at a bar.",
    bins: { edges: [...ends.map((_, k) => k), ends.length], counts },
    x: {
      label: "samples in which an ASV is found",
      ticks: ends.map((_, k) => k + 0.5),
      format: (t) => range(Math.floor(t)),
      named: true,
    },
    y: { label: "ASVs" },
    shade: (k) => ends[k] < view.get("min_prevalence"),
    tip: (k) => [`found in ${range(k)} sample${ends[k] === 1 ? "" : "s"}`, count(counts[k], "ASV")],
    pick: (t) => view.set({ min_prevalence: starts[t.k] }),
    rows: () => ({ columns: ["from", "to", "asvs"], rows: starts.map((start, k) => [start, ends[k], counts[k]]) }),
  });
}
