// Errors: predicted against true or confusions, every sample by its error, one sample closely, slices, calibration,
// associations.

function build(view) {
  const state = errorsState(view), { data } = state;
  drawNotes(state);
  if (state.regression) drawPredictions(state);
  else drawConfusions(state);
  drawErrorsAgainst(state);
  drawWorstSamples(state);
  drawOneSample(state);
  drawReasons(state);
  drawNeighbours(state);
  if (data.slices.length) drawSlices(state);
  const bins = data.reliability.length ? reliabilityTable(state) : null;
  if (data.reliability.length || data.calibration.length) drawCalibration(state);
  if (data.conformal.length) drawConformal(state, bins);
  else if (bins) view.panel("Calibration in numbers", { table: bins });
  if (data.associations.length) drawAssociations(state);
  if (data.curve.length) drawLearningCurve(state);
  view.watch(["sample", "selected", "slice", "cell", "color", "against", "show"], () => view.redraw());
  view.watch("sample", () => {
    const i = state.current();
    view.say(`Sample ${view.get("sample")}: true ${number(data.truth[i])}, predicted ${number(data.prediction[i])}`);
  });
  view.watch("selected", () => view.say(selectionWords(state)));
}
