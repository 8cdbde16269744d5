// What to know first, and the controls of colour and selection.

function drawNotes(state) {
  const { view, data, select } = state;
  view.body.append(view.note(data.sentence));
  if (data.notes.length) {
    const list = node("ul", { class: "aam-list" }, data.notes.map((w) => node("li", {}, w)));
    const summary = node(
      "summary",
      {},
      `${count(data.notes.length, "warning")} about this analysis`,
    );
    view.body.append(node("details", { class: "aam-note aam-beware", open: true }, summary, list));
  }
  const status = node("span", { class: "aam-help", "data-state": "selection" });
  const update = () => (status.textContent = selectionWords(state));
  update();
  const colours = [["", "none"], ...data.columns.map((c) => [c.name, c.name])];
  view.body.append(
    view.bar(view.select("color", "Colour", colours), view.button("Clear selection", () => select([])), status),
  );
  view.watch(["selected", "slice", "cell"], update);
}
