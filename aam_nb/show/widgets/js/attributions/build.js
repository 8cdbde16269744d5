// Attributions: what moved predictions, from ASVs to taxa and clades, sample by sample, on the tree, letter by letter; and the verdict.

const SIGNS = (v) => (v >= 0 ? UP : DOWN);

// A name cut so that the number of its ASV stays, and of a clade how many ASVs it has: "Faecalibact… #84".
function tight(label, most) {
  const end = (/ (#\d+|\(\d+ ASVs\))$/.exec(label) || [""])[0];
  return cut(label.slice(0, label.length - end.length), Math.max(4, most - end.length)) + end;
}

// Dots of samples, a row a feature: rows {key, label, mark, bold, dots: [{i, x, share, tip}]}. Of more abundance a dot is larger and lighter.
function strips(view, { rows, x, chosen, picked, ...more }) {
  const line = 30;
  const draw = (pen, w, h, ink) => {
    const shown = rows(), room = Math.min(230, w * 0.38), box = { x: room, y: 26, w: w - room - 16, h: h - 26 - 46 };
    const { sx } = axes(pen, box, {
      x: { grid: true, domain: padded(extent([0, ...shown.flatMap((r) => r.dots.map((d) => d.x))]), 0.04), ...now(x) },
      y: { domain: [0, 1], ticks: [], grid: false },
    }, ink);
    pen.line(sx(0), box.y, sx(0), box.y + box.h, { stroke: ink.soft });
    const some = chosen(), targets = [];
    if (shown.some((r) => r.dots.some((d) => isNumber(d.share)))) {
      pen.text("abundance in the row: low", box.x, 10, { size: 11, fill: ink.soft });
      const from = box.x + 160;
      [0, 0.25, 0.5, 0.75, 1].forEach((s, k) =>
        pen.mark(0, from + 12 * k, 10, 2.4 + 2.4 * s, { fill: cividis(0.15 + 0.85 * s), stroke: ink.text, width: 0.5 })
      );
      pen.text("high", from + 60, 10, { size: 11, fill: ink.soft });
    }
    shown.forEach((row, k) => {
      const y = box.y + (box.h / Math.max(1, shown.length)) * (k + 0.5), on = picked() !== "" && picked() === row.key;
      if (on) pen.rect(0, y - line / 2, w, line, { fill: ink.text, alpha: 0.08 });
      pen.line(box.x, y, box.x + box.w, y, { stroke: ink.faint });
      pen.text(
        (row.mark ? row.mark + " " : "") +
          tight(row.label, Math.floor((room - 8) / (row.bold || on ? 7.8 : 6.9)) - (row.mark ? 2 : 0)),
        room - 8,
        y,
        { anchor: "end", size: 11.5, fill: ink.text, weight: row.bold || on ? "bold" : "normal" },
      );
      const [low, high] = extent(row.dots.map((d) => d.share).filter((s) => s > 0).map(Math.log)), full = new Map();
      for (const d of row.dots) {
        const share = d.share > 0 ? (Math.log(d.share) - low) / (high - low || 1) : d.share === 0 ? 0 : null;
        const slot = Math.round(sx(d.x) / 5), n = full.get(slot) || 0;
        full.set(slot, n + 1);
        const off = Math.min(line / 2 - 4, 3.4 * Math.ceil(n / 2)) * (n % 2 ? 1 : -1), front = some.has(d.i);
        const t = {
          x: sx(d.x),
          y: y + off,
          r: share === null ? 3.2 : 2.4 + 2.4 * share,
          i: d.i,
          key: row.key,
          tip: d.tip,
        };
        const fill = share === null ? SIGNS(d.x) : cividis(Math.round(20 * (0.15 + 0.85 * share)) / 20);
        pen.mark(0, t.x, t.y, Math.round(2 * t.r) / 2 + (front ? 1 : 0), {
          fill,
          stroke: front ? UP : ink.text,
          width: front ? 2 : 0.5,
          alpha: some.size && !front ? 0.3 : 0.9,
        });
        targets.push(t);
      }
    });
    return targets;
  };
  return new Plot(view, {
    height: () => 76 + line * Math.max(1, rows().length),
    rows: () => ({
      columns: ["feature", "sample_id", "attribution", "abundance"],
      rows: rows().flatMap((r) => r.dots.map((d) => [r.key, d.id, d.x, d.share])),
    }),
    ...more,
    draw,
  });
}

// The tree pruned to some tips: nodes {parent, length, tip, id, ...} in which those with one child are left out.
function pruned(nodes, keep) {
  const num = nodes.map(() => 0), inside = nodes.map((n) => n.tip >= 0 && keep(n.tip));
  for (let k = nodes.length - 1; k > 0; k--) {
    if (inside[k]) {
      num[nodes[k].parent] += 1;
      inside[nodes[k].parent] = true;
    }
  }
  const found = [], place = new Map();
  nodes.forEach((n, k) => {
    if (!inside[k] || (n.tip < 0 && num[k] < 2)) return;
    let above = n.parent, long = n.length;
    while (above >= 0 && !place.has(above)) {
      long += nodes[above].length;
      above = nodes[above].parent;
    }
    place.set(k, found.length);
    found.push({ ...n, parent: above < 0 ? -1 : place.get(above), length: above < 0 ? 0 : long, children: [] });
    if (above >= 0) found[place.get(above)].children.push(found.length - 1);
  });
  return found;
}

// A rooted tree from left to right; thickness and colour of a branch are what it was given, triangles say the sign.
function phylogram(view, { nodes, labels, equal, key, ...more }) {
  const line = 17;
  const tips = (found) => found.filter((n) => n.tip >= 0).length;
  const draw = (pen, w, h, ink) => {
    const found = nodes(), room = Math.min(280, w * 0.46), left = 12, wide = w - room - left - 12;
    if (!found.length) return [];
    const depth = found.map(() => 0), below = found.map(() => 0), y = found.map(() => 0);
    for (let k = found.length - 1; k >= 0; k--) {
      below[k] = found[k].children.length ? 1 + Math.max(...found[k].children.map((c) => below[c])) : 0;
    }
    found.forEach((n, k) => {
      if (n.parent >= 0) depth[k] = depth[n.parent] + n.length;
    });
    const deepest = Math.max(...depth), byLength = !equal() && deepest > 0;
    const sx = (k) => left + wide * (byLength ? depth[k] / deepest : below[0] ? 1 - below[k] / below[0] : 1);
    let next = 0;
    const lay = (k) => {
      found[k].children.forEach(lay);
      y[k] = found[k].children.length
        ? (y[found[k].children[0]] + y[found[k].children.at(-1)]) / 2
        : 14 + line * (next++ + 0.5);
    };
    lay(0);
    const most = Math.max(1e-12, ...found.map((n) => Math.abs(n.mean || 0))),
      thick = (v) => 1.2 + 5 * Math.sqrt(Math.abs(v || 0) / most);
    const targets = [], label = labels();
    found.forEach((n, k) => {
      const style = isNumber(n.mean)
        ? { stroke: SIGNS(n.mean), width: thick(n.mean) }
        : { stroke: ink.soft, width: 1.2 };
      if (n.children.length) {
        pen.line(sx(k), y[n.children[0]], sx(k), y[n.children.at(-1)], { stroke: ink.soft, width: 1.2 });
      }
      if (n.parent >= 0) pen.line(sx(n.parent), y[k], sx(k), y[k], style);
    });
    found.forEach((n, k) => {
      const chosen = key() !== "" && key() === n.id, at = sx(k);
      if (isNumber(n.mean)) {
        pen.mark(n.mean >= 0 ? 3 : 4, at, y[k], n.tip >= 0 ? 4.5 : 5, {
          fill: SIGNS(n.mean),
          stroke: chosen ? ink.text : ink.paper,
          width: chosen ? 2.5 : 0.8,
        });
      }
      if (chosen) pen.mark(0, at, y[k], 9, { stroke: ink.text, width: 2 });
      targets.push({ ...n, x: at, y: y[k], r: 5, tip: label.tip(n) });
      if (n.tip < 0) return;
      const { words, bold } = label.of(n), edge = byLength ? w - room : at;
      if (byLength && edge - at > 14) pen.line(at + 7, y[k], edge - 2, y[k], { stroke: ink.faint, dash: [2, 3] });
      pen.text(tight(words, Math.floor((room - 14) / (bold ? 7.4 : 6.4))), Math.max(edge, at + 8) + 4, y[k], {
        size: 11,
        fill: ink.text,
        weight: bold ? "bold" : "normal",
      });
    });
    const foot = h - 14;
    pen.mark(3, left + 4, foot, 4.5, { fill: UP });
    pen.text("raises", left + 12, foot, { size: 11, fill: ink.soft });
    pen.mark(4, left + 62, foot, 4.5, { fill: DOWN });
    pen.text("lowers; thicker is more", left + 70, foot, { size: 11, fill: ink.soft });
    if (byLength) {
      const unit = ticks([0, deepest], 5)[1] || deepest, long = (wide * unit) / deepest, from = w - 14 - long;
      pen.line(from, foot, from + long, foot, { stroke: ink.text, width: 1.5 });
      pen.text(`${number(unit)} substitutions per site`, from - 6, foot, { anchor: "end", size: 11, fill: ink.soft });
    }
    return targets;
  };
  return new Plot(view, { height: () => 14 + line * Math.max(1, tips(nodes())) + 34, ...more, draw });
}

// Letters as high as what their positions were given, above 0 where they raise the prediction: found {letters, mean, low, high}, from..to.
function logo(view, { found, from, to, y, tip, picked, ...more }) {
  const font = '"DejaVu Sans Mono", Menlo, Consolas, monospace',
    size = 20,
    context = document.createElement("canvas").getContext("2d");
  context.font = `bold ${size}px ${font}`;
  const measured = new Map();
  const glyph = (letter) => {
    if (!measured.has(letter)) {
      const m = context.measureText(letter);
      measured.set(letter, {
        left: m.actualBoundingBoxLeft,
        wide: m.actualBoundingBoxLeft + m.actualBoundingBoxRight,
        up: m.actualBoundingBoxAscent,
        down: m.actualBoundingBoxDescent,
      });
    }
    return measured.get(letter);
  };
  const draw = (pen, w, h, ink) => {
    const f = found();
    if (!f || f.missing) return [];
    const a = from(),
      b = to(),
      box = { x: 64, y: 8, w: w - 64 - 10, h: h - 8 - 44 },
      n = b - a + 1,
      cell = box.w / n,
      ends = cell >= 7;
    const places = Array.from({ length: n }, (_, k) => a - 1 + k),
      every = [1, 2, 5, 10, 20, 50, 100, 200].find((s) => s * cell >= 34) || 500;
    const all = [0, ...f.mean, ...f.low, ...f.high]; // one scale for the whole ASV
    const { sx, sy } = axes(pen, box, {
      x: {
        label: "position, nucleotides",
        domain: [a - 0.5, b + 0.5],
        ticks: places.map((p) => p + 1).filter((p) => p % every === 0 || p === a),
      },
      y: { label: y(), room: 54, domain: padded(extent(all), 0.06) },
    }, ink);
    pen.line(box.x, sy(0), box.x + box.w, sy(0), { stroke: ink.soft });
    return places.map((p) => {
      const letter = f.letters[p],
        v = f.mean[p],
        x = sx(p + 0.5),
        high = Math.abs(sy(v) - sy(0)),
        g = glyph(letter),
        top = v >= 0 ? sy(v) : sy(0);
      if (ends && isNumber(f.low[p])) {
        pen.line(x + cell / 2, sy(f.low[p]), x + cell / 2, sy(f.high[p]), { stroke: ink.soft, width: 1, alpha: 0.7 });
      }
      if (high >= 0.4) {
        const kx = (cell * 0.92) / g.wide, ky = high / (g.up + g.down);
        pen.text(letter, x + cell * 0.04 + g.left * kx, top + high - g.down * ky, {
          size,
          weight: "bold",
          font,
          baseline: "alphabetic",
          fill: LETTER_COLORS[letter] || GREY,
          stretch: [kx, ky],
        });
      }
      if (picked() === p + 1) pen.rect(x, box.y, cell, box.h, { stroke: ink.text });
      return { x, y: Math.min(top, sy(0) - 4), w: cell, h: Math.max(8, high), p, tip: tip(p) };
    });
  };
  return new Plot(view, { height: 240, ...more, draw });
}

function build(view) {
  const data = view.get("data"), ids = data.samples;
  const levels = new Map(data.levels);
  const level = () => view.get("level");
  const current = () => view.get("levels")[level() === "taxon" ? `taxon: ${view.get("rank")}` : level()] || null;
  const items = () => (current() ? current().items.slice(0, view.get("top")) : []);
  const what = () => levels.get(level());
  const sure = (r) => `${signed(r.mean)}${isNumber(r.low) ? ` [${number(r.low)}, ${number(r.high)}]` : ""}`;
  const star = (r) => (r.marked ? "★" : "");
  const unit = `attribution (${data.shortUnit})`;

  // -- the verdict, always in sight -----------------------------------------------------------------------------------------
  const words = node("span", {}),
    clock = node("span", { "data-state": "clock" }),
    bar = node("progress", { "aria-label": "Checking", hidden: true, style: "vertical-align:middle;width:110px" });
  const ask = view.button("Check now (fast checks)", () => view.set({ checking: true }), { "data-action": "check" });
  const verdict = node(
    "div",
    {
      class: "aam-note",
      role: "status",
      "data-state": "verdict",
      style:
        "position:sticky;top:0;z-index:6;background-color:var(--jp-layout-color0, var(--aam-paper));box-shadow:0 1px 0 var(--aam-faint)",
    },
    words,
    " ",
    ask,
    " ",
    bar,
    " ",
    clock,
  );
  const checks = view.table({
    caption:
      "Each check; values against an order are differences of areas under the curve, positive where the attributions do better",
    columns: [
      { key: "check", label: "check", left: true },
      { key: "outcome", label: "outcome", left: true, format: (v) => `${{ passed: "✔", failed: "✘" }[v] || "–"} ${v}` },
      { key: "value", label: "value" },
      { key: "low", label: "low" },
      { key: "high", label: "high" },
      { key: "compared_with", label: "compared with", left: true, long: true },
      { key: "meaning", label: "meaning", left: true, long: true },
    ],
    rows: () => view.get("verdict").rows,
  });
  const count = node("summary", {});
  const details = node("details", { class: "aam-panel aam-wide", "data-panel": "Checks" }, count, checks.el);
  let since = 0, beat = 0;
  const judge = () => {
    const v = view.get("verdict"),
      failed = v.rows.filter((r) => r.outcome === "failed").length,
      running = view.get("checking");
    const cutAt = v.text.search(/ (Passed|Failed|Not measured): /), lead = cutAt < 0 ? v.text.length : cutAt;
    words.replaceChildren(node("b", {}, (v.checked ? "" : "⚠ ") + v.text.slice(0, lead)), v.text.slice(lead));
    verdict.classList.toggle("aam-beware", !v.checked || failed > 0);
    ask.hidden = !v.can || !view.live || running;
    bar.hidden = !running;
    details.hidden = !v.checked;
    count.textContent = `Checks: ${
      v.rows.filter((r) => r.outcome === "passed").length
    } passed, ${failed} failed, of ${v.rows.length}`;
    checks.update();
    clearInterval(beat);
    clock.textContent = v.can && view.live && !running ? `(${data.checks})` : "";
    if (!running) return;
    since = Date.now();
    const tick =
      () => (clock.textContent = verdict.isConnected
        ? `Checking ${data.checks}: ${Math.round((Date.now() - since) / 1000)} s`
        : clearInterval(beat) || "");
    beat = setInterval(tick, 1000);
    tick();
  };
  view.body.append(verdict, details, view.note(data.summary));
  data.beware.forEach((w) => view.body.append(view.note(w, "beware")));

  // -- which features ---------------------------------------------------------------------------------------------------------
  const ranks = view.select("rank", "Rank", data.ranks);
  const shown = view.slider("top", "Shown", { min: 1, max: data.mostTop });
  const waiting = node("span", { class: "aam-help" });
  const clear = view.button(
    "Clear choice",
    () => view.set({ asv: data.ownLevel === "nucleotide" ? view.get("asv") : "", group: "", selected: [] }),
  );
  view.body.append(view.bar(view.select("level", "Level", data.levels), ranks, shown, clear, waiting));

  const isAsv = () => level() === "asv";
  const among = () => {
    const group = view.get("group");
    if (!group) return new Set();
    const item = Object.values(view.get("levels")).flatMap((l) => l.items).find((r) => r.id === group && r.among);
    if (item) return new Set(item.among);
    return new Set(tipsBelow(group));
  };
  const tipsBelow = (group) => {
    if (!data.tree) return [];
    const nodes = data.tree.nodes, top = nodes.findIndex((n) => n.id === group);
    if (top < 0) return [];
    const under = nodes.map((_, k) => k === top);
    nodes.forEach((n, k) => n.parent >= 0 && under[n.parent] && (under[k] = true));
    return nodes.filter((n, k) => under[k] && n.tip >= 0).map((n) => n.tip);
  };
  const placeOf = new Map(data.asvs.map((r, k) => [r.id, k]));
  const key = () => (isAsv() ? view.get("asv") : view.get("group"));
  const choose = (id) => {
    if (isAsv()) view.set({ asv: view.get("asv") === id ? "" : id });
    else if (level() === "taxon" || level() === "clade") view.set({ group: view.get("group") === id ? "" : id });
    else if (level() === "nucleotide") view.set({ asv: id.split(" ")[0] });
  };
  const inGroup = (r, set) => isAsv() && set.has(placeOf.get(r.id));
  const tip = (r) =>
    [...new Set([r.label, r.lineage, r.id])].filter(Boolean).concat(
      `mean ${sure(r)} ${data.unit}`,
      `mean |attribution| ${number(r.mean_abs)}`,
      `in ${number(r.samples)} of ${number(ids.length)} samples; raises ${percent(r.positive)} of these`,
      ...(r.marked ? [data.planted ? "★ planted" : "★ marked"] : []),
    );
  const legend = data.marks ? ` ★ ${data.planted ? "planted by the simulation" : "marked"}.` : "";
  const features = bars(view, {
    title: () => `${what()} that moved predictions of ${data.target} most`,
    describe:
      "A bar a feature: its mean attribution with its interval, to the right where it raises the prediction. Enter chooses it.",
    labels: 230,
    x: { label: `mean ${unit}` },
    items: () => {
      const set = among();
      return items().map((r) => ({
        key: r.id,
        label: tight(r.label, r.marked || inGroup(r, set) ? 26 : 28),
        value: r.mean,
        low: r.low,
        high: r.high,
        color: SIGNS(r.mean),
        mark: star(r) + (inGroup(r, set) ? "●" : ""),
        bold: inGroup(r, set),
        tip: tip(r),
      }));
    },
    selected: () => key() || null,
    pick: (t) => choose(t.key),
    rows: () => ({
      columns: ["id", "label", "lineage", "mean", "low", "high", "mean_abs", "samples", "positive"],
      rows: items().map((r) => [r.id, r.label, r.lineage, r.mean, r.low, r.high, r.mean_abs, r.samples, r.positive]),
    }),
  });
  view.panel("Features", {
    name: "Features",
    plot: features,
    help:
      `By mean absolute attribution; thin lines are 95% bootstrap intervals of the mean over samples. Right and vermilion raises, left and blue lowers.${legend} ● in the taxon or clade chosen.`,
  });

  // -- sample by sample -------------------------------------------------------------------------------------------------------
  const selected = () => new Set(view.get("selected").map((id) => sampleAt.get(id)));
  const sampleAt = new Map(ids.map((id, i) => [id, i]));
  const some = strips(view, {
    title: () => `Attributions of each sample, ${what()}`,
    describe:
      "A row a feature, a dot a sample. Draw around dots to choose samples; Enter compares a sample with another.",
    rows: () => {
      const set = among();
      return items().slice(0, data.strips).filter((r) => r.strip).map((r) => ({
        key: r.id,
        label: r.label,
        mark: star(r),
        bold: inGroup(r, set),
        dots: r.strip.samples.map((i, k) => ({
          i,
          id: ids[i],
          x: r.strip.values[k],
          share: r.strip.shares ? r.strip.shares[k] : null,
          tip: () => [
            ids[i],
            r.label,
            `attribution ${signed(r.strip.values[k])}`,
            ...(r.strip.shares ? [`abundance ${percent(r.strip.shares[k], 2)}`] : []),
            `prediction ${number(data.check.prediction[i])}`,
          ],
        })),
      }));
    },
    x: { label: unit },
    chosen: selected,
    picked: key,
    lasso: (targets) =>
      view.set({ selected: [...new Set(targets.map((t) => t.i))].sort((p, q) => p - q).map((i) => ids[i]) }),
    pick: (t) => view.set({ sample_a: ids[t.i] }),
  });
  const drawn = data.dots < ids.length
    ? `${number(data.dots)} of ${number(ids.length)} samples, drawn by chance. `
    : "";
  view.panel("Sample by sample", {
    plot: some,
    help: `${drawn}Dots are samples that have the feature. Drag to lasso${
      view.live ? "; the ids are in explorer.selected" : ""
    }. A click makes a sample the first of the pair below. At most ${data.strips} rows.`,
  });

  // -- the tree ---------------------------------------------------------------------------------------------------------------
  const about = node("p", { class: "aam-help", "data-state": "group" });
  let tree = null;
  if (data.tree) {
    const nodes = () => pruned(data.tree.nodes, (k) => k < view.get("top"));
    const told = (n) => (n.tip >= 0 ? data.asvs[n.tip] : n);
    tree = phylogram(view, {
      title: () =>
        `Tree of the ${
          number(nodes().filter((n) => n.tip >= 0).length)
        } ASVs with the largest attributions of ${data.target}`,
      describe:
        "Branches are coloured by what their clades were given. Enter on a branch marks its ASVs, on a tip looks into the ASV.",
      nodes: () =>
        nodes().map((
          n,
        ) => (n.tip >= 0
          ? {
            ...n,
            mean: data.asvs[n.tip].mean,
            low: data.asvs[n.tip].low,
            high: data.asvs[n.tip].high,
            id: data.asvs[n.tip].id,
          }
          : n)
        ),
      labels: () => {
        const set = among();
        return {
          of: (n) => ({
            words: `${signed(n.mean)}  ${told(n).marked ? "★ " : ""}${set.has(n.tip) ? "● " : ""}${told(n).label}`,
            bold: set.has(n.tip) || n.id === view.get("asv"),
          }),
          tip: (
            n,
          ) => (n.tip >= 0
            ? tip(data.asvs[n.tip])
            : n.id
            ? [n.label, n.id, `all its ASVs together: mean ${sure(n)} ${data.unit}`, `in ${number(n.samples)} samples`]
            : ["all ASVs"]),
        };
      },
      equal: () => view.get("branches") === "equal",
      key: () => view.get("group") || view.get("asv"),
      pick: (
        t,
      ) => (t.tip >= 0
        ? view.set({ asv: view.get("asv") === t.id ? "" : t.id })
        : t.id && view.set({ group: view.get("group") === t.id ? "" : t.id })),
      rows: () => ({
        columns: ["node", "parent", "branch_length", "label", "mean", "low", "high"],
        rows: nodes().map((
          n,
          _,
          all,
        ) => [
          n.id || (n.tip >= 0 ? told(n).id : "root"),
          n.parent < 0 ? "" : all[n.parent].id || "root",
          n.length,
          told(n).label || "",
          told(n).mean,
          told(n).low,
          told(n).high,
        ]),
      }),
    });
    const lost = data.tree.lost ? ` ${number(data.tree.lost)} of these ASVs are not in the tree.` : "";
    view.panel("Tree", {
      plot: tree,
      more: view.bar(view.select("branches", "Branches", [["lengths", "by length"], ["equal", "all alike"]])),
      below: about,
      help:
        `The ${data.mostTop} ASVs with the largest mean |attribution| at most, as many as are shown above. A branch has what all ASVs of its clade were given together, those not drawn included.${lost}`,
    });
  } else view.panel("Tree", { below: view.note(data.noTree, "beware") });

  // -- all of them --------------------------------------------------------------------------------------------------------------
  const groupCols = () => (level() === "taxon" || level() === "clade" ? [{ key: "asvs", label: "ASVs" }] : []);
  const listed = () => {
    const set = among();
    if (isAsv() && set.size) return current().items.filter((r) => inGroup(r, set));
    return current() ? current().items : [];
  };
  const table = view.table({
    caption: () =>
      `${
        isAsv() && view.get("group") && among().size
          ? `ASVs of ${view.get("group")} among the first ${data.mostTop}`
          : `The first ${number(listed().length)} of ${number(current() ? current().features : 0)} ${what()}`
      }; all are in \`explorer.to_frame()\``,
    columns: () => [
      {
        key: "label",
        label: level() === "asv" ? "ASV" : level(),
        left: true,
        long: true,
        format: (v, r) => `${star(r) ? "★ " : ""}${v}`,
      },
      { key: "mean", label: "mean", format: (v) => `${v >= 0 ? "▲" : "▼"} ${signed(v)}` },
      { key: "low", label: "low" },
      { key: "high", label: "high" },
      { key: "mean_abs", label: "mean abs" },
      { key: "samples", label: "samples" },
      { key: "positive", label: "raises", format: (v) => percent(v) },
      ...groupCols(),
      ...(listed().some((r) => r.lineage) ? [{ key: "lineage", label: "taxonomy", left: true, long: true }] : []),
    ],
    rows: listed,
    pick: (r) => choose(r.id),
    picked: (r) => key() !== "" && r.id === key(),
    most: 20,
  });
  view.panel("Table", { table, help: data.naming });

  // -- one ASV, letter by letter --------------------------------------------------------------------------------------------------
  const letterKey = () => `${view.get("letters")} ${view.get("asv")}`;
  const inside = () => view.get("inside")[letterKey()] || null;
  const length = () => (inside() && inside().letters ? inside().letters.length : 0);
  const span = () => Math.min(length(), view.get("span") || length());
  const first = () => Math.max(1, Math.min(view.get("start"), length() - span() + 1));
  let position = 0;
  const letterTip = (p) => {
    const f = inside();
    return [
      `${f.letters[p]} at ${p + 1}`,
      `mean ${signed(f.mean[p])}${isNumber(f.low[p]) ? ` [${number(f.low[p])}, ${number(f.high[p])}]` : ""}`,
      `raises ${percent(f.positive[p])} of the samples`,
    ];
  };
  const letters = logo(view, {
    title: () => `Nucleotides of ${inside() ? inside().label : "an ASV"}`,
    describe:
      "A letter a position, as high as its mean attribution: above 0 it raises the prediction, below it lowers it.",
    found: inside,
    from: first,
    to: () => first() + span() - 1,
    y: () => `mean attribution`,
    tip: letterTip,
    picked: () => position,
    pick: (t) => {
      position = position === t.p + 1 ? 0 : t.p + 1;
      view.redraw(letters, mutated);
      spots.update();
    },
    rows: () => ({
      columns: ["position", "letter", "mean", "low", "high", "positive"],
      rows: spotRows().map((r) => [r.position, r.letter, r.mean, r.low, r.high, r.positive]),
    }),
  });
  const mutations = () => (inside() && inside().mutations) || [[], [], [], []];
  const mutated = heatmap(view, {
    title: () => `Mutations of ${inside() ? inside().label : "an ASV"}`,
    describe:
      "A column a position, a row the letter put there: prediction minus prediction with that letter, mean over samples.",
    matrix: () => {
      const cells = mutations(), a = first() - 1;
      return {
        values: cells.map((row) => row.slice(a, a + span())),
        rows: [..."ACGT"],
        columns: length() ? [...inside().letters.slice(a, a + span())].map((l, k) => `${l}${a + k + 1}`) : [],
        signed: true,
        high: Math.max(1e-12, ...cells.flat().map(Math.abs)),
      };
    },
    tip: (r, c, v) => {
      const p = first() - 1 + c, own = inside().letters[p];
      return own === "ACGT"[r]
        ? [`${own} at ${p + 1}: its own letter`]
        : [`${own} at ${p + 1} made ${"ACGT"[r]}`, `loses ${signed(v)} ${data.unit}`];
    },
    square: false,
    room: 48,
  });
  const spotRows = () => (length()
    ? [...inside().letters].map((letter, p) => ({
      position: p + 1,
      letter,
      mean: inside().mean[p],
      low: inside().low[p],
      high: inside().high[p],
      positive: inside().positive[p],
    }))
    : []);
  const spots = view.table({
    caption: () => (length() ? "Positions" : ""),
    columns: [
      { key: "position", label: "position" },
      { key: "letter", label: "letter", left: true },
      { key: "mean", label: "mean", format: (v) => `${v >= 0 ? "▲" : "▼"} ${signed(v)}` },
      { key: "low", label: "low" },
      { key: "high", label: "high" },
      {
        key: "positive",
        label: "raises",
        format: (v) => percent(v),
      },
    ],
    rows: spotRows,
    pick: (r) => {
      position = r.position;
      if (r.position < first() || r.position >= first() + span()) {
        view.set({ start: Math.max(1, Math.min(r.position - Math.floor(span() / 2), length() - span() + 1)) });
      }
      view.redraw(letters, mutated);
      spots.update();
    },
    picked: (r) => r.position === position,
    most: 12,
  });
  const methods = {
    integrated_gradients: "from hidden letters (integrated gradients)",
    occlusion: "each letter mutated",
    gradient_x_input: "gradient x input",
  };
  const sliding = node("input", {
    type: "range",
    min: 1,
    max: 1,
    step: 1,
    "aria-label": "First position shown",
    "data-trait": "start",
    oninput: () => view.set({ start: +sliding.value }),
  });
  const slid = node("output", {}),
    slider = node("label", { class: "aam-control" }, "From position ", sliding, " ", slid);
  const state = view.note("", "beware"), facts = node("p", { class: "aam-help", style: "overflow-wrap:anywhere" });
  const kept = () => Object.values(view.get("inside")).filter((f) => f.letters);
  const tell = () => {
    const f = inside(), asv = view.get("asv");
    const why = data.noLetters ||
      (!asv
        ? `Choose an ASV: a bar, a row or a tip of the tree.`
        : f
        ? f.missing || f.warning
        : view.live
        ? "Asking the model for each letter …"
        : `Not on this page. In a notebook: \`aam.widgets.attributions(found, asvs=["${cut(asv, 12)}"])\`.${
          kept().length ? ` On it: ${[...new Set(kept().map((k) => k.label))].join(", ")}.` : ""
        }`);
    state.textContent = why || "";
    state.hidden = !why;
    const there = length() > 0;
    for (const el of [letters.el, spots.el]) el.hidden = !there;
    mutated.el.hidden = mutatedHelp.hidden = !(there && f.mutations);
    slider.hidden = !there || span() >= length();
    sliding.max = Math.max(1, length() - span() + 1);
    sliding.value = first();
    slid.textContent = there ? `${first()} to ${first() + span() - 1} of ${length()}` : "";
    sliding.setAttribute("aria-valuetext", slid.textContent);
    facts.textContent = there
      ? `${f.label}${f.lineage ? ` (${f.lineage})` : ""}, ${
        f.samples < f.holders
          ? `${number(f.samples)} of the ${number(f.holders)} samples that hold it, drawn by chance`
          : `the ${number(f.holders)} samples that hold it`
      }; compared with ${f.reference}. In ${data.unit}. ${f.id}`
      : asv
      ? asv
      : "";
    oneAsv.retitle(there ? `Nucleotides of ${f.label}` : "Nucleotides of an ASV");
  };
  const mutatedHelp = node(
    "p",
    { class: "aam-help" },
    "What a mutation takes from the prediction: vermilion where the ASV's own letter raises it above the other letter.",
  );
  const spans = [[40, "40"], [75, "75"], [150, "150"], [0, "all"]];
  const controls = [
    view.select("letters", "Explained", data.methods.map((m) => [m, methods[m] || m])),
    view.select("span", "Positions drawn", spans),
    slider,
  ];
  if (data.ownLevel === "nucleotide") {
    controls.unshift(view.select("asv", "ASV", () => kept().map((k) => [k.id, k.label])));
  }
  const oneAsv = view.panel("Nucleotides of an ASV", {
    name: "Nucleotides",
    wide: true,
    plot: letters,
    more: data.noLetters ? [state] : [view.bar(...controls), state, facts],
    below: [mutatedHelp, mutated.el, spots.el],
  });

  // -- two samples ------------------------------------------------------------------------------------------------------------------
  const whole = (a, b) => {
    const w = data.whole, of = new Map();
    const add = (sample, name) => {
      const i = sampleAt.get(sample);
      for (let k = w.ends[i]; k < w.ends[i + 1]; k++) {
        const row = of.get(w.columns[k]) || { a: 0, b: 0, difference: 0 };
        row[name] = w.values[k];
        row.difference = row.a - row.b;
        of.set(w.columns[k], row);
      }
    };
    add(a, "a");
    add(b, "b");
    const all = [...of].map(([c, row]) => ({
      ...row,
      id: w.ids[c],
      label: w.labels[c],
      lineage: w.lineages[c],
      marked: w.marked[c],
    })).sort((p, q) => Math.abs(q.difference) - Math.abs(p.difference));
    return {
      rows: all.slice(0, data.mostTop),
      others: Math.max(0, all.length - data.mostTop),
      total: all.reduce((sum, r) => sum + r.difference, 0),
    };
  };
  let made = ["", null];
  const pair = () => {
    const a = view.get("sample_a"), b = view.get("sample_b"), at = `${a}\n${b}`;
    const sent = view.get("pair")[at];
    if (sent) return sent;
    if (!data.whole) return null;
    if (made[0] !== at) made = [at, whole(a, b)];
    return made[1];
  };
  const rows = () => (pair() ? pair().rows.slice(0, view.get("top")) : []);
  const apart = bars(view, {
    title: () => `${view.get("sample_a")} less ${view.get("sample_b")}`,
    describe:
      "A bar a feature: its attribution in the first sample less that in the second. To the right it makes the first sample's prediction the larger.",
    labels: 230,
    x: { label: `difference of ${unit}` },
    items: () =>
      rows().map((r) => ({
        key: r.id,
        label: tight(r.label, 27),
        value: r.difference,
        color: SIGNS(r.difference),
        mark: star(r),
        tip: [
          r.label,
          ...[r.lineage].filter(Boolean),
          r.id,
          `${view.get("sample_a")}: ${signed(r.a)}`,
          `${view.get("sample_b")}: ${signed(r.b)}`,
          `difference ${signed(r.difference)}`,
        ],
      })),
    selected: () => (data.ownLevel === "asv" ? view.get("asv") || null : null),
    pick: (t) => data.ownLevel === "asv" && view.set({ asv: view.get("asv") === t.key ? "" : t.key }),
    rows: () => ({
      columns: ["id", "label", "a", "b", "difference"],
      rows: (pair() ? pair().rows : []).map((r) => [r.id, r.label, r.a, r.b, r.difference]),
    }),
  });
  const sums = node("dl", { class: "aam-facts" }), noPair = view.note("", "beware"), mixed = view.note("", "beware");
  const sumUp = () => {
    const [i, j] = [sampleAt.get(view.get("sample_a")), sampleAt.get(view.get("sample_b"))], c = data.check, p = pair();
    const fact = (name, value) => node("div", {}, node("dt", {}, name), node("dd", {}, value));
    const of = (k) => (c.output[k] && c.output[k] !== data.target ? ` (${cut(c.output[k], 20)})` : "");
    const gap = c.prediction[i] - c.prediction[j], apart = c.reference[i] - c.reference[j];
    sums.replaceChildren(
      fact(cut(`prediction of ${ids[i]}${of(i)}`, 44), number(c.prediction[i], 4)),
      fact(cut(`prediction of ${ids[j]}${of(j)}`, 44), number(c.prediction[j], 4)),
      fact("predictions differ by", signed(gap)),
      ...(p && data.adds
        ? [fact(`attributions differ by, over all ${data.ownLevel === "asv" ? "ASVs" : "features"}`, signed(p.total))]
        : []),
      ...(p && data.adds && Math.abs(apart) > 1e-4 * Math.max(1e-9, Math.abs(gap))
        ? [fact("what they are compared with differs by", signed(apart))]
        : []),
    );
    noPair.textContent = p
      ? ""
      : view.live
      ? "Comparing …"
      : "This page does not hold all samples: only the pair it was saved with.";
    noPair.hidden = !noPair.textContent;
    mixed.textContent = c.output[i] === c.output[j]
      ? ""
      : `The first is explained for ${c.output[i]}, the second for ${c.output[j]}: their difference mixes the two.`;
    mixed.hidden = !mixed.textContent;
  };
  const swap = view.button("Swap", () => view.set({ sample_a: view.get("sample_b"), sample_b: view.get("sample_a") }));
  const others =
    () => (pair() && pair().rows.length
      ? `The first ${number(Math.min(pair().rows.length, view.get("top")))} of ${
        number(pair().rows.length + pair().others)
      } features`
      : "");
  const beside = view.table({
    caption: others,
    columns: () => [
      {
        key: "label",
        label: data.ownLevel === "asv" ? "ASV" : data.ownLevel,
        left: true,
        long: true,
        format: (v, r) => `${star(r) ? "★ " : ""}${v}`,
      },
      { key: "a", label: cut(view.get("sample_a"), 18), format: signed },
      { key: "b", label: cut(view.get("sample_b"), 18), format: signed },
      { key: "difference", label: "difference", format: (v) => `${v >= 0 ? "▲" : "▼"} ${signed(v)}` },
    ],
    rows,
    pick: data.ownLevel === "asv" ? (r) => view.set({ asv: view.get("asv") === r.id ? "" : r.id }) : null,
    picked: (r) => data.ownLevel === "asv" && r.id === view.get("asv"),
    most: 15,
  });
  if (ids.length > 1) {
    view.panel("One sample against another", {
      plot: apart,
      more: [
        view.bar(view.select("sample_a", "First", ids), view.select("sample_b", "Second", ids), swap),
        mixed,
        noPair,
        sums,
      ],
    });
    view.panel("Difference", { table: beside, help: "0 where a sample lacks the feature." });
  }

  // -- samples ------------------------------------------------------------------------------------------------------------------------
  const everyone = ids.map((id, i) => ({
    i,
    id,
    output: data.check.output[i],
    prediction: data.check.prediction[i],
    reference: data.check.reference[i],
    sum: data.check.sum[i],
    gap: data.check.gap[i],
    share: data.shares ? data.shares[i] : null,
  }));
  const samples = view.table({
    caption: () =>
      (view.get("selected").length
        ? `The ${number(view.get("selected").length)} samples chosen`
        : `All ${number(ids.length)} samples`) + "; a row makes one the first of the pair",
    columns: [
      { key: "id", label: "sample", left: true, long: true },
      ...(new Set(data.check.output).size > 1 ? [{ key: "output", label: "explained", left: true, long: true }] : []),
      { key: "prediction", label: "prediction" },
      { key: "reference", label: "reference" },
      ...(data.adds ? [{ key: "sum", label: "sum of attributions" }] : []),
      ...(data.shares
        ? [{ key: "gap", label: "gap" }, {
          key: "share",
          label: "gap, share of the change",
          format: (v) => percent(v, 2),
        }]
        : []),
    ],
    rows: () => {
      const set = selected();
      return set.size ? everyone.filter((r) => set.has(r.i)) : everyone;
    },
    pick: (r) => view.set({ sample_a: r.id }),
    picked: (r) => r.id === view.get("sample_a"),
    most: 12,
  });
  view.panel("Samples", { table: samples, wide: true });

  // -- what follows what --------------------------------------------------------------------------------------------------------------
  const describe = () => {
    const group = view.get("group");
    const n = group &&
      ((data.tree && data.tree.nodes.find((r) => r.id === group)) ||
        Object.values(view.get("levels")).flatMap((l) => l.items).find((r) => r.id === group));
    about.textContent = !group
      ? "A click on a branch marks its ASVs and tells what they were given together."
      : n
      ? `${n.label}, ${group}: ${number(n.asvs)} ASVs, together mean ${
        sure(n)
      } ${data.unit}. Those among the ASVs shown are marked ●; all are in \`explorer.asvs\`.`
      : `${group}: its ASVs are in \`explorer.asvs\`.`;
  };
  const relevel = () => {
    ranks.hidden = level() !== "taxon" || !data.ranks.length;
    waiting.textContent = current() ? "" : "Adding up …";
    table.update();
    describe();
    view.redraw(...[features, some, tree].filter(Boolean));
  };
  view.watch(["level", "rank", "levels", "top"], relevel);
  view.watch(["group"], () => {
    relevel();
    view.say(about.textContent);
  });
  view.watch("asv", () => {
    position = 0;
    table.update();
    beside.update();
    view.redraw(...[features, some, tree, apart].filter(Boolean));
  });
  view.watch("branches", () => tree && view.redraw(tree));
  view.watch(["asv", "inside", "letters", "start", "span"], () => {
    tell();
    spots.update();
    view.redraw(letters, mutated);
  });
  view.watch(["sample_a", "sample_b", "pair", "top"], () => {
    sumUp();
    beside.update();
    samples.update();
    view.redraw(apart);
  });
  view.watch("selected", () => {
    samples.update();
    view.redraw(some);
    view.say(`${view.get("selected").length} samples chosen`);
  });
  view.watch(["verdict", "checking"], judge);
  judge();
  relevel();
  tell();
  sumUp();
}
