// Where a model looks: a sample's ASVs, each other's, and the nucleotides of one of them. What points at one drawing
// points at all.

function build(view) {
  const state = attentionState(view);
  drawNotes(state);
  drawSamples(state);
  drawHeadMaps(state);
  drawAsvs(state);
  drawStrongest(state);
  drawNucleotides(state);
  drawHeadTable(state);
  view.body.append(view.note(state.data.moves));
  follow(state);
}

// After a change of any trait everything is brought up to date, once a frame.
function follow({ view, sample, asv, updates }) {
  const update = () => {
    updates.forEach((f) => f());
    view.redraw();
  };
  let frame = 0;
  view.watch(["maps", "inside", "sample", "asv", "layer", "head", "mode", "top", "selected"], () => {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      view.guard(update);
    });
  });
  view.watch("maps", () => sample() && view.say(`${sample().id}: ${count(sample().numAsvs, "ASV")}`));
  view.watch("asv", () => asv() && view.say(`Inside ${asv().label}`));
  update();
}
