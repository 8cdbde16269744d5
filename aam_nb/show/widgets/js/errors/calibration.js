// Calibration: do probabilities and intervals hold what they promise?

function drawCalibration({ view, data, regression }) {
  const plot = data.reliability.length ? reliabilityPlot(view, data, regression) : null;
  const temperature = data.temperature
    ? `; temperature ${number(data.temperature)}, above 1 where the model is overconfident`
    : "";
  const names = { ece: "ECE", brier: "Brier", log_loss: "log loss" };
  const scores = view.table({
    caption: regression
      ? "Regression of truth on prediction: calibrated where slope is 1, intercept 0 and bias 0"
      : `Smaller is better${temperature}`,
    columns: [
      { key: "name", label: "", left: true },
      ...(regression ? ["value", "low", "high"] : ["ece", "brier", "log_loss"]).map((k) => ({
        key: k,
        label: names[k] || k,
      })),
    ],
    rows: data.calibration,
  });
  const question = regression
    ? "Do 80% intervals contain 80% of the test samples?"
    : "Are 80% of the predictions with probability 80% right?";
  view.panel("Calibration", {
    plot,
    help: plot ? question : "No curve: there are no validation samples.",
    below: scores.el,
  });
}

function reliabilityPlot(view, data, regression) {
  const promised = (r) => (regression ? r.nominal : r.mean_predicted),
    format = (v) => percent(v),
    domain = [-0.03, 1.03];
  const point = (r, label) => ({
    x: promised(r),
    y: r.observed,
    low: r.low,
    high: r.high,
    tip: [
      label,
      `${regression ? "expected" : "predicted"} ${percent(promised(r), 1)}, measured ${percent(r.observed, 1)} [${
        percent(r.low, 1)
      }, ${percent(r.high, 1)}]`,
      `n ${number(r.n)}`,
    ],
  });
  const line = (rows, label, k) => ({
    label,
    shape: k,
    color: k ? PALETTE[k] : null,
    dash: [[], [6, 3], [2, 3]][k % 3],
    bars: k === 0,
    points: rows.filter((r) => r.observed !== null).map((r) => point(r, label)), // none where a bound is infinite
  });
  const versions = [...new Set(data.reliability.map((r) => r.version))];
  const of = (version) =>
    data.reliability.filter((r) => r.version === version).sort((a, b) => a.mean_predicted - b.mean_predicted);
  return intervalCurves(view, {
    title: regression ? "Coverage of intervals" : "Reliability of probabilities",
    describe: "On the dashed line the predicted value equals the measured one; bars are intervals.",
    series: regression ? [line(data.reliability, "measured coverage", 0)] : versions.map((v, k) => line(of(v), v, k)),
    diagonal: true,
    x: { label: regression ? "expected coverage" : "probability of the predicted class", domain, format },
    y: { label: regression ? "measured coverage" : "share of right predictions", domain, format },
  });
}

// The curve as a table.
function reliabilityTable({ view, data, regression }) {
  const first = regression
    ? [{ key: "nominal", label: "expected" }, { key: "half_width", label: "± width" }]
    : [{ key: "version", label: "", left: true }, { key: "mean_predicted", label: "predicted" }];
  return view.table({
    caption: regression ? "Intervals of equal width, from validation errors" : "Bins of the curve",
    columns: [...first, { key: "observed", label: "measured" }, { key: "low", label: "low" }, {
      key: "high",
      label: "high",
    }, { key: "n", label: "n" }],
    rows: data.reliability,
  });
}

function drawConformal({ view, data, regression }, bins) {
  const share = (v) => percent(v, 1);
  const table = view.table({
    caption: regression
      ? "Intervals of equal width around every prediction"
      : "Sets of all classes that remain possible",
    columns: [
      { key: "level", label: "expected", format: (v) => percent(v) },
      { key: "coverage", label: "measured", format: share },
      { key: "low", label: "low", format: share },
      { key: "high", label: "high", format: share },
      { key: "threshold", label: regression ? "± width" : "threshold of 1 - p" },
      { key: "size", label: regression ? "mean width" : "mean classes in a set" },
      { key: "n", label: "n" },
    ],
    rows: data.conformal,
  });
  view.panel("Conformal prediction", {
    table,
    help:
      "Bounds fitted on validation samples so that they contain the expected share of true values. Empty where there are too few validation samples.",
    below: bins ? bins.el : [],
  });
}
