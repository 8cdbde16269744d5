// The samples that were explained, and how well their attributions add up.

function drawSamples({ view, data, ids, selected }) {
  const { output, prediction, reference, sum, gap } = data.check;
  const everyone = ids.map((id, i) => ({
    i,
    id,
    output: output[i],
    prediction: prediction[i],
    reference: reference[i],
    sum: sum[i],
    gap: gap[i],
    share: data.shares ? data.shares[i] : null,
  }));
  const table = view.table({
    caption: () =>
      (view.get("selected").length
        ? `${countSamples(view.get("selected").length)} selected`
        : `All ${number(ids.length)} samples`) + "; click a row to make it the first of the pair",
    columns: [
      { key: "id", label: "sample", left: true, long: true },
      ...(new Set(output).size > 1 ? [{ key: "output", label: "explained", left: true, long: true }] : []),
      { key: "prediction", label: "prediction" },
      { key: "reference", label: "reference" },
      ...(data.adds ? [{ key: "sum", label: "sum of attributions" }] : []),
      ...(data.shares
        ? [{ key: "gap", label: "gap" }, {
          key: "share",
          label: "gap, share of the change",
          format: (v) => percent(v, 2),
        }]
        : []),
    ],
    rows: () => {
      const some = selected();
      return some.size ? everyone.filter((r) => some.has(r.i)) : everyone;
    },
    pick: (r) => view.set({ sample_a: r.id }),
    picked: (r) => r.id === view.get("sample_a"),
    most: 12,
  });
  view.panel("Samples", { table, wide: true });
  view.watch(["selected", "sample_a", "sample_b", "pair", "top"], () => table.update());
}
