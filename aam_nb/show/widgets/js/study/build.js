// A study: its depth, its samples among one another, its metadata, its taxa; what is selected in one is seen in all.

const TAXA = 8; // with a colour of their own
const LEVELS = 25; // of a metadata column, drawn one by one
const DASHES = [[], [7, 3], [2, 2], [8, 3, 2, 3], [12, 3], [4, 4], [1, 3], [9, 2, 2, 2, 2, 2]];
const DARK = [0, 7]; // places in the palette on which white is read best

// Shares as they are sent: whole numbers up to 65,535, little-endian.
function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0)), view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 2 }, (_, k) => view.getUint16(2 * k, true) / 65535);
}

// Bars of several groups, cut into the shares of parts; numbers in the bars are those of the legend.
function composition(view, { parts, groups, ...more }) {
  const color = (k) => (k < TAXA ? PALETTE[k] : GREY);
  const layout = (w) => {
    const shown = now(groups), longest = Math.max(...shown.map((g) => g.label.length));
    const room = Math.min(w * 0.28, 14 + 6.6 * longest), beside = w > 520, side = beside ? Math.min(250, w * 0.4) : 0;
    const step = Math.min(34, Math.max(20, (beside ? 190 : 120) / shown.length));
    return { shown, room, beside, side, step, width: w - room - side - 14, tall: step * shown.length };
  };
  const draw = (pen, w, _h, ink) => {
    const { shown, room, beside, side, step, width, tall } = layout(w), names = now(parts), targets = [];
    const box = { x: room, y: 4, w: width, h: tall };
    axes(pen, box, {
      x: { domain: [0, 1], grid: true, format: (v) => percent(v), label: "mean share of reads" },
      y: { domain: [0, 1], ticks: [], grid: false },
    }, ink);
    shown.forEach((group, r) => {
      const y = box.y + step * r + step * 0.12, high = step * 0.76;
      pen.text(cut(group.label, Math.floor((room - 8) / 6.4)), room - 8, y + high / 2, {
        anchor: "end",
        size: 11.5,
        fill: ink.text,
      });
      let x = room;
      group.shares.forEach((share, k) => {
        const wide = Math.max(0, share * width);
        pen.rect(x, y, wide, high, { fill: color(k), stroke: ink.paper, width: 0.7 });
        if (wide > 15) {
          pen.text(k + 1, x + wide / 2, y + high / 2, {
            anchor: "middle",
            size: 10.5,
            fill: DARK.includes(k) ? "#ffffff" : "#000000",
          });
        }
        if (wide > 0.5) {
          targets.push({
            x,
            y,
            w: wide,
            h: high,
            tip: [
              `${names[k].name}`,
              ...(names[k].full ? [names[k].full] : []),
              `${percent(share, 1)} of the reads, ${group.label}`,
            ],
          });
        }
        x += wide;
      });
    });
    names.forEach((part, k) => {
      const [x, y] = beside
        ? [w - side + 8, 12 + 19 * k]
        : [12 + (k % 2) * (w / 2), tall + 62 + 19 * Math.floor(k / 2)];
      pen.rect(x, y - 7, 14, 14, { fill: color(k) });
      pen.text(k + 1, x + 7, y, { anchor: "middle", size: 10, fill: DARK.includes(k) ? "#ffffff" : "#000000" });
      pen.text(cut(part.name, Math.floor(((beside ? side : w / 2) - 44) / 6.6)), x + 20, y, {
        size: 11.5,
        fill: ink.text,
      });
    });
    return targets;
  };
  return new Plot(view, {
    height: (w) => {
      const { beside, tall } = layout(w), listed = now(parts).length;
      return beside ? Math.max(tall + 52, 26 + 19 * listed) : tall + 66 + 19 * Math.ceil(listed / 2);
    },
    rows: () => ({
      columns: ["group", ...now(parts).map((p) => p.name)],
      rows: now(groups).map((g) => [g.label, ...g.shares]),
    }),
    ...more,
    draw,
  });
}

// A metadata column: bars of its levels, or of bins of its numbers, of all samples and of the selection, as shares of either.
// `groups()` gives {label, all, some, members, missing}, `sizes()` how many samples there are and how many are selected.
function facets(view, { groups, sizes, numbers, label, ...more }) {
  const step = 26, share = (n, of) => (of ? n / of : 0);
  const draw = (pen, w, h, ink) => {
    const shown = now(groups), [all, some] = sizes(), targets = [];
    const high = Math.max(0.01, ...shown.map((g) => Math.max(share(g.all, all), share(g.some, some)))) * 1.05;
    const tip = (
      g,
    ) => [
      g.label,
      `${number(g.all)} of ${number(all)} samples (${percent(g.all / all, 1)})`,
      ...(some ? [`${number(g.some)} of ${number(some)} selected (${percent(g.some / some, 1)})`] : []),
    ];
    const axis = {
      domain: [0, high],
      grid: true,
      format: (v) => percent(v, high < 0.05 ? 1 : 0),
      label: "share of samples",
    };
    if (now(numbers)) {
      const box = { x: 58, y: 10, w: w - 58 - 14, h: h - 10 - 44 };
      const { sx, sy } = axes(pen, box, {
        x: { domain: [shown[0].from, shown[shown.length - 1].to], label: text(label) },
        y: axis,
      }, ink);
      for (const g of shown) {
        const [a, b] = [sx(g.from) + 0.5, sx(g.to) - 0.5], wide = some ? (b - a) / 2 : b - a;
        const bar = (n, of, x, fill) => pen.rect(x, sy(share(n, of)), wide, sy(0) - sy(share(n, of)), { fill });
        bar(g.all, all, a, GREY);
        if (some) bar(g.some, some, a + wide, ink.main);
        targets.push({ x: a, y: box.y, w: b - a, h: box.h, tip: tip(g), ...{ members: g.members } });
      }
      return targets;
    }
    const room = Math.min(w * 0.34, 14 + 6.8 * Math.max(...shown.map((g) => g.label.length))),
      box = { x: room, y: 4, w: w - room - 96, h: step * shown.length };
    const { sx } = axes(pen, box, { x: axis, y: { domain: [0, 1], ticks: [], grid: false } }, ink);
    shown.forEach((g, r) => {
      const y = box.y + step * r, thick = some ? 9 : 15;
      pen.text(cut(g.label, Math.floor((room - 8) / 6.8)), room - 8, y + step / 2, {
        anchor: "end",
        size: 11.5,
        fill: g.missing ? ink.soft : ink.text,
      });
      pen.rect(room, y + (some ? 3 : 5), sx(share(g.all, all)) - room, thick, { fill: GREY });
      if (some) pen.rect(room, y + 13, sx(share(g.some, some)) - room, thick, { fill: ink.main });
      pen.text(some ? `${number(g.some)} of ${number(g.all)}` : number(g.all), w - 90, y + step / 2, {
        size: 11,
        fill: ink.soft,
      });
      targets.push({ x: 0, y, w: w - 2, h: step, tip: tip(g), members: g.members });
    });
    return targets;
  };
  return new Plot(view, {
    height: () => (now(numbers) ? 240 : 52 + step * Math.max(1, now(groups).length)),
    rows: () => ({ columns: ["level", "samples", "selected"], rows: now(groups).map((g) => [g.label, g.all, g.some]) }),
    ...more,
    draw,
  });
}

function build(view) {
  const data = view.get("data"), ids = data.samples, total = ids.length;
  const place = new Map(ids.map((id, i) => [id, i]));
  const everyone = ids.map((_, i) => i);
  const column = (name) => data.columns.find((c) => c.name === name) || null;
  const colour = () => column(view.get("color"));
  const memo = (of, make) => {
    let key, value;
    return () => {
      const fresh = of();
      if (!key || fresh.some((v, k) => v !== key[k])) [key, value] = [fresh, make(...fresh)];
      return value;
    };
  };
  const chosen = memo(() => [view.get("selected")], (selected) => new Set(selected.map((id) => place.get(id))));
  const members = () => (chosen().size ? [...chosen()] : everyone);
  const choose = (places) => view.set({ selected: [...places].sort((a, b) => a - b).map((i) => ids[i]) });
  const toggled = (places) => {
    const found = new Set(chosen()), whole = places.every((i) => found.has(i));
    places.forEach((i) => (whole ? found.delete(i) : found.add(i)));
    choose(found);
  };
  const samples = (n) => `${number(n)} sample${n === 1 ? "" : "s"}`;

  // -- at a glance --------------------------------------------------------------------------------------------------------
  const facts = node(
    "dl",
    { class: "aam-facts" },
    data.facts.map(([name, value]) => node("div", {}, node("dt", {}, name), node("dd", {}, value))),
  );
  const steps = node(
    "details",
    {},
    node("summary", {}, `How it came about (${data.provenance.length} steps)`),
    node("ol", { class: "aam-list" }, data.provenance.map((s) => node("li", {}, s))),
  );
  view.panel("At a glance", { more: [facts, steps], wide: true });

  const named = data.columns.map((c) => c.name),
    categories = data.columns.filter((c) => c.kind === "categories").map((c) => c.name);
  const count = node("span", { class: "aam-control", "data-count": true });
  const counted =
    () => (count.textContent = chosen().size
      ? `${number(chosen().size)} of ${samples(total)} selected`
      : `none of ${samples(total)} selected: all are looked at`);
  counted();
  view.body.append(
    view.bar(
      view.select("color", "Colour by", [["", "nothing"], ...named]),
      view.select("shape", "Shape by", [["", "the colour's column"], ...categories]),
      view.button("Clear selection", () => choose([])),
      count,
    ),
  );

  // -- principal coordinates ----------------------------------------------------------------------------------------------
  const key = () => view.get("distance") + (view.get("rarefy") ? `@${view.get("depth")}` : "");
  const ordination = () => view.get("ordinations")[key()];
  const drawn = () => Boolean(ordination() && ordination().samples);
  const axis = (k) => Number(view.get("axes").split("-")[k]) - 1;
  const points = memo(
    () => [ordination(), view.get("axes")],
    (found) =>
      found && found.samples
        ? found.samples.map((i, n) => ({
          i,
          x: found.points[axis(0)][n],
          y: found.points[axis(1)][n],
          tip: () => [
            ids[i],
            ...[colour(), column(view.get("shape"))].filter((c, k, both) => c && both.indexOf(c) === k).map((c) =>
              `${c.name}: ${told(c, i)}`
            ),
            `${number(data.depth[i])} reads, ${number(data.richness[i])} ASVs`,
          ],
        }))
        : [],
  );
  const axisOf = (k) => () => ({
    label: drawn() ? `PCo ${axis(k) + 1} (${percent(ordination().share[axis(k)], 1)} explained)` : "",
  });
  const pcoa = scatter(view, {
    title: () => `PCoA, ${drawn() ? ordination().label : ""}`,
    describe: "A dot a sample. Draw around dots to select samples; Enter selects one; Escape clears the selection.",
    points,
    x: axisOf(0),
    y: axisOf(1),
    radius: total > 1500 ? 3 : 4.5,
    column: colour,
    form: () => (view.get("shape") === view.get("color") ? null : column(view.get("shape"))),
    selected: chosen,
    lasso: (targets, e) => choose(new Set([...(e.shiftKey ? chosen() : []), ...targets.map((t) => t.i)])),
    pick: (t, e) => (e.shiftKey ? toggled([t.i]) : choose([t.i])),
    rows: () => ({
      columns: ["sample_id", `PCo ${axis(0) + 1}`, `PCo ${axis(1) + 1}`],
      rows: points().map((p) => [ids[p.i], p.x, p.y]),
    }),
  });
  const kept = () => new Set(Object.keys(view.get("ordinations")).map((k) => k.split("@")[0]));
  const metrics = () => data.distances.filter(([name]) => view.live || kept().has(name));
  const rarefied = view.live || Object.keys(view.get("ordinations")).some((k) => k.includes("@"));
  const waits = view.note(() => {
    if (drawn()) return [ordination().note, data.drawn].filter(Boolean).join(" ");
    if (ordination()) return ordination().note;
    return view.live
      ? "Distances are being computed …"
      : "This PCoA is not on the page: it was saved without it. Choose another distance, or leave the study as it is.";
  });
  const placed = () => {
    pcoa.el.hidden = !drawn();
    waits.update();
    waits.classList.toggle("aam-beware", !drawn() || Boolean(ordination().note));
    view.redraw(pcoa);
  };
  placed();
  view.panel("Samples among one another (PCoA)", {
    plot: pcoa,
    name: "pcoa",
    more: view.bar(
      view.select("distance", "Distance", metrics),
      view.select("axes", "Axes", [["1-2", "1 and 2"], ["1-3", "1 and 3"], ["2-3", "2 and 3"]]),
      ...(rarefied ? [view.toggle("rarefy", "rarefied to the depth")] : []),
    ),
    below: waits,
    help: `Drag around dots to select samples, with Shift to add some.${
      view.live ? " Their ids are in explorer.selected, their study in explorer.selection." : ""
    }`,
  });

  // -- metadata -----------------------------------------------------------------------------------------------------------
  const facet = () => column(view.get("facet"));
  const split = memo(
    () => [view.get("facet"), view.get("selected")],
    () => {
      const c = facet(), some = chosen(), lost = [];
      if (!c) return { groups: [], missing: 0, others: 0 };
      const group = (label, places, more = {}) => ({
        label,
        members: places,
        all: places.length,
        some: places.filter((i) => some.has(i)).length,
        ...more,
      });
      if (c.kind === "numbers") {
        const [low, high] = extent(c.values), n = 20, bins = Array.from({ length: n }, () => []);
        c.values.forEach((
          v,
          i,
        ) => (isNumber(v) ? bins[Math.min(n - 1, Math.floor(((v - low) / (high - low)) * n))].push(i) : lost.push(i)));
        const edge = (k) => low + ((high - low) * k) / n;
        return {
          groups: bins.map((b, k) =>
            group(`${number(edge(k))} to ${number(edge(k + 1))}`, b, { from: edge(k), to: edge(k + 1) })
          ),
          missing: lost.length,
          others: 0,
        };
      }
      const levels = c.levels.map(() => []);
      c.values.forEach((v, i) => (v < 0 ? lost : levels[v]).push(i));
      let order = levels.map((_, k) => k);
      const numbered = c.levels.every((v) => v !== "" && isNumber(Number(v)));
      if (!numbered || order.length > LEVELS) order.sort((a, b) => levels[b].length - levels[a].length);
      const rest = order.slice(LEVELS);
      order = order.slice(0, LEVELS);
      const groups = order.map((k) => group(c.levels[k], levels[k]));
      if (rest.length) {
        groups.push(group(`${number(rest.length)} others`, rest.flatMap((k) => levels[k]), { missing: true }));
      }
      if (lost.length) groups.push(group("missing", lost, { missing: true }));
      return { groups, missing: lost.length, others: rest.length };
    },
  );
  if (data.columns.length) {
    const bars = facets(view, {
      title: () => `Samples by ${view.get("facet")}`,
      describe:
        "A bar for each level or bin: grey for all samples, coloured for the selection. Enter adds its samples to the selection, or takes them away.",
      groups: () => split().groups,
      sizes: () => [total, chosen().size],
      numbers: () => facet().kind === "numbers",
      label: () => view.get("facet"),
      pick: (t) => toggled(t.members),
    });
    const table = view.table({
      caption: () =>
        `${view.get("facet")}: ${split().missing ? `missing in ${samples(split().missing)}` : "known in all samples"}`,
      columns: () => [
        { key: "label", label: "level", left: true },
        { key: "all", label: "samples" },
        { key: "of", label: "of all", format: (v) => percent(v, 1) },
        ...(chosen().size
          ? [{ key: "some", label: "selected" }, {
            key: "share",
            label: "selected, of these",
            format: (v) => percent(v),
          }]
          : []),
      ],
      rows: () => split().groups.filter((g) => g.all).map((g) => ({ ...g, of: g.all / total, share: g.some / g.all })),
      pick: (g) => toggled(g.members),
      picked: (g) => g.some > 0 && g.some === g.all,
      most: 8,
    });
    view.panel("Metadata", {
      plot: bars,
      name: "metadata",
      more: view.bar(view.select("facet", "Column", named)),
      below: table.el,
      help:
        `Grey: share of all samples; colour: share of the selection. A click on a bar or a row selects its samples, another unselects them. ${data.leftOut}`,
    });
    view.watch(["facet", "selected"], () => {
      table.update();
      view.redraw(bars);
    });
  }

  // -- taxa ---------------------------------------------------------------------------------------------------------------
  const shares = new Map();
  const taxa = () => {
    const rank = view.get("rank"), sent = view.get("taxa")[rank];
    if (!sent) return null;
    if (!shares.has(rank)) shares.set(rank, { ...sent, values: unpacked(sent.shares) });
    return shares.get(rank);
  };
  const mean = (found, places) => {
    const width = found.names.length, sums = new Float64Array(width);
    let n = 0;
    for (const i of places) {
      if (!data.depth[i]) continue;
      n += 1;
      for (let k = 0; k < width; k++) sums[k] += found.values[i * width + k];
    }
    return { n, shares: [...sums].map((v) => v / Math.max(1, n)) };
  };
  const levelsOf = () => {
    const c = colour();
    if (!c || c.kind === "numbers") return [];
    const within = c.levels.map(() => []);
    for (const i of members()) if (c.values[i] >= 0) within[c.values[i]].push(i);
    return encoding(c).items.map((t) => [t.label, within[c.levels.indexOf(t.label)] || []]).filter(([, places]) =>
      places.length
    );
  };
  const composed = memo(
    () => [taxa(), view.get("selected"), view.get("by_level"), view.get("color")],
    (found) => {
      if (!found) return { parts: [{ name: "" }], groups: [{ label: "", shares: [0] }], list: [] };
      const all = mean(found, everyone), some = chosen().size ? mean(found, chosen()) : null;
      const rank = all.shares.map((v, k) => [Math.max(v, some ? some.shares[k] : 0), k]).sort((a, b) =>
        b[0] - a[0] || a[1] - b[1]
      ).map(([, k]) => k);
      const top = rank.slice(0, TAXA), others = found.taxa - top.length;
      const cutUp = (label, of) => {
        const parts = top.map((k) => of.shares[k]);
        return {
          label: `${label} (${number(of.n)})`,
          shares: others ? [...parts, Math.max(0, 1 - parts.reduce((a, b) => a + b, 0))] : parts,
        };
      };
      const groups = [cutUp("all", all), ...(some ? [cutUp("selected", some)] : [])];
      if (view.get("by_level")) {
        for (const [name, places] of levelsOf()) {
          groups.push(cutUp(name, mean(found, places)));
        }
      }
      return {
        parts: [
          ...top.map((k) => ({ name: found.names[k], full: found.full[k] })),
          ...(others ? [{ name: `${number(others)} others` }] : []),
        ],
        groups,
        list: rank.map((k) => ({
          name: found.names[k],
          full: found.full[k],
          all: all.shares[k],
          some: some ? some.shares[k] : null,
          more: some ? some.shares[k] - all.shares[k] : null,
        })),
      };
    },
  );
  const bars = composition(view, {
    title: () => `Composition by ${view.get("rank")}`,
    describe:
      "Bars of the mean shares of reads, of all samples and of the selection; the numbers are those of the legend.",
    parts: () => composed().parts,
    groups: () => composed().groups,
  });
  const taxonTable = view.table({
    caption: () => `Mean share of reads, the largest ${composed().list.length} of ${number(taxa() ? taxa().taxa : 0)}`,
    columns: () => [
      { key: "name", label: view.get("rank"), left: true, long: true },
      {
        key: "all",
        label: "all",
        format: (v) => percent(v, 2),
      },
      ...(chosen().size
        ? [{ key: "some", label: "selected", format: (v) => percent(v, 2) }, {
          key: "more",
          label: "difference",
          format: (v) => (v > 0 ? "+" : "") + percent(v, 2),
        }]
        : []),
      ...(view.get("rank") === "ASV"
        ? [{ key: "full", label: "DNA", left: true, long: true, format: (v) => cut(v, 14) }]
        : []),
    ],
    rows: () => composed().list,
    most: 8,
  });
  const taxaWait = view.note(() => (taxa() ? "" : "Shares are being computed …"));
  view.panel("Taxa", {
    plot: bars,
    name: "taxa",
    more: view.bar(
      view.select("rank", "Rank", data.ranks),
      view.toggle("by_level", "a bar for each level of the colour"),
    ),
    below: [taxaWait, taxonTable.el],
    help: `${
      data.ranks.length > 1 ? "" : "The study has no taxonomy: ASVs are shown, by both ends of their DNA. "
    }The ${TAXA} largest, in all samples or in the selection, are drawn; a sample counts as much as any other.`,
  });
  const composedAgain = () => {
    bars.el.hidden = !taxa();
    taxaWait.update();
    taxonTable.update();
    view.redraw(bars);
  };
  composedAgain();

  // -- depth --------------------------------------------------------------------------------------------------------------
  const depths = Float64Array.from(data.depth).sort(), deepest = depths[total - 1], shallow = depths.find((d) => d > 0);
  const reach = (d) => {
    let [low, high] = [0, total];
    while (low < high) {
      const mid = (low + high) >> 1;
      if (depths[mid] >= d) high = mid;
      else low = mid + 1;
    }
    return total - low; // samples with at least so many reads
  };
  const held = (d) => data.deepest[0].reduce((n, deep, k) => (deep >= d ? n + data.deepest[1][k] : n), 0);
  const allReads = depths.reduce((a, b) => a + b, 0), allAsvs = data.prevalence[1].reduce((a, b) => a + b, 0);
  let draft = view.get("depth");
  const clamp = (d) => Math.min(deepest, Math.max(1, Math.round(d)));
  const top = Math.max(deepest, shallow + 1),
    edges = Array.from({ length: 31 }, (_, k) => shallow * (top / shallow) ** (k / 30));
  edges[30] = top;
  const counts = edges.slice(1).map((b, k) => reach(edges[k]) - (k === 29 ? 0 : reach(b)));
  const nudge = (by) =>
    view.set({ depth: clamp(view.get("depth") + by * Math.max(1, Math.round(view.get("depth") / 20))) });
  const depthPlot = histogram(view, {
    title: "Reads per sample",
    describe:
      "A histogram of depths with the line of the rarefaction depth. Shift and an arrow key move the line; Enter moves it to a bar.",
    bins: { edges, counts },
    x: { label: "reads per sample", log: true },
    y: { label: "samples" },
    shade: (_low, high) => high <= draft,
    pick: (t) => view.set({ depth: clamp(Math.ceil(edges[t.k])) }),
    grip: {
      draw: (pen, w, h, ink) => {
        const sx = depthPlot.scaleX(w, h), x = sx(Math.min(top, Math.max(shallow, draft))), { y, h: tall } = sx.box;
        pen.line(x, y - 4, x, y + tall, { stroke: UP, width: 2 });
        pen.path([[x - 6, y - 8], [x + 6, y - 8], [x, y + 2]], { fill: UP, close: true });
        const left = x > w - 90;
        pen.text(number(draft), x + (left ? -9 : 9), y + 4, {
          size: 11.5,
          weight: "bold",
          anchor: left ? "end" : "start",
          fill: ink.text,
        });
      },
      takes: (x, _y, w, h) => Math.abs(x - depthPlot.scaleX(w, h)(Math.max(shallow, draft))) < 8,
      move: (x, _y, w, h) => drafted(clamp(depthPlot.scaleX(w, h).invert(x))),
      done: () => view.set({ depth: draft }),
      key: (name, shift) => {
        if (!shift || !["ArrowLeft", "ArrowRight"].includes(name)) return false;
        nudge(name === "ArrowRight" ? 1 : -1);
        return true;
      },
    },
  });
  const slide = node("input", {
    type: "range",
    min: 0,
    max: Math.log10(deepest),
    step: "any",
    "aria-label": "Rarefaction depth",
    "data-trait": "depth",
  });
  const exact = node("input", {
    type: "number",
    min: 1,
    max: deepest,
    step: 1,
    class: "aam-button",
    "aria-label": "Rarefaction depth, exactly",
  });
  slide.addEventListener("input", () => drafted(clamp(10 ** +slide.value)));
  slide.addEventListener("change", () => view.set({ depth: draft }));
  slide.addEventListener("keydown", (e) => {
    const way = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[e.key];
    if (!way) return;
    e.preventDefault();
    e.stopPropagation();
    if (e.shiftKey) view.set({ depth: clamp(view.get("depth") + way) });
    else nudge(way);
  });
  exact.addEventListener("change", () => {
    exact.value = clamp(+exact.value || 1);
    view.set({ depth: +exact.value });
  });
  const depthWords = view.note(() => {
    const n = reach(draft), expected = view.get("retained")[draft];
    const lost = chosen().size ? [...chosen()].filter((i) => data.depth[i] < draft).length : 0;
    return (
      `At ${number(draft)} reads, ${number(n)} of ${samples(total)} are kept (${percent(n / total, 1)}), which hold ${
        number(held(draft))
      } of ${number(allAsvs)} ASVs; ` +
      `${number(n * draft)} reads are drawn (${percent((n * draft) / allReads, 1)} of all). ` +
      (expected === undefined
        ? (view.live ? "" : "How many ASVs are expected among them is told in a notebook. ")
        : `Of the ASVs, ${number(Math.round(expected))} are expected among the reads drawn. `) +
      (chosen().size ? `Of the ${number(chosen().size)} selected, ${number(lost)} would be dropped.` : "")
    );
  });
  const levelRows = () => {
    const c = colour(), levels = c && c.kind === "categories" ? c.levels.map((name, k) => [name, (v) => v === k]) : [];
    if (c && c.kind === "categories" && c.values.includes(-1)) levels.push(["missing", (v) => v === -1]);
    const row = (name, places) => ({
      name,
      n: places.length,
      kept: places.filter((i) => data.depth[i] >= draft).length,
    });
    return [
      row("all samples", everyone),
      ...levels.map(([name, is]) => row(name, everyone.filter((i) => is(c.values[i])))).sort((a, b) => b.n - a.n),
    ].map((r) => ({ ...r, share: r.n ? r.kept / r.n : 0 }));
  };
  const depthTable = view.table({
    caption: () => `Samples kept${colour() && colour().kind === "categories" ? `, by ${view.get("color")}` : ""}`,
    columns: [
      { key: "name", label: "samples", left: true },
      { key: "n", label: "all" },
      { key: "kept", label: "kept" },
      { key: "share", label: "kept, of these", format: (v) => percent(v, 1) },
    ],
    rows: levelRows,
    most: 6,
  });
  function drafted(depth) {
    draft = depth;
    if (Math.round(10 ** +slide.value) !== depth) slide.value = Math.log10(depth);
    slide.setAttribute("aria-valuetext", `${number(depth)} reads`);
    exact.value = depth;
    depthWords.update();
    view.redraw(depthPlot);
  }
  drafted(draft);
  const none = total - reach(1);
  view.panel("Depth", {
    plot: depthPlot,
    name: "depth",
    more: view.bar(
      node("label", { class: "aam-control" }, "Rarefaction depth ", slide),
      node("label", { class: "aam-control" }, exact, " reads"),
    ),
    below: [depthWords, depthTable.el],
    help: `Drag the line. Samples with fewer reads are dropped, of the others so many are drawn${
      view.live ? " (explorer.rarefied)" : ""
    }.${none ? ` ${samples(none)} without reads are not in the histogram.` : ""}`,
  });

  // -- rarefaction curves ---------------------------------------------------------------------------------------------------
  const curveLevel = (s) => {
    const c = colour();
    return s.i < 0 ? s.name : c ? told(c, s.i) : "";
  };
  const series = () => {
    const c = colour(),
      found = encoding(c),
      seen = new Set(),
      listed = (name) => found.items.findIndex((t) => t.label === name);
    return (view.get("curves").series || []).map((s, n) => {
      const level = curveLevel(s), k = listed(level), first = !seen.has(level);
      seen.add(level);
      const faint = chosen().size && s.i >= 0 && !chosen().has(s.i);
      return {
        ...s,
        label: s.i < 0 ? `${s.name} (${number(s.n)})` : first && k >= 0 ? level : "",
        name: s.i >= 0 && c ? `${s.name}, ${level}` : s.name,
        color: s.i < 0
          ? (k >= 0 ? found.items[k].color : PALETTE[n % PALETTE.length])
          : c
          ? found.color(s.i)
          : view.ink().main,
        dash: k >= 0 ? DASHES[k % DASHES.length] : [],
        width: s.i < 0 ? 2.2 : 1.3,
        alpha: faint ? 0.2 : 0.9,
      };
    });
  };
  const longest = () => Math.max(2, ...(view.get("curves").series || []).map((s) => s.points[s.points.length - 1][0]));
  const curvePlot = lines(view, {
    title: "Rarefaction curves",
    describe: "ASVs expected among so many reads drawn from a sample. The line is the rarefaction depth.",
    series,
    x: () => ({ label: "reads drawn", domain: [0, longest()] }),
    y: { label: "ASVs expected" },
    grip: {
      draw: (pen, w, h) => {
        const side = series().some((s) => s.label) ? Math.min(170, w * 0.3) : 8,
          x = scale([0, longest()], [58, w - side - 10])(draft);
        if (x <= w - side - 10) pen.line(x, 10, x, h - 44, { stroke: UP, width: 1.5, dash: [4, 3] });
      },
      takes: () => false,
    },
    rows: () => ({
      columns: ["series", "reads", "asvs"],
      rows: (view.get("curves").series || []).flatMap((s) => s.points.map((p) => [s.name, ...p])),
    }),
  });
  const curveTable = view.table({
    caption: () => view.get("curves").of || "",
    columns: () => [
      { key: "name", label: view.get("curves_by") === "levels" ? "level" : "sample", left: true },
      { key: "reads", label: view.get("curves_by") === "levels" ? "reads, median" : "reads" },
      { key: "asvs", label: view.get("curves_by") === "levels" ? "ASVs, median" : "ASVs" },
      {
        key: "here",
        label: `expected at ${number(view.get("curves").depth)} reads`,
        format: (v) => (isNumber(v) ? number(v) : "too shallow"),
      },
    ],
    rows: () => view.get("curves").series || [],
    most: 8,
  });
  view.panel("Rarefaction curves", {
    plot: curvePlot,
    name: "curves",
    more: view.live
      ? view.bar(
        view.select("curves_by", "Curves of", [["samples", "single samples"], [
          "levels",
          "levels of the colour, means",
        ]]),
      )
      : [],
    below: curveTable.el,
    help:
      `Where a curve is flat, more reads would find no more ASVs (exact expectation). The dashed line is the depth.${
        view.live ? "" : " The curves are those of the time when the page was saved."
      }`,
  });

  // -- prevalence -----------------------------------------------------------------------------------------------------------
  const [inSamples, asvs, reads] = data.prevalence, most = Math.max(...inSamples);
  const ends = Array.from({ length: Math.ceil(Math.log2(Math.max(1, most))) + 1 }, (_, k) => 2 ** k),
    starts = ends.map((_, k) => (k ? ends[k - 1] + 1 : 1));
  const binned = starts.map((a, k) => inSamples.reduce((n, p, j) => (p >= a && p <= ends[k] ? n + asvs[j] : n), 0));
  const range = (k) => (starts[k] === ends[k] ? `${number(ends[k])}` : `${number(starts[k])}–${number(ends[k])}`);
  const common = (least) =>
    inSamples.reduce(([n, r], p, j) => (p >= least ? [n + asvs[j], r + reads[j]] : [n, r]), [0, 0]);
  const prevalencePlot = histogram(view, {
    title: "Prevalence of ASVs",
    describe: "How many ASVs are found in how many samples. Enter filters at a bar.",
    bins: { edges: [...ends.map((_, k) => k), ends.length], counts: binned },
    x: {
      label: "samples in which an ASV is found",
      ticks: ends.map((_, k) => k + 0.5),
      format: (t) => range(Math.floor(t)),
    },
    y: { label: "ASVs" },
    shade: (k) => ends[k] < view.get("min_prevalence"),
    tip: (k) => [`found in ${range(k)} sample${ends[k] === 1 ? "" : "s"}`, `${number(binned[k])} ASVs`],
    pick: (t) => view.set({ min_prevalence: starts[t.k] }),
    rows: () => ({ columns: ["from", "to", "asvs"], rows: starts.map((a, k) => [a, ends[k], binned[k]]) }),
  });
  const prevalenceWords = view.note(() => {
    const least = view.get("min_prevalence"), [n, r] = common(least);
    return `${number(n)} of ${number(allAsvs)} ASVs (${percent(n / allAsvs, 1)}) are found in at least ${
      samples(least)
    }; they hold ${percent(r / allReads, 2)} of the reads.`;
  });
  const prevalenceTable = view.table({
    caption: "ASVs that are kept",
    columns: [{ key: "least", label: "at least so many samples" }, { key: "n", label: "ASVs" }, {
      key: "share",
      label: "of all ASVs",
      format: (v) => percent(v, 1),
    }, { key: "reads", label: "of all reads", format: (v) => percent(v, 2) }],
    rows: () =>
      [1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000].filter((k) => k <= most).map((least) => ({
        least,
        n: common(least)[0],
        share: common(least)[0] / allAsvs,
        reads: common(least)[1] / allReads,
      })),
    pick: (r) => view.set({ min_prevalence: r.least }),
    picked: (r) => r.least === view.get("min_prevalence"),
    most: 6,
  });
  view.panel("Prevalence", {
    plot: prevalencePlot,
    name: "prevalence",
    more: view.bar(view.slider("min_prevalence", "At least", { min: 1, max: most, log: true, format: samples })),
    below: [prevalenceWords, prevalenceTable.el],
    help: `ASVs of few samples are many, and hold few reads.${view.live ? " Without them: explorer.filtered." : ""}`,
  });

  // -- samples --------------------------------------------------------------------------------------------------------------
  const listed = () =>
    [...new Set([view.get("color"), view.get("shape"), view.get("facet"), ...named])].filter(Boolean).slice(0, 6);
  const list = view.table({
    caption: () => (chosen().size ? `The ${samples(chosen().size)} selected` : "All samples"),
    columns: () => [{ key: "id", label: "sample", left: true, long: true }, { key: "reads", label: "reads" }, {
      key: "asvs",
      label: "ASVs",
    }, ...listed().map((name, k) => ({ key: `c${k}`, label: name, left: column(name).kind === "categories" }))],
    rows: () =>
      members().map((i) => ({
        i,
        id: ids[i],
        reads: data.depth[i],
        asvs: data.richness[i],
        ...Object.fromEntries(
          listed().map((
            name,
            k,
          ) => [`c${k}`, column(name).kind === "numbers" ? column(name).values[i] : told(column(name), i)]),
        ),
      })),
    pick: (r) => choose([r.i]),
    picked: (r) => chosen().has(r.i),
    most: 12,
  });
  view.panel("Samples", { table: list, wide: true, name: "samples" });

  // -- what follows from what -----------------------------------------------------------------------------------------------
  view.watch("selected", () => {
    counted();
    depthWords.update();
    composedAgain();
    list.update();
    view.redraw(pcoa, curvePlot);
    view.say(`${samples(chosen().size)} selected`);
  });
  view.watch(["color", "shape"], () => {
    depthTable.update();
    composedAgain();
    list.update();
    view.redraw(pcoa, curvePlot);
  });
  view.watch("facet", () => list.update());
  view.watch(["rank", "taxa", "by_level"], composedAgain);
  view.watch(["distance", "rarefy", "axes", "ordinations"], placed);
  view.watch("depth", () => {
    drafted(view.get("depth"));
    depthTable.update();
    placed();
    view.redraw(curvePlot);
    view.say(`${samples(reach(draft))} kept`);
  });
  view.watch("retained", () => depthWords.update());
  view.watch(["curves", "curves_by"], () => {
    curveTable.update();
    view.redraw(curvePlot);
  });
  view.watch("min_prevalence", () => {
    prevalenceWords.update();
    prevalenceTable.update();
    view.redraw(prevalencePlot);
  });
}
