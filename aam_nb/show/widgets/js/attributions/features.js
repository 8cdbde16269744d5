// The features that moved predictions most: controls, bars, a row of dots each, and a table.

function drawControls({ view, data, level, current }) {
  const ranks = view.select("rank", "Rank", data.ranks), waiting = node("span", { class: "aam-help" });
  const clear = view.button(
    "Clear selection",
    () => view.set({ asv: data.ownLevel === "nucleotide" ? view.get("asv") : "", group: "", selected: [] }),
  );
  view.body.append(
    view.bar(
      view.select("level", "Level", data.levels),
      ranks,
      view.slider("top", "Shown", { min: 1, max: data.mostTop }),
      clear,
      waiting,
    ),
  );
  const update = () => {
    ranks.hidden = level() !== "taxon" || !data.ranks.length;
    waiting.textContent = current() ? "" : "Computing …";
  };
  update();
  view.watch(["level", "rank", "levels", "top", "group"], update);
}

const FEATURES = ["level", "rank", "levels", "top", "group", "asv"]; // traits that the drawings of features follow

function drawFeatures(state) {
  const { view, data, items, key, inGroup } = state;
  const item = (r, group) => {
    const inside = inGroup(r, group);
    return {
      key: r.id,
      label: r.label,
      value: r.mean,
      low: r.low,
      high: r.high,
      color: signColour(r.mean),
      mark: star(r) + (inside ? "●" : ""),
      bold: inside,
      tip: featureTip(state, r),
    };
  };
  const plot = bars(view, {
    title: () => `${state.levelName()} that moved predictions of ${data.target} most`,
    describe:
      "One bar for each feature: its mean attribution with its interval, to the right where it raises the prediction. Enter selects it.",
    labels: 230,
    x: { label: `mean ${state.unit}` },
    items: () => {
      const group = groupAsvs(state);
      return items().map((r) => item(r, group));
    },
    selected: () => key() || null,
    pick: (t) => state.choose(t.key),
    rows: () => {
      const columns = ["id", "label", "lineage", "mean", "low", "high", "mean_abs", "samples", "positive"];
      return { columns, rows: items().map((r) => columns.map((c) => r[c])) };
    },
  });
  const stars = data.marks ? ` ★ ${data.planted ? "planted by the simulation" : "marked"}.` : "";
  view.panel("Features", {
    name: "Features",
    plot,
    help:
      `Sorted by mean absolute attribution; thin lines are 95% bootstrap intervals of the mean over samples. Right (orange-red) raises the prediction, left (blue) lowers it.${stars} ● in the taxon or clade selected.`,
  });
  view.watch(FEATURES, () => view.redraw(plot));
}

function drawSampleStrips(state) {
  const { view, data, ids, items, key, selected } = state;
  const plot = strips(view, {
    title: () => `Attributions of each sample, ${state.levelName()}`,
    describe:
      "One row for each feature, one dot for each sample. Draw around dots to select samples; Enter compares a sample with another.",
    rows: () => {
      const group = groupAsvs(state);
      return items().slice(0, data.strips).filter((r) => r.strip).map((r) => ({
        key: r.id,
        label: r.label,
        mark: star(r),
        bold: state.inGroup(r, group),
        dots: stripDots(state, r),
      }));
    },
    x: { label: state.unit },
    selected,
    picked: key,
    lasso: (targets) =>
      view.set({ selected: [...new Set(targets.map((t) => t.i))].sort((p, q) => p - q).map((i) => ids[i]) }),
    pick: (t) => view.set({ sample_a: ids[t.i] }),
  });
  const drawn = data.dots < ids.length
    ? `${number(data.dots)} of ${number(ids.length)} samples, drawn at random. `
    : "";
  view.panel("Sample by sample", {
    plot,
    help: `${drawn}Dots are samples that have the feature. Drag around dots to select samples${
      view.live ? "; the ids are in explorer.selected" : ""
    }. Click a dot to make its sample the first of the pair below. At most ${data.strips} rows.`,
  });
  view.watch([...FEATURES, "selected"], () => view.redraw(plot));
}

function stripDots({ data, ids }, r) {
  const { samples, values, shares } = r.strip;
  return samples.map((i, k) => ({
    i,
    id: ids[i],
    x: values[k],
    share: shares ? shares[k] : null,
    tip: () => [
      ids[i],
      r.label,
      `attribution ${signed(values[k])}`,
      ...(shares ? [`abundance ${percent(shares[k], 2)}`] : []),
      `prediction ${number(data.check.prediction[i])}`,
    ],
  }));
}

function drawFeatureTable(state) {
  const { view, data, isAsv, level, current, key, inGroup } = state,
    grouped = () => level() === "taxon" || level() === "clade";
  const listed = () => {
    const all = current() ? current().items : [], group = groupAsvs(state);
    return isAsv() && group.size ? all.filter((r) => inGroup(r, group)) : all;
  };
  const caption = () => {
    const first = `The first ${number(listed().length)} of ${
      number(current() ? current().features : 0)
    } ${state.levelName()}`;
    return `${
      isAsv() && groupAsvs(state).size ? `ASVs of ${view.get("group")} among the first ${data.mostTop}` : first
    }; all are in \`explorer.to_frame()\``;
  };
  const table = view.table({
    caption,
    columns: () => [
      { key: "label", label: isAsv() ? "ASV" : level(), left: true, long: true, format: starred },
      { key: "mean", label: "mean", format: arrow },
      { key: "low", label: "low" },
      { key: "high", label: "high" },
      { key: "mean_abs", label: "mean abs" },
      { key: "samples", label: "samples" },
      { key: "positive", label: "raises", format: (v) => percent(v) },
      ...(grouped() ? [{ key: "asvs", label: "ASVs" }] : []),
      ...(listed().some((r) => r.lineage) ? [{ key: "lineage", label: "taxonomy", left: true, long: true }] : []),
    ],
    rows: listed,
    pick: (r) => state.choose(r.id),
    picked: (r) => key() !== "" && r.id === key(),
    most: 20,
  });
  view.panel("Table", { table, help: data.naming });
  view.watch(FEATURES, () => table.update());
}
