// What all panels of attention know: the sample and the ASV looked at, their maps, and which layer and head are shown.

function attentionState(view) {
  const data = view.get("data"), places = new Map(data.samples.map((id, i) => [id, i]));
  // until the kernel answers, the sample and the ASV before stay
  let lastSample = null, lastAsv = null;
  const sample = () => (lastSample = view.get("maps")[view.get("sample")] || lastSample);
  const asv =
    () => (view.get("asv") ? (lastAsv = view.get("inside")[view.get("asv")] || (view.live ? lastAsv : null)) : null);
  const folded = () => (sample() ? foldedOnce(sample(), view.get("top")) : null);
  const mode = () => view.get("mode"), layer = () => view.get("layer"), head = () => view.get("head");
  const isAsv = (k) => k >= sample().tokens && k < folded().single;
  return {
    view,
    data,
    places,
    sample,
    asv,
    folded,
    mode,
    layer,
    head,
    held: () => data.samples.filter((id) => Object.hasOwn(view.get("maps"), id)),
    mapName: () => (mode() === "head" ? `layer ${layer()}, head ${head()}` : `layer ${layer()}, mean of heads`),
    poolingName: () =>
      ({ rollout: "rollout", head: `pooling, head ${head()}`, mean: "pooling, mean of heads" })[mode()],
    isAsv, // of the keys of a sample, which are tokens first, then ASVs, then all others as one
    rank: (k) => (isAsv(k) ? k - sample().tokens + 1 : ""),
    chosenKey: () => (folded() && view.get("asv") ? folded().ids.indexOf(view.get("asv")) : -1),
    openAsv: (k) => (isAsv(k) ? view.set({ asv: folded().ids[k] }) : view.say("This bar is not a single ASV")),
    updates: [], // what is to be done after a change
  };
}

// What several plots point at together.
function linkedPlots() {
  let at = null;
  const plots = [];
  const heat = (next, from) => {
    if (String(next) === String(at)) return;
    at = next;
    plots.forEach((p) => p !== from && p._mark());
    if (from) from._mark();
  };
  return { plots, hot: () => at, heat };
}

const reads = (n) => count(n, "read");
