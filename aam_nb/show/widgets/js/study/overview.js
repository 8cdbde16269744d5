// The facts of a study, where it comes from, and the controls of colour, shape and selection.

function drawOverview({ view, data }) {
  const steps = node(
    "details",
    {},
    node("summary", {}, `Provenance (${count(data.provenance.length, "step")})`),
    node("ol", { class: "aam-list" }, data.provenance.map((s) => node("li", {}, s))),
  );
  view.panel("Overview", { more: [facts(data.facts), steps], wide: true });
}

function drawControls({ view, data, named, selected, select, total }) {
  const categories = data.columns.filter((c) => c.kind === "categories").map((c) => c.name);
  const count = node("span", { class: "aam-control", "data-count": true });
  const update = () => {
    const n = selected().size;
    count.textContent = n
      ? `${number(n)} of ${countSamples(total)} selected`
      : `No selection: ${total === 1 ? "the 1 sample is" : `all ${countSamples(total)}`} shown`;
  };
  update();
  view.body.append(
    view.bar(
      view.select("color", "Colour by", [["", "nothing"], ...named]),
      view.select("shape", "Shape by", [["", "the colour's column"], ...categories]),
      view.button("Clear selection", () => select([])),
      count,
    ),
  );
  view.watch("selected", update);
}
