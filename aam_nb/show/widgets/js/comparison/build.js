// Models compared: scores with intervals, paired differences, and the samples where two models disagree.

function build(view) {
  const state = comparisonState(view), { data } = state;
  view.body.append(view.note(data.sentence));
  data.warnings.forEach((w) => view.body.append(view.note(w, "beware")));
  drawScores(state);
  drawDifferences(state);
  drawTable(state);
  drawPair(state);
  drawDisagreement(state);
  view.watch(["a", "b", "show", "color", "selected"], () => view.redraw());
  view.watch("selected", () => view.say(selectionWords(state)));
}

function comparisonState(view) {
  const data = view.get("data"), places = new Map(data.samples.map((id, i) => [id, i]));
  return {
    view,
    data,
    selected: remembered(() => [view.get("selected")], (chosen) => new Set(chosen.map((id) => places.get(id)))),
    contender: (name) => data.contenders.find((c) => c.name === name),
    errors: () => view.get("show") === "errors", // or predictions
    compareWith: (
      name,
    ) => (name === view.get("a") ? view.say(`${name} is already the first of the pair`) : view.set({ b: name })),
  };
}

function selectionWords({ data, selected }) {
  const n = selected().size;
  return n ? `${countSamples(n)} selected` : `All ${number(data.samples.length)} samples`;
}
