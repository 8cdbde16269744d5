// Layers and heads in numbers: how far they look and how evenly.

const LEVELS = {
  asv: "among ASVs",
  pooling: "ASVs to sample",
  nucleotide: "among nucleotides",
  nucleotide_pooling: "nucleotides to ASV",
};

function drawHeadTable({ view, sample, asv, mode, layer, head, updates }) {
  const row = (r) => ({ ...r, words: LEVELS[r.level] || r.level, even: isNumber(r.keys) ? 1 / r.keys : null });
  const table = view.table({
    caption: "Numbers of each layer and head, from whole maps",
    columns: () => [
      { key: "words", label: "level", left: true },
      { key: "layer", label: "layer", format: (v) => v || "pooling" },
      { key: "head", label: "head" },
      { key: "distance", label: "distance" },
      { key: "distance_even", label: "if even" },
      { key: "entropy_share", label: "evenness" },
      { key: "largest", label: "largest" },
      { key: "even", label: "1 / keys" },
      { key: "on_itself", label: "on itself" },
      { key: "on_sample_token", label: "on sample token" },
      ...(sample() && sample().tokens > 1 ? [{ key: "on_covariates", label: "on covariates" }] : []),
    ],
    rows: () => [...(sample() ? sample().statistics : []), ...(asv() ? asv().statistics : [])].map(row),
    pick: (r) => view.set({ head: r.head, mode: "head", ...(r.layer ? { layer: r.layer } : {}) }),
    picked: (r) => mode() === "head" && r.head === head() && (!r.layer || r.layer === layer()),
    most: 40,
  });
  view.panel("Heads in numbers", {
    table,
    wide: true,
    help:
      "distance: how far away a head attends, in substitutions per site among ASVs (along the tree), in nucleotides inside an ASV. evenness: entropy divided by its largest possible value, 1 where attention is even. largest: the largest share; where attention is even it is 1 / keys.",
  });
  updates.push(table.update);
}
