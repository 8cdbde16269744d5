// What all panels of a study know: its samples by their places in the table, its columns, and the selection.

function studyState(view) {
  const data = view.get("data"), ids = data.samples;
  const places = new Map(ids.map((id, i) => [id, i]));
  const everyone = ids.map((_, i) => i);
  const column = (name) => data.columns.find((c) => c.name === name) || null;
  const selected = remembered(() => [view.get("selected")], (chosen) => new Set(chosen.map((id) => places.get(id))));
  const select = (samples) => view.set({ selected: [...samples].sort((a, b) => a - b).map((i) => ids[i]) });
  const toggle = (samples) => {
    const next = new Set(selected()), all = samples.every((i) => next.has(i));
    samples.forEach((i) => (all ? next.delete(i) : next.add(i)));
    select(next);
  };
  return {
    view,
    data,
    ids,
    total: ids.length,
    everyone,
    named: data.columns.map((c) => c.name),
    column,
    colour: () => column(view.get("color")),
    selected,
    shown: () => (selected().size ? [...selected()] : everyone), // those selected, or all
    select,
    toggle,
    draft: view.get("depth"), // the rarefaction depth, also while its line is dragged
  };
}
