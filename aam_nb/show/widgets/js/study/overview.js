// The facts of a study, where it comes from, and the controls of colour, shape and selection.

function drawOverview({ view, data }) {
  const steps = node(
    "details",
    {},
    node("summary", {}, `How it came about (${data.provenance.length} steps)`),
    node("ol", { class: "aam-list" }, data.provenance.map((s) => node("li", {}, s))),
  );
  view.panel("At a glance", { more: [facts(data.facts), steps], wide: true });
}

function drawControls({ view, data, named, selected, select, total }) {
  const categories = data.columns.filter((c) => c.kind === "categories").map((c) => c.name);
  const count = node("span", { class: "aam-control", "data-count": true });
  const update = () => {
    const n = selected().size;
    count.textContent = n
      ? `${number(n)} of ${countSamples(total)} selected`
      : `none of ${countSamples(total)} selected: all are looked at`;
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
