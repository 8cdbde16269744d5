// Small maps of all layers and heads, each with colours up to its own largest number. `maps()` gives {n, single,
// of(layer, head)} or null.

const GAP = 8; // pixels between maps
const MANY = 8; // heads, of which more take the width of the page

function smallMaps(view, { layers, heads, maps, ...more }) {
  const layout = (w) => {
    const left = 48, size = Math.max(8, Math.min(110, (w - left - 6) / heads - GAP)), short = size < 44;
    return { left, size, short, tall: size + (short ? 8 : 22) };
  };
  const draw = (pen, w, _h, ink) => {
    const place = layout(w), { left, size, short, tall } = place, sample = maps(), targets = [];
    if (!sample) return nothing(pen, w, ink, "Nothing to draw yet");
    for (let head = 1; head <= heads; head++) {
      pen.text(short ? head : `head ${head}`, left + (head - 0.5) * (size + GAP) - GAP / 2, 9, {
        anchor: "middle",
        size: 10.5,
        fill: ink.soft,
      });
    }
    for (let layer = 1; layer <= layers; layer++) {
      const y = 20 + (layer - 1) * tall;
      pen.text(`layer ${layer}`, left - 8, y + size / 2, { anchor: "end", size: 10.5, fill: ink.soft });
      for (let head = 1; head <= heads; head++) {
        const on = layer === view.get("layer") && (view.get("mode") !== "head" || head === view.get("head"));
        targets.push(
          drawSmallMap(pen, sample, { layer, head, on, x: left + (head - 1) * (size + GAP), y }, place, ink),
        );
      }
    }
    return targets;
  };
  return new Plot(view, {
    height: (w) => 20 + layers * layout(w).tall,
    pick: (t) => view.set({ layer: t.layer, head: t.head, mode: "head" }),
    rows: () => {
      const sample = maps(), rows = [];
      for (let layer = 1; sample && layer <= layers; layer++) {
        for (let head = 1; head <= heads; head++) {
          rows.push([layer, head, +highest(sample.of(layer, head), sample.n, sample.single).toPrecision(4)]);
        }
      }
      return { columns: ["layer", "head", "largest"], rows };
    },
    ...more,
    draw,
  });
}

function drawSmallMap(pen, { n, single, of }, { layer, head, on, x, y }, { size, short }, ink) {
  const values = of(layer, head), high = highest(values, n, single);
  pen.raster(x, y, size, size, n, pixels(values, high));
  pen.rect(x, y, size, size, { stroke: on ? UP : ink.faint, width: on ? 2.5 : 1 });
  if (!short) {
    pen.text(`to ${number(high, 2)}`, x + size / 2, y + size + 9, { anchor: "middle", size: 10, fill: ink.soft });
  }
  return { x, y, w: size, h: size, layer, head, tip: [`layer ${layer}, head ${head}`, `largest ${number(high)}`] };
}
