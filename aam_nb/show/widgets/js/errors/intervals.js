// A chart of points with intervals, joined by lines: series {label, shape, color, dash, bars, points: [{x, y, low,
// high, tip}]}.

function intervalCurves(view, { series, x, y, diagonal = false, ...more }) {
  const draw = (pen, w, h, ink) => {
    const below = series.length > 1 ? 20 * Math.ceil(series.length / 3) + 6 : 0,
      box = { x: 58, y: 10, w: w - 58 - 14, h: h - 10 - 44 - below };
    const all = series.flatMap((s) => s.points);
    const xAxis = { grid: true, domain: padded(extent(all.map((p) => p.x))), ...x },
      yAxis = { domain: padded(extent(all.flatMap((p) => [p.y, p.low, p.high]))), ...y };
    const { sx, sy } = axes(pen, box, { x: xAxis, y: yAxis }, ink);
    if (diagonal) pen.line(sx(0), sy(0), sx(1), sy(1), { stroke: ink.soft, dash: [5, 4] });
    const targets = series.flatMap((s) => drawIntervals(pen, s, { sx, sy }, ink));
    if (series.length > 1) drawSeriesNames(pen, series, { ...box, y: h - below + 10 }, ink);
    return targets;
  };
  const rows = () => ({
    columns: ["series", "x", "y", "low", "high"],
    rows: series.flatMap((s) => s.points.map((p) => [s.label, p.x, p.y, p.low, p.high])),
  });
  return new Plot(view, { height: (w) => Math.min(360, Math.max(270, w * 0.6)), rows, ...more, draw });
}

function drawIntervals(pen, { points, color, shape, dash, bars }, { sx, sy }, ink) {
  const hue = color || ink.main;
  pen.path(points.map((p) => [sx(p.x), sy(p.y)]), { stroke: hue, width: 1.6, dash: dash || [] });
  return points.map((p) => {
    if (isNumber(p.low) && bars) {
      pen.line(sx(p.x), sy(p.low), sx(p.x), sy(p.high), { stroke: hue, width: 1.4, alpha: 0.7 });
    }
    pen.mark(shape, sx(p.x), sy(p.y), 4.5, { fill: hue, stroke: ink.paper, width: 0.5 });
    return { x: sx(p.x), y: sy(p.y), r: 4, tip: p.tip };
  });
}

// The legend, below the axes, three names a line.
function drawSeriesNames(pen, series, box, ink) {
  series.forEach((s, k) => {
    const x = box.x + (k % 3) * (box.w / 3), y = box.y + 20 * Math.floor(k / 3), hue = s.color || ink.main;
    pen.line(x, y, x + 22, y, { stroke: hue, width: 1.6, dash: s.dash || [] });
    pen.mark(s.shape, x + 11, y, 4, { fill: hue });
    pen.text(fitted(s.label, box.w / 3 - 32, { size: 11 }), x + 28, y, { size: 11, fill: ink.text });
  });
}
