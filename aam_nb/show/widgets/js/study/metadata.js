// A metadata column: how many samples each of its levels has, or each bin of its numbers.

const LEVELS = 25; // of a column, drawn one by one
const BINS = 20;

function drawMetadata(state) {
  const { view, data, named, total, column, selected, toggle } = state;
  const current = () => column(view.get("facet"));
  const split = remembered(() => [view.get("facet"), view.get("selected")], () => splitColumn(current(), selected()));
  const plot = facets(view, {
    title: () => `Samples by ${view.get("facet")}`,
    describe:
      "One bar for each level or bin: grey for all samples, coloured for the selection. Enter adds its samples to the selection, or removes them.",
    groups: () => split().groups,
    sizes: () => [total, selected().size],
    numbers: () => current().kind === "numbers",
    label: () => view.get("facet"),
    pick: (t) => toggle(t.members),
  });
  const table = view.table({
    caption: () =>
      `${view.get("facet")}: ${
        split().missing ? `missing for ${countSamples(split().missing)}` : "known for all samples"
      }`,
    columns: () => [
      { key: "label", label: "level", left: true },
      { key: "all", label: "samples" },
      { key: "of", label: "of all", format: (v) => percent(v, 1) },
      ...(selected().size
        ? [{ key: "some", label: "selected" }, { key: "share", label: "selected, of these", format: (v) => percent(v) }]
        : []),
    ],
    rows: () => split().groups.filter((g) => g.all).map((g) => ({ ...g, of: g.all / total, share: g.some / g.all })),
    pick: (g) => toggle(g.members),
    picked: (g) => g.some > 0 && g.some === g.all,
    most: 8,
  });
  view.panel("Metadata", {
    plot,
    name: "metadata",
    more: view.bar(view.select("facet", "Column", named)),
    below: table.el,
    help:
      `Grey: share of all samples; colour: share of the selection. Click a bar or a row to select its samples, click again to remove them. ${data.leftOut}`,
  });
  view.watch(["facet", "selected"], () => {
    table.update();
    view.redraw(plot);
  });
}

// The samples of a column by level or bin: {groups, missing}, a group as `facets` takes it.
function splitColumn(column, selected) {
  if (!column) return { groups: [], missing: 0 };
  const group = (label, members, more = {}) => ({
    label,
    members,
    all: members.length,
    some: members.filter((i) => selected.has(i)).length,
    ...more,
  });
  return column.kind === "numbers" ? splitNumbers(column, group) : splitLevels(column, group);
}

function splitNumbers({ values }, group) {
  const [low, high] = extent(values), bins = Array.from({ length: BINS }, () => []), missing = [];
  values.forEach((v, i) =>
    (isNumber(v) ? bins[Math.min(BINS - 1, Math.floor(((v - low) / (high - low)) * BINS))] : missing).push(i)
  );
  const edge = (k) => low + ((high - low) * k) / BINS;
  return {
    groups: bins.map((members, k) =>
      group(`${number(edge(k))} to ${number(edge(k + 1))}`, members, { from: edge(k), to: edge(k + 1) })
    ),
    missing: missing.length,
  };
}

// Levels that are numbers keep their order, others come by their size; those beyond `LEVELS` are one group.
function splitLevels({ values, levels }, group) {
  const members = levels.map(() => []), missing = [];
  values.forEach((v, i) => (v < 0 ? missing : members[v]).push(i));
  const order = levels.map((_, k) => k), numbered = levels.every((v) => v !== "" && isNumber(Number(v)));
  if (!numbered || order.length > LEVELS) order.sort((a, b) => members[b].length - members[a].length);
  const groups = order.slice(0, LEVELS).map((k) => group(levels[k], members[k])), rest = order.slice(LEVELS);
  if (rest.length) {
    groups.push(group(count(rest.length, "other"), rest.flatMap((k) => members[k]), { missing: true }));
  }
  if (missing.length) groups.push(group("missing", missing, { missing: true }));
  return { groups, missing: missing.length };
}
