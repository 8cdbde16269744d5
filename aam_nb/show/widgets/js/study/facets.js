// The chart of a metadata column: bars of its levels, or of bins of its numbers, of all samples and of the selection,
// as shares of either.
// `groups()` gives {label, all, some, members, missing}, `sizes()` how many samples there are and how many are
// selected.

const FACET = 26; // pixels of a level

function facets(view, { groups, sizes, numbers, label, ...more }) {
  const draw = (pen, w, h, ink) => {
    const shown = now(groups), [all, some] = sizes();
    const high = Math.max(0.01, ...shown.map((g) => Math.max(shareOf(g.all, all), shareOf(g.some, some)))) * 1.05;
    const axis = {
      domain: [0, high],
      grid: true,
      format: (v) => percent(v, high < 0.05 ? 1 : 0),
      label: "share of samples",
    };
    const tip = (g) => [
      g.label,
      `${number(g.all)} of ${number(all)} samples (${percent(g.all / all, 1)})`,
      ...(some ? [`${number(g.some)} of ${number(some)} selected (${percent(g.some / some, 1)})`] : []),
    ];
    const chart = { shown, all, some, axis, tip, label: text(label) };
    return now(numbers) ? drawBins(pen, w, h, chart, ink) : drawLevels(pen, w, chart, ink);
  };
  return new Plot(view, {
    height: () => (now(numbers) ? 240 : 52 + FACET * Math.max(1, now(groups).length)),
    rows: () => ({ columns: ["level", "samples", "selected"], rows: now(groups).map((g) => [g.label, g.all, g.some]) }),
    ...more,
    draw,
  });
}

const shareOf = (n, of) => (of ? n / of : 0);

// Bins of numbers stand upright, those of the selection beside those of all samples.
function drawBins(pen, w, h, { shown, all, some, axis, tip, label }, ink) {
  const box = { x: 58, y: 10, w: w - 58 - 14, h: h - 10 - 44 };
  const { sx, sy } = axes(
    pen,
    box,
    { x: { domain: [shown[0].from, shown[shown.length - 1].to], label }, y: axis },
    ink,
  );
  return shown.map((g) => {
    const [a, b] = [sx(g.from) + 0.5, sx(g.to) - 0.5], wide = some ? (b - a) / 2 : b - a;
    const bar = (n, of, x, fill) => pen.rect(x, sy(shareOf(n, of)), wide, sy(0) - sy(shareOf(n, of)), { fill });
    bar(g.all, all, a, GREY);
    if (some) bar(g.some, some, a + wide, ink.main);
    return { x: a, y: box.y, w: b - a, h: box.h, tip: tip(g), members: g.members };
  });
}

// Levels lie below one another, those of the selection below those of all samples.
function drawLevels(pen, w, { shown, all, some, axis, tip }, ink) {
  const room = Math.min(w * 0.34, 14 + widest(shown.map((g) => g.label), { size: 11.5 }));
  const box = { x: room, y: 4, w: w - room - 96, h: FACET * shown.length };
  const { sx } = axes(pen, box, { x: axis, y: { domain: [0, 1], ticks: [], grid: false } }, ink);
  return shown.map((g, r) => {
    const y = box.y + FACET * r, thick = some ? 9 : 15;
    rowLabel(pen, g.label, room - 8, y + FACET / 2, { room: room - 10, fill: g.missing ? ink.soft : ink.text });
    pen.rect(room, y + (some ? 3 : 5), sx(shareOf(g.all, all)) - room, thick, { fill: GREY });
    if (some) pen.rect(room, y + 13, sx(shareOf(g.some, some)) - room, thick, { fill: ink.main });
    pen.text(some ? `${number(g.some)} of ${number(g.all)}` : number(g.all), w - 90, y + FACET / 2, {
      size: 11,
      fill: ink.soft,
    });
    return { x: 0, y, w: w - 2, h: FACET, tip: tip(g), members: g.members };
  });
}
