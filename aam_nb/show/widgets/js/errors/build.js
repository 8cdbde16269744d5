// Errors: predicted against true or confusions, every sample by its error, one sample closely, slices, calibration, associations.

// Points with intervals, joined by lines: series {label, shape, color, dash, points: [{x, y, low, high, tip}]}.
function curves(view, { series, x, y, diagonal = false, ...more }) {
  const draw = (pen, w, h, ink) => {
    const below = series.length > 1 ? 20 * Math.ceil(series.length / 3) + 6 : 0,
      box = { x: 58, y: 10, w: w - 58 - 14, h: h - 10 - 44 - below };
    const all = series.flatMap((s) => s.points);
    const xAxis = { grid: true, domain: padded(extent(all.map((p) => p.x))), ...x },
      yAxis = { domain: padded(extent(all.flatMap((p) => [p.y, p.low, p.high]))), ...y };
    const { sx, sy } = axes(pen, box, { x: xAxis, y: yAxis }, ink);
    if (diagonal) pen.line(sx(0), sy(0), sx(1), sy(1), { stroke: ink.soft, dash: [5, 4] });
    const targets = [];
    const hue = (s) => s.color || ink.main;
    for (const s of series) {
      pen.path(s.points.map((p) => [sx(p.x), sy(p.y)]), { stroke: hue(s), width: 1.6, dash: s.dash || [] });
      for (const p of s.points) {
        if (isNumber(p.low) && s.bars) {
          pen.line(sx(p.x), sy(p.low), sx(p.x), sy(p.high), { stroke: hue(s), width: 1.4, alpha: 0.7 });
        }
        pen.mark(s.shape, sx(p.x), sy(p.y), 4.5, { fill: hue(s), stroke: ink.paper, width: 0.5 });
        targets.push({ x: sx(p.x), y: sy(p.y), r: 4, tip: p.tip });
      }
    }
    if (series.length > 1) {
      series.forEach((s, k) => {
        const at = [box.x + (k % 3) * (box.w / 3), h - below + 10 + 20 * Math.floor(k / 3)];
        pen.line(at[0], at[1], at[0] + 22, at[1], { stroke: hue(s), width: 1.6, dash: s.dash || [] });
        pen.mark(s.shape, at[0] + 11, at[1], 4, { fill: hue(s) });
        pen.text(cut(s.label, Math.floor((box.w / 3 - 32) / 6.2)), at[0] + 28, at[1], { size: 11, fill: ink.text });
      });
    }
    return targets;
  };
  const rows = () => ({
    columns: ["series", "x", "y", "low", "high"],
    rows: series.flatMap((s) => s.points.map((p) => [s.label, p.x, p.y, p.low, p.high])),
  });
  return new Plot(view, { height: (w) => Math.min(360, Math.max(270, w * 0.6)), rows, ...more, draw });
}

// A confusion matrix: colour is the share of the true class, text the count or that share; the cell chosen is framed.
function confusions(view, { classes, counts, target, shares, chosen, ...more }) {
  const sums = counts.map((row) => row.reduce((a, b) => a + b, 0)), n = classes.length;
  const longest = Math.max(...classes.map((c) => cut(c, 20).length));
  const layout = (w) => {
    const left = Math.min(w * 0.3, 34 + 6.4 * longest),
      cell = Math.max(4, Math.min(64, (w - left - 66) / n)),
      steep = cell < 24;
    return { left, cell, steep, below: 36 + (steep ? 6.2 : 4.2) * longest };
  };
  const draw = (pen, w, _h, ink) => {
    const { left, below, cell, steep } = layout(w),
      top = 8,
      targets = [],
      every = Math.max(1, Math.ceil(12 / cell)),
      across = Math.max(1, Math.ceil(14 / cell));
    const letters = Math.floor((left - 30) / 6.2);
    counts.forEach((row, r) =>
      row.forEach((v, c) => {
        const share = v / Math.max(1, sums[r]), x = left + c * cell, y = top + r * cell;
        pen.rect(x + 0.5, y + 0.5, cell - 1, cell - 1, { fill: v ? cividis(share) : ink.faint, alpha: v ? 1 : 0.5 });
        if (cell >= 22) {
          pen.text(shares() ? percent(share) : number(v), x + cell / 2, y + cell / 2, {
            anchor: "middle",
            size: Math.min(12.5, cell * 0.38),
            fill: !v ? ink.soft : share > 0.6 ? "#111111" : "#ffffff",
            weight: r === c ? "bold" : "normal",
          });
        }
        targets.push({
          x,
          y,
          w: cell,
          h: cell,
          r,
          c,
          tip: () => [
            `true ${classes[r]}`,
            `predicted ${classes[c]}`,
            `${number(v)} of ${number(sums[r])} samples (${percent(share, 1)})`,
          ],
        });
      })
    );
    const at = chosen();
    if (at) pen.rect(left + at[1] * cell + 0.5, top + at[0] * cell + 0.5, cell - 1, cell - 1, { stroke: UP, width: 3 });
    classes.forEach((name, k) => {
      if (k % every === 0) {
        pen.text(cut(name, letters), left - 7, top + (k + 0.5) * cell, { anchor: "end", size: 11, fill: ink.text });
      }
      if (k % across === 0) {
        pen.text(cut(name, 20), left + (k + 0.5) * cell, top + n * cell + 8, {
          anchor: "end",
          size: 11,
          angle: steep ? -70 : -38,
          fill: ink.text,
        });
      }
    });
    pen.text(cut(`true ${target}`, Math.max(10, Math.floor((n * cell) / 7))), 10, top + (n * cell) / 2, {
      anchor: "middle",
      angle: -90,
      size: 12,
      fill: ink.text,
    });
    pen.text(`predicted ${cut(target, 40)}`, left + (n * cell) / 2, top + n * cell + below - 10, {
      anchor: "middle",
      size: 12,
      fill: ink.text,
    });
    const x = left + n * cell + 16, tall = Math.min(120, n * cell);
    for (let k = 0; k < 40; k++) pen.rect(x, top + (tall * k) / 40, 10, tall / 40 + 0.6, { fill: cividis(1 - k / 39) });
    pen.text("100%", x + 14, top + 6, { size: 10.5, fill: ink.soft });
    pen.text("0%", x + 14, top + tall - 5, { size: 10.5, fill: ink.soft });
    return targets;
  };
  const rows = () => ({
    columns: ["truth", "prediction", "n", "share_of_truth"],
    rows: counts.flatMap((row, r) => row.map((v, c) => [classes[r], classes[c], v, v / Math.max(1, sums[r])])),
  });
  return new Plot(view, { height: (w) => 8 + n * layout(w).cell + layout(w).below, rows, ...more, draw });
}

function build(view) {
  const data = view.get("data"), regression = data.kind === "regression", ids = data.samples, n = ids.length;
  const place = new Map(ids.map((id, i) => [id, i]));
  const rank = new Map(data.order.map((i, k) => [i, k]));
  const suspects = new Map(data.suspects.map((s) => [s.i, s]));
  const chosen = () => new Set(view.get("selected").map((id) => place.get(id)));
  const at = () => place.get(view.get("sample"));
  const look = (i) => view.set({ sample: ids[i] });
  const choose = (places, of = {}) => view.set({ selected: places.map((i) => ids[i]), slice: "", cell: [], ...of });
  const column = (name) => data.columns.find((c) => c.name === name) || null;
  const flags = (i) =>
    [data.outside && data.outside[i] && "outside the training data", suspects.has(i) && "label suspect"].filter(Boolean)
      .join(", ");
  const layers = [...ids.keys()].sort((p, q) => !!flags(p) - !!flags(q)); // what is flagged lies on top
  const tip = (
    i,
  ) => [
    ids[i],
    `true ${number(data.truth[i])}, predicted ${number(data.prediction[i])}`,
    `error ${number(data.error[i])}`,
    ...[flags(i)].filter(Boolean),
  ];

  let sliceTable = null, links = null; // where there are some

  // -- what to know -------------------------------------------------------------------------------------------------------
  view.body.append(view.note(data.sentence));
  if (data.notes.length) {
    const words = node("ul", { class: "aam-list" }, data.notes.map((w) => node("li", {}, w)));
    view.body.append(
      node(
        "details",
        { class: "aam-note aam-beware", open: true },
        node(
          "summary",
          {},
          `Beware: ${data.notes.length} ${data.notes.length === 1 ? "note" : "notes"} on this analysis`,
        ),
        words,
      ),
    );
  }
  const state = node("span", { class: "aam-help", "data-state": "selection" });
  const ofSlice = node("p", { class: "aam-help" });
  const samplesOf = (k) => `${number(k)} sample${k === 1 ? "" : "s"}`;
  const which = () => {
    const cell = view.get("cell");
    return view.get("slice")
      ? `, slice ${view.get("slice")}`
      : cell.length
      ? `, true ${cell[0]} predicted ${cell[1]}`
      : "";
  };
  const tell = () => {
    const found = [...chosen()], mean = found.reduce((sum, i) => sum + data.error[i], 0) / found.length;
    const nothing = which()
      ? `No samples chosen${which()}`
      : "No samples chosen: drag around dots, or open a slice" + (regression ? "" : " or a cell");
    state.textContent = found.length
      ? `${number(found.length)} of ${samplesOf(n)} chosen${which()}; mean error ${number(mean)}`
      : nothing;
    ofSlice.textContent = view.get("slice") ? `${state.textContent}. They are listed under Worst samples.` : "";
  };
  const colours = [["", "none"], ...data.columns.map((c) => [c.name, c.name])];
  const views = regression
    ? [["predictions", "predicted against true"], ["residuals", "residuals"]]
    : [["counts", "samples"], ["shares", "share of the true class"]];
  view.body.append(
    view.bar(view.select("color", "Colour", colours), view.button("Clear selection", () => choose([])), state),
  );

  // -- predicted against true, or confusions --------------------------------------------------------------------------------
  const ring = (pen, targets, ink) => {
    const t = targets.find((o) => o.i === at());
    if (t) pen.mark(0, t.x, t.y, 8.5, { stroke: ink.text, width: 2 });
  };
  const dots = (more) =>
    scatter(view, {
      column: () => column(view.get("color")),
      selected: chosen,
      lasso: (targets) => choose(targets.map((t) => t.i).sort((p, q) => p - q)),
      pick: (t) => look(t.i),
      over: ring,
      ...more,
    });
  if (regression) {
    const residuals = () => view.get("show") === "residuals";
    const span = padded(extent([...data.truth, ...data.prediction]));
    const main = dots({
      title: () => (residuals() ? `Residuals of ${data.target}` : `Predicted against true ${data.target}`),
      describe: "A dot a sample. Draw around dots to choose samples; Enter looks at one closely.",
      points: () =>
        layers.map((i) => ({
          i,
          x: data.truth[i],
          y: residuals() ? data.residual[i] : data.prediction[i],
          tip: () => tip(i),
        })),
      x: () => ({ label: `true ${data.target}`, domain: residuals() ? null : span }),
      y: () => (residuals()
        ? { label: `true - predicted ${data.target}` }
        : { label: `predicted ${data.target}`, domain: span }),
      under: (pen, { sx, sy }, ink) => {
        const [low, high] = sx.domain, t = data.band && data.band.threshold;
        const edge = (
          by,
        ) => (residuals()
          ? [[sx(low), sy(by)], [sx(high), sy(by)]]
          : [[sx(low), sy(low + by)], [sx(high), sy(high + by)]]);
        if (t) pen.path([...edge(t), ...edge(-t).reverse()], { fill: ink.text, alpha: 0.07, close: true });
        pen.path(edge(0), { stroke: ink.soft, dash: [5, 4] });
      },
      rows: () => ({
        columns: ["sample_id", "truth", "prediction", "error", "residual"],
        rows: ids.map((id, i) => [id, data.truth[i], data.prediction[i], data.error[i], data.residual[i]]),
      }),
    });
    const band = data.band
      ? ` The grey band is ±${number(data.band.threshold)}: split conformal prediction asks it to hold ${
        percent(data.band.level)
      } of samples; it holds ${percent(data.band.coverage)} here.`
      : "";
    view.panel("Predictions", {
      plot: main,
      more: view.bar(view.select("show", "Show", views)),
      help: `On the dashed line a prediction is right. The ring is the sample looked at closely.${band}`,
    });
  } else {
    const number_of = new Map(data.classes.map((c, k) => [c, k]));
    const main = confusions(view, {
      title: `Confusions of ${data.target}`,
      describe: "Rows are true classes, columns predicted ones. Enter chooses the samples of a cell.",
      classes: data.classes,
      counts: data.counts,
      target: data.target,
      shares: () => view.get("show") === "shares",
      chosen: () => (view.get("cell").length ? view.get("cell").map((c) => number_of.get(c)) : null),
      pick: (t) => {
        const cell = [data.classes[t.r], data.classes[t.c]];
        choose([...ids.keys()].filter((i) => data.truth[i] === cell[0] && data.prediction[i] === cell[1]), { cell });
      },
    });
    const byClass = view.table({
      caption: "Precision, recall and F1 (0 to 1) of each class; support is its samples",
      columns: [
        { key: "class", label: "class", left: true, long: true },
        ...["precision", "recall", "f1", "support"].map((k) => ({ key: k, label: k === "f1" ? "F1" : k })),
      ],
      rows: data.byClass,
    });
    view.panel("Confusions", {
      plot: main,
      more: view.bar(view.select("show", "Show", views)),
      help: "Colour is the share of the true class. A click on a cell chooses its samples; they are listed below.",
      below: byClass.el,
    });
  }

  // -- errors against something -----------------------------------------------------------------------------------------------
  const words = (
    name,
  ) => (name === "distance"
    ? "distance to the nearest training samples (embedding)"
    : name === "depth"
    ? "depth (reads)"
    : name);
  const against = dots({
    title: () => `Error by ${view.get("against")}`,
    describe: "A dot a sample. Draw around dots to choose samples; Enter looks at one closely.",
    points: () => {
      const values = column(view.get("against")).values;
      return layers.map((i) => ({
        i,
        x: values[i],
        y: data.error[i],
        tip: () => [...tip(i), `${view.get("against")} ${number(values[i])}`],
      })).filter((p) => isNumber(p.x));
    },
    x: () => ({ label: words(view.get("against")) }),
    y: { label: data.errorLabel, domain: padded([0, Math.max(1e-9, ...data.error)]) },
    rows: () => ({
      columns: ["sample_id", view.get("against"), "error"],
      rows: ids.map((id, i) => [id, column(view.get("against")).values[i], data.error[i]]),
    }),
  });
  const found = () => data.associations.find((a) => a.outcome === "error" && a.column === view.get("against"));
  const linked = node("p", { class: "aam-help" });
  const link = () => {
    const a = found();
    linked.textContent = a
      ? `Rank correlation of error with ${view.get("against")}: ρ ${number(a.effect)}, adjusted p ${
        number(a.p_adjusted)
      }.`
      : "";
  };
  view.panel("Errors against", {
    plot: against,
    more: [view.bar(view.select("against", "Against", data.numbers.map((c) => [c, words(c)]))), linked],
  });

  // -- every sample -------------------------------------------------------------------------------------------------------------
  const everyone = data.order.map((i) => ({
    i,
    id: ids[i],
    truth: data.truth[i],
    prediction: data.prediction[i],
    error: data.error[i],
    residual: regression ? data.residual[i] : null,
    far: column("distance_percentile")?.values[i],
    depth: column("depth")?.values[i],
    flags: flags(i),
  }));
  let listed = everyone;
  const relist = () => {
    const some = chosen();
    listed = some.size ? everyone.filter((r) => some.has(r.i)) : everyone;
  };
  relist();
  const samples = view.table({
    caption: () =>
      `${
        listed.length < n ? `The ${samplesOf(listed.length)} chosen${which()}` : `All ${samplesOf(n)}`
      }, the largest error first; a row opens one`,
    columns: [
      { key: "id", label: "sample", left: true, long: true },
      { key: "truth", label: "true", long: true },
      { key: "prediction", label: "predicted", long: true },
      { key: "error", label: "error" },
      ...(regression ? [{ key: "residual", label: "residual", format: signed }] : []),
      ...(data.outside ? [{ key: "far", label: "distance percentile" }] : []),
      { key: "depth", label: "reads" },
      { key: "flags", label: "beware", left: true },
    ],
    rows: () => listed,
    pick: (r) => look(r.i),
    picked: (r) => r.i === at(),
    most: 50,
  });
  view.panel("Worst samples", { table: samples });

  // -- one sample -----------------------------------------------------------------------------------------------------------------
  const facts = node("dl", { class: "aam-facts" });
  const fact = (
    name,
    value,
    format = number,
  ) => (value === undefined || value === null || value === ""
    ? null
    : node("div", {}, node("dt", {}, name), node("dd", {}, format(value))));
  const doubt = view.note("", "beware");
  const metadata = data.columns.filter((c) => c.metadata);
  const known = view.table({
    caption: "Metadata",
    columns: [{ key: "name", label: "column", left: true }, { key: "value", label: "value", left: true, long: true }],
    rows: () => metadata.map((c) => ({ name: c.name, value: told(c, at()) })),
  });
  const step = (by) => {
    const k = listed.findIndex((r) => r.i === at());
    look(listed[Math.min(listed.length - 1, Math.max(0, k < 0 ? 0 : k + by))].i);
  };
  const walk = view.bar(
    view.button("◂ larger error", () => step(-1)),
    view.button("smaller error ▸", () => step(1)),
    view.button("Choose only this", () => choose([at()])),
  );
  const one = view.panel("One sample", {
    name: "One sample",
    more: [walk, facts, doubt],
    below: metadata.length ? known.el : [],
  });

  const isLooked = new Set(data.looked);
  const kept = `Kept for the ${
    number(data.looked.length)
  } samples with the largest error, not for this one. For more: aam.errors(result, study, num_worst=${
    Math.min(n, Math.max(50, 2 * data.looked.length))
  }).`;
  const missing = (
    what,
    all,
  ) => (all.length
    ? (isLooked.has(at()) ? "" : `${what}: ${kept}`)
    : `${what}: none in this analysis${data.notes.length ? "; the notes above say why" : ""}.`);
  const mine = () => data.reasons.filter((r) => r.i === at());
  const noReasons = view.note("");
  const reasonRows = view.table({
    caption: () => `ASVs of ${view.get("sample")}`,
    columns: [
      { key: "name", label: "ASV", left: true, long: true },
      { key: "value", label: "attribution", format: signed },
      ...(data.reasons.some((r) => r.lineage) ? [{ key: "lineage", label: "taxa", left: true, long: true }] : []),
      { key: "asv", label: "DNA", left: true, long: true },
    ],
    rows: mine,
  });
  const pushed = !data.reasons.length ? null : bars(view, {
    title: () => `ASVs that moved the prediction of ${view.get("sample")}`,
    describe: "A bar an ASV: to the right it raises the output, to the left it lowers it.",
    x: () => ({
      label: regression
        ? `attribution (units of ${data.target})`
        : `attribution (log-odds of ${mine()[0]?.output ?? ""})`,
    }),
    items: () =>
      mine().map((r) => ({
        key: r.asv,
        label: r.name,
        value: r.value,
        color: r.value > 0 ? UP : DOWN,
        mark: r.value > 0 ? "▲" : "▼",
        tip: [r.name, ...[r.lineage].filter(Boolean), signed(r.value), r.asv],
      })),
    labels: 260,
    rows: () => ({
      columns: ["sample_id", "output", "asv_id", "name", "attribution"],
      rows: mine().map((r) => [ids[r.i], r.output, r.asv, r.name, r.value]),
    }),
  });
  const strongest = node(
    "p",
    { class: "aam-help" },
    `Its ${
      number(data.topAsvs)
    } strongest ASVs by integrated gradients. Check aam.explain.faithfulness before you believe them.`,
  );
  view.panel("What moved its prediction", { plot: pushed, more: [noReasons, strongest], below: reasonRows.el });

  const near = (space) => data.neighbours.filter((r) => r.i === at() && r.space === space);
  const nearest = (space, title) =>
    view.table({
      caption: title,
      columns: [{ key: "rank", label: "" }, { key: "neighbour", label: "training sample", left: true, long: true }, {
        key: "neighbour_truth",
        label: "true",
        long: true,
      }, { key: "distance", label: "distance" }],
      rows: () => near(space),
    });
  const spaces = [["embedding", nearest("embedding", "In the model's embedding (Euclidean)")], [
    "unifrac",
    nearest("unifrac", "In unweighted UniFrac"),
  ]];
  const noNear = view.note("");
  view.panel("Its nearest training samples", {
    below: [noNear, ...spaces.map(([, t]) => t.el)],
    help:
      "Training samples that look like it and differ in their true value say that the target cannot be read from these ASVs, or that a label is wrong.",
  });

  const show = () => {
    const i = at(), s = suspects.get(i);
    one.retitle(`Sample ${view.get("sample")}`);
    facts.replaceChildren(
      ...[
        fact("true", data.truth[i]),
        fact("predicted", data.prediction[i]),
        fact("error", data.error[i]),
        fact("rank by error", `${number(rank.get(i) + 1)} of ${number(n)}`),
        ...data.columns.filter((c) => !c.metadata && c.kind === "numbers" && c.name !== "error").map((c) =>
          fact(c.name.replaceAll("_", " "), c.values[i])
        ),
      ].filter(Boolean),
    );
    const said = [];
    if (data.outside && data.outside[i]) {
      said.push(
        "It lies outside the training data: farther from it than 99% of the training samples are from each other.",
      );
    }
    if (s) {
      said.push(
        `Its label is suspect: the model says ${number(s.model)}, the random forest ${number(s.forest)}, the label ${
          number(s.truth)
        } (score ${number(s.score)}). A question, not a verdict.`,
      );
    }
    doubt.textContent = said.join(" ");
    doubt.hidden = !said.length;
    known.update();
    noReasons.textContent = mine().length ? "" : missing("Attributions", data.reasons);
    noReasons.hidden = !noReasons.textContent;
    reasonRows.el.hidden = strongest.hidden = !mine().length;
    if (pushed) pushed.el.hidden = !mine().length;
    reasonRows.update();
    const any = spaces.some(([space]) => near(space).length);
    noNear.textContent = any ? "" : missing("Nearest training samples", data.neighbours);
    noNear.hidden = any;
    for (const [space, t] of spaces) {
      t.el.hidden = !near(space).length;
      t.update();
    }
    samples.update();
    view.redraw();
  };

  // -- slices ----------------------------------------------------------------------------------------------------------------------
  const FIRST = 15;
  const bits = (coded) => {
    const bytes = atob(coded), found = [];
    for (let i = 0; i < n; i++) if (bytes.charCodeAt(i >> 3) & (128 >> (i & 7))) found.push(i);
    return found;
  };
  const open = (row) => {
    if (row.members) return choose(bits(row.members), { slice: row.slice });
    choose([]);
    ofSlice.textContent = `Which samples are ${row.slice} is not known here: give the study.`;
    view.say(ofSlice.textContent);
  };
  const shut = data.slices.filter((s) => !s.members).length;
  if (data.slices.length) {
    const counted = (s) => `${samplesOf(s.n)}${data.group ? ` of ${number(s.groups)} ${data.group}` : ""}`;
    const forest = bars(view, {
      title: "Slices by excess error",
      describe:
        `A mark a slice, with its interval; right of 0 its samples err more than all others. Enter chooses its samples.`,
      dots: true,
      labels: 470,
      x: { label: `excess error (${data.errorLabel})` },
      items: () =>
        data.slices.slice(0, FIRST).map((s) => ({
          ...s,
          key: s.slice,
          label: `${s.slice} (${s.n})`,
          value: s.excess,
          color: s.worse ? UP : GREY,
          shape: s.worse ? 2 : 0,
          tip: [
            s.slice,
            counted(s),
            `mean error ${number(s.error)}, excess ${signed(s.excess)} [${number(s.low)}, ${number(s.high)}]`,
            `adjusted p ${number(s.p_adjusted)}${s.worse ? ": worse than the rest" : ""}`,
          ],
        })),
      selected: () => view.get("slice") || null,
      pick: open,
      rows: () => ({
        columns: ["slice", "n", "groups", "error", "excess", "low", "high", "p", "p_adjusted", "worse"],
        rows: data.slices.map((
          s,
        ) => [s.slice, s.n, s.groups, s.error, s.excess, s.low, s.high, s.p, s.p_adjusted, s.worse]),
      }),
    });
    const closed = shut
      ? ` ${number(shut)} of ${
        number(data.slices.length)
      } slices cannot be opened: their samples are told by metadata, which aam.widgets.errors(analysis, study=study) brings.`
      : "";
    view.panel("Slices", {
      plot: forest,
      wide: true,
      below: ofSlice,
      help: `The first ${
        Math.min(FIRST, data.slices.length)
      } of ${data.slices.length}; n in brackets. Diamonds are worse than the rest (adjusted p up to ${
        number(data.falseDiscovery)
      }), grey dots are not told from chance.${closed}`,
    });
    sliceTable = view.table({
      caption: `All ${data.slices.length} slices: excess is mean error less that of all other samples, with its ${
        percent(data.confidence)
      } interval`,
      columns: [
        { key: "slice", label: "slice", left: true, long: true },
        { key: "n", label: "n" },
        ...(data.group ? [{ key: "groups", label: data.group }] : []),
        { key: "error", label: "mean error" },
        { key: "excess", label: "excess", format: signed },
        { key: "low", label: "low" },
        { key: "high", label: "high" },
        { key: "p", label: "p" },
        { key: "p_adjusted", label: "adjusted p" },
        { key: "worse", label: "", left: true, format: (v) => (v ? "◆ worse" : "") },
      ],
      rows: () => data.slices,
      pick: shut < data.slices.length ? open : null,
      picked: (s) => s.slice === view.get("slice"),
    });
    view.panel("Table of slices", { table: sliceTable, wide: true });
  }

  // -- calibration, conformal, associations, learning curve ----------------------------------------------------------------
  let bins = null;
  if (data.reliability.length || data.calibration.length) {
    const versions = [...new Set(data.reliability.map((r) => r.version))];
    const line = (rows, label, k) => ({
      label,
      shape: k,
      color: k ? PALETTE[k] : null,
      dash: [[], [6, 3], [2, 3]][k % 3],
      bars: k === 0,
      points: rows.map((r) => ({
        x: regression ? r.nominal : r.mean_predicted,
        y: r.observed,
        low: r.low,
        high: r.high,
        tip: [
          label,
          `${regression ? "asked" : "predicted"} ${percent(regression ? r.nominal : r.mean_predicted, 1)}, measured ${
            percent(r.observed, 1)
          } [${percent(r.low, 1)}, ${percent(r.high, 1)}]`,
          `n ${number(r.n)}`,
        ],
      })),
    });
    const drawn = !data.reliability.length ? null : curves(view, {
      title: regression ? "Coverage of intervals" : "Reliability of probabilities",
      describe: "On the dashed line what is said is what happens; bars are intervals.",
      series: regression ? [line(data.reliability, "measured coverage", 0)] : versions.map((v, k) =>
        line(
          data.reliability.filter((r) => r.version === v).sort((a, b) => a.mean_predicted - b.mean_predicted),
          v,
          k,
        )
      ),
      diagonal: true,
      x: {
        label: regression ? "coverage asked for" : "probability of the predicted class",
        domain: [-0.03, 1.03],
        format: (v) => percent(v),
      },
      y: {
        label: regression ? "share inside, measured" : "share that was right",
        domain: [-0.03, 1.03],
        format: (v) => percent(v),
      },
    });
    const scores = view.table({
      caption: regression
        ? "Truth on prediction: slope 1, intercept 0 and bias 0 are calibrated"
        : `Smaller is better${
          data.temperature ? `; temperature ${number(data.temperature)}, above 1 where the model is too sure` : ""
        }`,
      columns: [
        { key: "name", label: "", left: true },
        ...(regression ? ["value", "low", "high"] : ["ece", "brier", "log_loss"]).map((k) => ({
          key: k,
          label: { ece: "ECE", brier: "Brier", log_loss: "log loss" }[k] || k,
        })),
      ],
      rows: data.calibration,
    });
    if (data.reliability.length) {
      bins = view.table({
        caption: regression ? "Intervals of one half width, from validation errors" : "Bins of the curve",
        columns: [
          ...(regression
            ? [{ key: "nominal", label: "asked" }, { key: "half_width", label: "± width" }]
            : [{ key: "version", label: "", left: true }, { key: "mean_predicted", label: "predicted" }]),
          { key: "observed", label: "measured" },
          { key: "low", label: "low" },
          { key: "high", label: "high" },
          { key: "n", label: "n" },
        ],
        rows: data.reliability,
      });
    }
    const help = drawn
      ? (regression
        ? "Does an interval that promises 80% hold 80% of the judged samples?"
        : "Of predictions made with 80%, are 80% right?")
      : "No curve: it needs validation samples.";
    view.panel("Calibration", { plot: drawn, help, below: scores.el });
  }
  if (data.conformal.length) {
    const table = view.table({
      caption: regression ? "One half width around every prediction" : "Sets of all classes that cannot be ruled out",
      columns: [
        { key: "level", label: "asked", format: (v) => percent(v) },
        {
          key: "coverage",
          label: "measured",
          format: (v) => percent(v, 1),
        },
        { key: "low", label: "low", format: (v) => percent(v, 1) },
        { key: "high", label: "high", format: (v) => percent(v, 1) },
        { key: "threshold", label: regression ? "± width" : "threshold of 1 - p" },
        { key: "size", label: regression ? "mean width" : "mean classes in a set" },
        { key: "n", label: "n" },
      ],
      rows: data.conformal,
    });
    view.panel("Conformal prediction", {
      table,
      help: "Bounds fitted to validation samples so that they hold the share asked for. Empty where those are too few.",
      below: bins ? bins.el : [],
    });
  } else if (bins) view.panel("Calibration in numbers", { table: bins });
  if (data.associations.length) {
    links = view.table({
      caption: "Errors against everything known of the samples, by p; a row colours the dots by it",
      columns: [
        { key: "outcome", label: "of", left: true },
        { key: "column", label: "with", left: true, long: true },
        { key: "kind", label: "test", left: true },
        { key: "effect", label: "effect", format: signed },
        { key: "n", label: "n" },
        { key: "p", label: "p" },
        { key: "p_adjusted", label: "adjusted p" },
      ],
      rows: data.associations,
      pick: (r) =>
        view.set({
          ...(column(r.column) ? { color: r.column } : {}),
          ...(data.numbers.includes(r.column) ? { against: r.column } : {}),
        }),
      picked: (r) => r.column === view.get("color"),
    });
    view.panel("Associations", {
      table: links,
      help:
        "Spearman's ρ for numbers (-1 to 1); for categories the share of the ranks' variance they explain. Whole groups are permuted.",
    });
  }
  if (data.curve.length) {
    const name = data.metrics[data.curve[0].metric] || data.curve[0].metric;
    const drawn = curves(view, {
      title: "Learning curve",
      describe: "A dot a share of the training samples, with its interval.",
      series: [{
        label: name,
        shape: 0,
        bars: true,
        points: data.curve.map((r) => ({
          x: r.n_train,
          y: r.value,
          low: r.low,
          high: r.high,
          tip: [
            `${percent(r.share)} of the training samples: ${number(r.n_train)}`,
            `${name} ${number(r.value)} [${number(r.low)}, ${number(r.high)}]`,
          ],
        })),
      }],
      x: { label: "training samples" },
      y: { label: name },
    });
    const table = view.table({
      caption: "Scores by share of the training samples",
      columns: [
        { key: "share", label: "share", format: (v) => percent(v) },
        { key: "n_train", label: "samples" },
        { key: "value", label: name },
        { key: "low", label: "low" },
        { key: "high", label: "high" },
      ],
      rows: data.curve,
    });
    view.panel("Learning curve", {
      plot: drawn,
      help: "Still rising at the right end: more samples would help. One fit each.",
      below: table.el,
    });
  }

  // -- what changes what --------------------------------------------------------------------------------------------------------------
  view.watch("sample", () => {
    show();
    view.say(
      `Sample ${view.get("sample")}: true ${number(data.truth[at()])}, predicted ${number(data.prediction[at()])}`,
    );
  });
  view.watch(["selected", "slice", "cell"], () => {
    relist();
    tell();
    samples.update();
    sliceTable && sliceTable.update();
    view.redraw();
  });
  view.watch("selected", () => view.say(state.textContent));
  view.watch(["color", "against", "show"], () => {
    links && links.update();
    link();
    view.redraw();
  });
  tell();
  link();
  show();
}
