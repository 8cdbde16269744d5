// The tree of the ASVs with the largest attributions.

function drawTree(state) {
  const { view, data } = state, about = node("p", { class: "aam-help", "data-state": "group" }), plot = treePlot(state);
  const absent = data.tree.lost ? ` ${number(data.tree.lost)} of these ASVs are not in the tree.` : "";
  const update = () => (about.textContent = groupWords(state));
  update();
  view.panel("Tree", {
    plot,
    more: view.bar(view.select("branches", "Branches", [["lengths", "by length"], ["equal", "all equal"]])),
    below: about,
    help:
      `The ASVs with the largest mean |attribution|, as many as are shown above, at most ${data.mostTop}. A branch has the sum over all ASVs of its clade, also those that are not drawn.${absent}`,
  });
  view.watch(FEATURES, update);
  view.watch([...FEATURES, "branches"], () => view.redraw(plot));
}

function treePlot(state) {
  const { view, data, toggleAsv, toggleGroup } = state;
  const nodes = () => pruned(data.tree.nodes, (k) => k < view.get("top")),
    featureOf = (n) => (n.tip >= 0 ? data.asvs[n.tip] : n);
  const withAsv = (
    n,
  ) => (n.tip >= 0
    ? { ...n, mean: featureOf(n).mean, low: featureOf(n).low, high: featureOf(n).high, id: featureOf(n).id }
    : n);
  return phylogram(view, {
    title: () =>
      `Tree of the ${
        number(nodes().filter((n) => n.tip >= 0).length)
      } ASVs with the largest attributions of ${data.target}`,
    describe:
      "Branches have the colour of the attribution of their clade. Enter on a branch marks its ASVs, on a tip it opens the ASV.",
    nodes: () => nodes().map(withAsv),
    labels: () => treeLabels(state),
    equal: () => view.get("branches") === "equal",
    key: () => view.get("group") || view.get("asv"),
    pick: (t) => (t.tip >= 0 ? toggleAsv(t.id) : t.id && toggleGroup(t.id)),
    rows: () => {
      const tree = nodes(), name = (n) => n.id || (n.tip >= 0 ? featureOf(n).id : "root");
      const row = (
        n,
      ) => [
        name(n),
        n.parent < 0 ? "" : tree[n.parent].id || "root",
        n.length,
        featureOf(n).label || "",
        featureOf(n).mean,
        featureOf(n).low,
        featureOf(n).high,
      ];
      return { columns: ["node", "parent", "branch_length", "label", "mean", "low", "high"], rows: tree.map(row) };
    },
  });
}

function treeLabels(state) {
  const { view, data } = state, group = groupAsvs(state);
  const clade = (
    n,
  ) => [
    n.label,
    n.id,
    `all its ASVs together: mean ${withInterval(n)} ${data.unit}`,
    `in ${countSamples(n.samples)}`,
  ];
  return {
    of: (n) => {
      const asv = data.asvs[n.tip], inside = group.has(n.tip);
      return {
        words: `${signed(n.mean)}  ${asv.marked ? "★ " : ""}${inside ? "● " : ""}${asv.label}`,
        bold: inside || n.id === view.get("asv"),
      };
    },
    tip: (n) => (n.tip >= 0 ? featureTip(state, data.asvs[n.tip]) : n.id ? clade(n) : ["all ASVs"]),
  };
}
