// The samples to look at, and what is known of the one looked at.

const FIELD =
  "font:inherit;color:inherit;background:var(--aam-tinted);border:1px solid var(--aam-faint);border-radius:4px;padding:1px 6px;width:11em";

function drawSamples(state) {
  const { view, data, updates } = state, samples = () => (view.live ? data.samples : state.held());
  const filter = node("input", {
    type: "search",
    placeholder: "part of an id",
    "aria-label": "Filter samples",
    style: FIELD,
  });
  const only = node("input", { type: "checkbox" }), about = node("div", {});
  const table = samplesTable(state, () => filteredSamples(state, samples(), filter.value, only.checked));
  filter.addEventListener("input", () => view.guard(table.update));
  filter.addEventListener("keydown", (e) => e.stopPropagation()); // the notebook has keys of its own
  only.addEventListener("change", () => view.guard(table.update));
  const n = samples().length, picker = n > 1 && n <= 300 ? [view.select("sample", "Sample", samples)] : [];
  const filters = n > 8
    ? [
      node("label", { class: "aam-control" }, "Filter ", filter),
      node("label", { class: "aam-control" }, only, " only those selected"),
    ]
    : [];
  view.panel("Samples", { table, wide: data.heads > MANY, more: [view.bar(...picker, ...filters), about] });
  updates.push(table.update, () => state.sample() && about.replaceChildren(facts(sampleFacts(state))));
}

function samplesTable({ view, data, held }, rows) {
  const selected = () => new Set(view.get("selected")), several = data.outcomes.length > 1;
  const outcome = (
    o,
    k,
  ) => [...(o.truth ? [{ key: `truth${k}`, label: o.name }] : []), {
    key: `prediction${k}`,
    label: `predicted${several ? ` ${o.name}` : ""}`,
  }];
  return view.table({
    caption: () =>
      (view.live
        ? countSamples(data.samples.length)
        : `This page has ${number(held().length)} of ${countSamples(data.samples.length)}; a notebook shows all`) +
      (data.outcomes.some((o) => !o.prediction) ? "; predictions only of samples that were opened" : ""),
    columns: [{ key: "id", label: "sample", left: true, long: true }, ...data.outcomes.flatMap(outcome), {
      key: "asvs",
      label: "ASVs",
    }, { key: "reads", label: "reads" }],
    rows,
    pick: (r) =>
      view.set({ sample: r.id, ...(selected().size > 1 && selected().has(r.id) ? {} : { selected: [r.id] }) }),
    picked: (r) => r.id === view.get("sample"),
    most: 10,
  });
}

function filteredSamples({ view, data, places }, samples, filter, onlySelected) {
  const words = filter.trim().toLowerCase(), selected = new Set(view.get("selected"));
  const wanted = samples.filter((id) =>
    (!words || id.toLowerCase().includes(words)) && (!onlySelected || selected.has(id))
  );
  return wanted.map((id) => {
    const i = places.get(id), seen = (view.get("maps")[id] || { predictions: {} }).predictions;
    const outcomes = data.outcomes.flatMap((
      o,
      k,
    ) => [[`truth${k}`, o.truth && o.truth[i]], [`prediction${k}`, o.prediction ? o.prediction[i] : seen[o.name]]]);
    return { id, asvs: data.asvs[i], reads: data.reads[i], ...Object.fromEntries(outcomes) };
  });
}

function sampleFacts({ data, places, sample }) {
  const s = sample(), i = places.get(s.id);
  const outcomes = data.outcomes.flatMap((
    o,
  ) => [...(o.truth ? [[o.name, number(o.truth[i]) || "missing"]] : []), [
    `predicted ${o.name}`,
    number(s.predictions[o.name]),
  ]]);
  const asvs = s.unseen ? `${number(s.numAsvs)} of ${number(s.numAsvs + s.unseen)}` : number(s.numAsvs);
  return [["sample", cut(s.id, 30)], ...outcomes, ["ASVs", asvs], ["reads", number(s.reads)]];
}
