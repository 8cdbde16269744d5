// Every sample as a dot: predicted against true, residuals, and errors against a number known of the samples.

// A dot a sample, with a ring around the one looked at.
function sampleDots({ view, column, selected, select, look, current }, options) {
  const ring = (pen, targets, ink) => {
    const t = targets.find((o) => o.i === current());
    if (t) pen.mark(0, t.x, t.y, 8.5, { stroke: ink.text, width: 2 });
  };
  return scatter(view, {
    column: () => column(view.get("color")),
    selected,
    lasso: (targets) => select(targets.map((t) => t.i).sort((p, q) => p - q)),
    pick: (t) => look(t.i),
    over: ring,
    ...options,
  });
}

function drawPredictions(state) {
  const { view, data, ids, tip, flaggedLast } = state, residuals = () => view.get("show") === "residuals";
  const span = padded(extent([...data.truth, ...data.prediction]));
  const plot = sampleDots(state, {
    title: () => (residuals() ? `Residuals of ${data.target}` : `Predicted against true ${data.target}`),
    describe: "One dot for each sample. Draw around dots to select samples; Enter shows one in detail.",
    points: () =>
      flaggedLast.map((i) => ({
        i,
        x: data.truth[i],
        y: residuals() ? data.residual[i] : data.prediction[i],
        tip: () => tip(i),
      })),
    x: () => ({ label: `true ${data.target}`, domain: residuals() ? null : span }),
    y: () => (residuals()
      ? { label: `true - predicted ${data.target}` }
      : { label: `predicted ${data.target}`, domain: span }),
    under: (pen, scales, ink) => drawRight(pen, scales, data.band && data.band.threshold, residuals(), ink),
    rows: () => ({
      columns: ["sample_id", "truth", "prediction", "error", "residual"],
      rows: ids.map((id, i) => [id, data.truth[i], data.prediction[i], data.error[i], data.residual[i]]),
    }),
  });
  const band = data.band
    ? ` The grey band is ±${number(data.band.threshold)}: by split conformal prediction it should contain ${
      percent(data.band.level)
    } of samples; here it contains ${percent(data.band.coverage)} here.`
    : "";
  view.panel("Predictions", {
    plot,
    more: view.bar(
      view.select("show", "Show", [["predictions", "predicted against true"], ["residuals", "residuals"]]),
    ),
    help: `On the dashed line the prediction equals the true value. The ring marks the sample shown in detail.${band}`,
  });
}

// The line on which predictions are right, and the conformal band around it where there is one.
function drawRight(pen, { sx, sy }, width, residuals, ink) {
  const [low, high] = sx.domain;
  const edge = (
    by,
  ) => (residuals ? [[sx(low), sy(by)], [sx(high), sy(by)]] : [[sx(low), sy(low + by)], [sx(high), sy(high + by)]]);
  if (width) pen.path([...edge(width), ...edge(-width).reverse()], { fill: ink.text, alpha: 0.07, close: true });
  pen.path(edge(0), { stroke: ink.soft, dash: [5, 4] });
}

function drawErrorsAgainst(state) {
  const { view, data, ids, column, tip, flaggedLast } = state,
    name = () => view.get("against"),
    values = () => column(name()).values;
  const label = (column) =>
    ({ distance: "distance to the nearest training samples (embedding)", depth: "depth (reads)" })[column] || column;
  const plot = sampleDots(state, {
    title: () => `Error by ${name()}`,
    describe: "One dot for each sample. Draw around dots to select samples; Enter shows one in detail.",
    points: () => {
      const known = values(), samples = flaggedLast.filter((i) => isNumber(known[i]));
      return samples.map((i) => ({
        i,
        x: known[i],
        y: data.error[i],
        tip: () => [...tip(i), `${name()} ${number(known[i])}`],
      }));
    },
    x: () => ({ label: label(name()) }),
    y: { label: data.errorLabel, domain: padded([0, Math.max(1e-9, ...data.error)]) },
    rows: () => ({
      columns: ["sample_id", name(), "error"],
      rows: values().map((v, i) => [ids[i], v, data.error[i]]),
    }),
  });
  const correlation = node("p", { class: "aam-help" });
  const update = () => {
    const a = data.associations.find((r) => r.outcome === "error" && r.column === name());
    correlation.textContent = a
      ? `Rank correlation of error with ${name()}: ρ ${number(a.effect)}, adjusted p ${number(a.p_adjusted)}.`
      : "";
  };
  update();
  view.panel("Errors against", {
    plot,
    more: [view.bar(view.select("against", "Against", data.numbers.map((c) => [c, label(c)]))), correlation],
  });
  view.watch("against", update);
}
