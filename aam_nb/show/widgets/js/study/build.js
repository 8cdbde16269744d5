// A study: its samples, its metadata, its taxa, its depth; what is selected in one panel is marked in all.

function build(view) {
  const state = studyState(view);
  drawOverview(state);
  drawControls(state);
  drawOrdination(state);
  if (state.data.columns.length) drawMetadata(state);
  drawTaxa(state);
  drawDepth(state);
  drawCurves(state);
  drawPrevalence(state);
  drawSamples(state);
  view.watch("selected", () => view.say(`${countSamples(state.selected().size)} selected`));
}
