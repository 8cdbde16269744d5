// Attributions: what moved predictions, from ASVs to taxa and clades, sample by sample, on the tree, letter by
// letter; and the verdict.

function build(view) {
  const state = attributionsState(view), { data } = state;
  drawVerdict(state);
  view.body.append(view.note(data.summary));
  data.beware.forEach((w) => view.body.append(view.note(w, "beware")));
  drawControls(state);
  drawFeatures(state);
  drawSampleStrips(state);
  if (data.tree) drawTree(state);
  else view.panel("Tree", { below: view.note(data.noTree, "beware") });
  drawFeatureTable(state);
  drawNucleotides(state);
  if (state.ids.length > 1) drawPair(state);
  drawSamples(state);
  view.watch("group", () => view.say(groupWords(state)));
  view.watch("selected", () => view.say(`${countSamples(view.get("selected").length)} selected`));
}
