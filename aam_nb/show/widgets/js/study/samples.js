// The samples selected, or all, with their metadata.

function drawSamples({ view, data, ids, named, column, selected, shown, select }) {
  const listed = () =>
    [...new Set([view.get("color"), view.get("shape"), view.get("facet"), ...named])].filter(Boolean).slice(0, 6);
  const value = (c, i) => (c.kind === "numbers" ? c.values[i] : valueText(c, i));
  const table = view.table({
    caption: () => (selected().size ? `${countSamples(selected().size)} selected` : "All samples"),
    columns: () => [
      { key: "id", label: "sample", left: true, long: true },
      { key: "reads", label: "reads" },
      { key: "asvs", label: "ASVs" },
      ...listed().map((name, k) => ({ key: `c${k}`, label: name, left: column(name).kind === "categories" })),
    ],
    rows: () =>
      shown().map((i) => ({
        i,
        id: ids[i],
        reads: data.depth[i],
        asvs: data.richness[i],
        ...Object.fromEntries(listed().map((name, k) => [`c${k}`, value(column(name), i)])),
      })),
    pick: (r) => select([r.i]),
    picked: (r) => selected().has(r.i),
    most: 12,
  });
  view.panel("Samples", { table, wide: true, name: "samples" });
  view.watch(["selected", "color", "shape", "facet"], () => table.update());
}
