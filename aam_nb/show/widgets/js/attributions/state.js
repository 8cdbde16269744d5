// What all panels of attributions know: the level looked at, its features, the feature or group chosen, and how a
// number is told.

function attributionsState(view) {
  const data = view.get("data"), ids = data.samples, level = () => view.get("level"), isAsv = () => level() === "asv";
  const places = new Map(ids.map((id, i) => [id, i])),
    asvPlaces = new Map(data.asvs.map((r, k) => [r.id, k])),
    levels = new Map(data.levels);
  const current = () => view.get("levels")[level() === "taxon" ? `taxon: ${view.get("rank")}` : level()] || null;
  const toggleAsv = (id) => view.set({ asv: view.get("asv") === id ? "" : id });
  const toggleGroup = (id) => view.set({ group: view.get("group") === id ? "" : id });
  return {
    view,
    data,
    ids,
    places,
    level,
    isAsv,
    ownAsvs: data.ownLevel === "asv", // whether the features that were explained are ASVs
    levelName: () => levels.get(level()),
    current,
    items: () => (current() ? current().items.slice(0, view.get("top")) : []),
    unit: `attribution (${data.shortUnit})`,
    selected: () => new Set(view.get("selected").map((id) => places.get(id))),
    key: () => (isAsv() ? view.get("asv") : view.get("group")), // the feature chosen
    toggleAsv,
    toggleGroup,
    choose: (id) => {
      if (isAsv()) toggleAsv(id);
      else if (level() === "taxon" || level() === "clade") toggleGroup(id);
      else if (level() === "nucleotide") view.set({ asv: id.split(" ")[0] });
    },
    inGroup: (r, group) => isAsv() && group.has(asvPlaces.get(r.id)),
  };
}

const signColour = (v) => (v >= 0 ? UP : DOWN);
const arrow = (v) => `${v >= 0 ? "▲" : "▼"} ${signed(v)}`;
const star = (r) => (r.marked ? "★" : "");
const starred = (v, r) => `${star(r) ? "★ " : ""}${v}`;

// A mean with its interval.
const withInterval = (r) => `${signed(r.mean)}${isNumber(r.low) ? ` [${number(r.low)}, ${number(r.high)}]` : ""}`;

function featureTip({ data, ids }, r) {
  return [...new Set([r.label, r.lineage, r.id])].filter(Boolean).concat(
    `mean ${withInterval(r)} ${data.unit}`,
    `mean |attribution| ${number(r.mean_abs)}`,
    `in ${number(r.samples)} of ${countSamples(ids.length)}; raises ${percent(r.positive)} of these`,
    ...(r.marked ? [data.planted ? "★ planted" : "★ marked"] : []),
  );
}

// The ASVs of the taxon or clade chosen, by their places among the ASVs.
function groupAsvs({ view, data }) {
  const group = view.get("group");
  if (!group) return new Set();
  const item = Object.values(view.get("levels")).flatMap((l) => l.items).find((r) => r.id === group && r.among);
  return new Set(item ? item.among : data.tree ? tipsBelow(data.tree.nodes, group) : []);
}

function tipsBelow(nodes, id) {
  const top = nodes.findIndex((n) => n.id === id), below = nodes.map((_, k) => k === top);
  if (top < 0) return [];
  nodes.forEach((n, k) => n.parent >= 0 && below[n.parent] && (below[k] = true));
  return nodes.filter((n, k) => below[k] && n.tip >= 0).map((n) => n.tip);
}

function groupWords({ view, data }) {
  const group = view.get("group");
  if (!group) return "Click a branch to mark its ASVs and to see their attributions added up.";
  const inTree = data.tree && data.tree.nodes.find((r) => r.id === group);
  const n = inTree || Object.values(view.get("levels")).flatMap((l) => l.items).find((r) => r.id === group);
  return n
    ? `${n.label}, ${group}: ${count(n.asvs, "ASV")}, together mean ${
      withInterval(n)
    } ${data.unit}. Those that are shown are marked ●; all are in \`explorer.asvs\`.`
    : `${group}: its ASVs are in \`explorer.asvs\`.`;
}
