// A rooted tree from left to right; thickness and colour of a branch are what it was given, triangles say the sign.

const TIP = 17; // pixels of a tip

// The tree pruned to some tips: nodes {parent, length, tip, id, ...} in which those with one child are left out.
function pruned(nodes, keep) {
  const num = nodes.map(() => 0), inside = nodes.map((n) => n.tip >= 0 && keep(n.tip));
  for (let k = nodes.length - 1; k > 0; k--) {
    if (!inside[k]) continue;
    num[nodes[k].parent] += 1;
    inside[nodes[k].parent] = true;
  }
  const kept = [], places = new Map();
  nodes.forEach((n, k) => {
    if (!inside[k] || (n.tip < 0 && num[k] < 2)) return;
    let above = n.parent, long = n.length;
    while (above >= 0 && !places.has(above)) {
      long += nodes[above].length;
      above = nodes[above].parent;
    }
    places.set(k, kept.length);
    kept.push({ ...n, parent: above < 0 ? -1 : places.get(above), length: above < 0 ? 0 : long, children: [] });
    if (above >= 0) kept[places.get(above)].children.push(kept.length - 1);
  });
  return kept;
}

// `nodes()` gives a pruned tree, `labels()` gives {of(node), tip(node)}, `equal()` whether all branches are drawn
// alike.
function phylogram(view, { nodes, labels, equal, key, ...more }) {
  const draw = (pen, w, h, ink) => {
    const tree = nodes();
    if (!tree.length) return [];
    const place = treeLayout(tree, w, equal()), label = labels();
    drawBranches(pen, tree, place, ink);
    const targets = tree.map((n, k) => drawTreeNode(pen, n, k, place, label, key() !== "" && key() === n.id, ink));
    drawTreeLegend(pen, place, w, h - 14, ink);
    return targets;
  };
  return new Plot(view, {
    height: () => 14 + TIP * Math.max(1, nodes().filter((n) => n.tip >= 0).length) + 34,
    ...more,
    draw,
  });
}

// Where each node stands: across by its distance from the root, or by how many nodes lie below it; down by its tips.
function treeLayout(tree, w, equal) {
  const room = Math.min(280, w * 0.46), left = 12, wide = w - room - left - 12;
  const depth = tree.map(() => 0), below = tree.map(() => 0), y = tree.map(() => 0);
  for (let k = tree.length - 1; k >= 0; k--) {
    below[k] = tree[k].children.length ? 1 + Math.max(...tree[k].children.map((c) => below[c])) : 0;
  }
  tree.forEach((n, k) => n.parent >= 0 && (depth[k] = depth[n.parent] + n.length));
  const deepest = Math.max(...depth), byLength = !equal && deepest > 0;
  const x = tree.map((_, k) => left + wide * (byLength ? depth[k] / deepest : below[0] ? 1 - below[k] / below[0] : 1));
  let next = 0;
  const lay = (k) => {
    const children = tree[k].children;
    children.forEach(lay);
    y[k] = children.length ? (y[children[0]] + y[children.at(-1)]) / 2 : 14 + TIP * (next++ + 0.5);
  };
  lay(0);
  return { x, y, left, wide, deepest, byLength, room, edge: w - room };
}

function drawBranches(pen, tree, { x, y }, ink) {
  const most = Math.max(1e-12, ...tree.map((n) => Math.abs(n.mean || 0))),
    thick = (v) => 1.2 + 5 * Math.sqrt(Math.abs(v || 0) / most);
  tree.forEach((n, k) => {
    const style = isNumber(n.mean)
      ? { stroke: signColour(n.mean), width: thick(n.mean) }
      : { stroke: ink.soft, width: 1.2 };
    if (n.children.length) {
      pen.line(x[k], y[n.children[0]], x[k], y[n.children.at(-1)], { stroke: ink.soft, width: 1.2 });
    }
    if (n.parent >= 0) pen.line(x[n.parent], y[k], x[k], y[k], style);
  });
}

// The triangle of a node, the ring around the one chosen, and the name of a tip.
function drawTreeNode(pen, n, k, { x, y, byLength, room, edge }, label, chosen, ink) {
  if (isNumber(n.mean)) {
    pen.mark(n.mean >= 0 ? 3 : 4, x[k], y[k], n.tip >= 0 ? 4.5 : 5, {
      fill: signColour(n.mean),
      stroke: chosen ? ink.text : ink.paper,
      width: chosen ? 2.5 : 0.8,
    });
  }
  if (chosen) pen.mark(0, x[k], y[k], 9, { stroke: ink.text, width: 2 });
  const target = { ...n, x: x[k], y: y[k], r: 5, tip: label.tip(n) };
  if (n.tip < 0) return target;
  const { words, bold } = label.of(n), from = byLength ? edge : x[k];
  if (byLength && from - x[k] > 14) pen.line(x[k] + 7, y[k], from - 2, y[k], { stroke: ink.faint, dash: [2, 3] });
  const style = { size: 11, fill: ink.text, weight: bold ? "bold" : "normal" }, at = Math.max(from, x[k] + 8) + 4;
  pen.text(fitted(words, edge + room - at - 2, style), at, y[k], style);
  return target;
}

// What the triangles mean, and a bar of length.
function drawTreeLegend(pen, { left, wide, deepest, byLength }, w, foot, ink) {
  const style = { size: 11, fill: ink.soft }, lowers = "lowers; thicker is more";
  pen.mark(3, left + 4, foot, 4.5, { fill: UP });
  pen.text("raises", left + 12, foot, style);
  pen.mark(4, left + 62, foot, 4.5, { fill: DOWN });
  pen.text(lowers, left + 70, foot, style);
  if (!byLength) return;
  // a bar of length, with the words that fit beside it
  const unit = ticks([0, deepest], 5)[1] || deepest, long = (wide * unit) / deepest, from = w - 14 - long;
  const room = from - 12 - (left + 70 + textWidth(lowers, style));
  const words = [`${number(unit)} substitutions per site`, `${number(unit)} per site`, number(unit)].find((s) =>
    textWidth(s, style) <= room
  );
  pen.line(from, foot, from + long, foot, { stroke: ink.text, width: 1.5 });
  if (words) pen.text(words, from - 6, foot, { ...style, anchor: "end" });
}
