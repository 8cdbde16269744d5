// The chart of taxa: bars of several groups, cut into the shares of parts; numbers in the bars are those of the legend.

const TAXA = 8; // with a colour of their own
const DARK = [0, 6, 7]; // places in the palette on which white is read best

const taxonColour = (k) => (k < TAXA ? PALETTE[k] : GREY);
const onTaxon = (k) => (DARK.includes(k) ? "#ffffff" : "#000000");

// `parts()` gives {name, full}, `groups()` gives {label, shares}.
function composition(view, { parts, groups, ...more }) {
  const layout = (w) => {
    const shown = now(groups), longest = widest(shown.map((g) => g.label), { size: 11.5 });
    const room = Math.min(w * 0.28, 14 + longest), beside = w > 520, side = beside ? Math.min(250, w * 0.4) : 0;
    const step = Math.min(34, Math.max(20, (beside ? 190 : 120) / shown.length));
    return { shown, room, beside, side, step, width: w - room - side - 20, tall: step * shown.length };
  };
  const draw = (pen, w, _h, ink) => {
    const place = layout(w),
      names = now(parts),
      x = { domain: [0, 1], grid: true, format: (v) => percent(v), label: "mean share of reads" };
    axes(pen, { x: place.room, y: 4, w: place.width, h: place.tall }, {
      x,
      y: { domain: [0, 1], ticks: [], grid: false },
    }, ink);
    const targets = place.shown.flatMap((group, r) => drawShares(pen, group, r, names, place, ink));
    drawParts(pen, w, names, place, ink);
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

// The bar of one group.
function drawShares(pen, group, r, names, { room, step, width }, ink) {
  const y = 4 + step * r + step * 0.12, high = step * 0.76, targets = [];
  rowLabel(pen, group.label, room - 8, y + high / 2, { room: room - 10, fill: ink.text });
  let x = room;
  group.shares.forEach((share, k) => {
    const wide = Math.max(0, share * width), { name, full } = names[k];
    pen.rect(x, y, wide, high, { fill: taxonColour(k), stroke: ink.paper, width: 0.7 });
    if (wide > 15) pen.text(k + 1, x + wide / 2, y + high / 2, { anchor: "middle", size: 10.5, fill: onTaxon(k) });
    if (wide > 0.5) {
      targets.push({
        x,
        y,
        w: wide,
        h: high,
        tip: [`${name}`, ...(full ? [full] : []), `${percent(share, 1)} of the reads, ${group.label}`],
      });
    }
    x += wide;
  });
  return targets;
}

// The legend: beside the bars, or below them in two columns where the panel is narrow.
function drawParts(pen, w, names, { beside, side, tall }, ink) {
  const style = { size: 11.5, fill: ink.text };
  names.forEach((part, k) => {
    const [x, y] = beside ? [w - side + 8, 12 + 19 * k] : [12 + (k % 2) * (w / 2), tall + 62 + 19 * Math.floor(k / 2)];
    pen.rect(x, y - 7, 14, 14, { fill: taxonColour(k) });
    pen.text(k + 1, x + 7, y, { anchor: "middle", size: 10, fill: onTaxon(k) });
    pen.text(fitted(part.name, (beside ? side : w / 2) - 32, style), x + 20, y, style);
  });
}
