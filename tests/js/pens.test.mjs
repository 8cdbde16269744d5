// What the pen that writes SVG writes.

import assert from "node:assert/strict";
import { test } from "node:test";
import { attributes, drawn, load } from "./load.mjs";

const { SHAPES, SvgPen } = load("kit", ["SHAPES", "SvgPen"]);

test("lines, paths and rectangles keep their strokes, to a hundredth of a pixel", () => {
  const [line, path, rect] = drawn((pen) => {
    pen.line(0, 1.23456, 10, 2, { stroke: "#333", dash: [4, 3] });
    pen.path([[0, 0], [5, 0], [5, 5]], { fill: "red", close: true, alpha: 0.5 });
    pen.rect(1, 2, -3, 4, { fill: "blue" });
  }).map(attributes);
  assert.deepEqual(line, {
    d: "M0 1.23L10 2",
    fill: "none",
    stroke: "#333",
    "stroke-width": "1",
    "stroke-dasharray": "4 3",
  });
  assert.deepEqual(path, { d: "M0 0L5 0L5 5Z", fill: "red", opacity: "0.5" });
  assert.equal(rect.width, "0"); // never less
  assert.equal(rect.height, "4");
});

test("a path of no points draws nothing", () => assert.deepEqual(drawn((pen) => pen.path([])), []));

test("marker 0 is a circle, the others are polygons around their place", () => {
  const [circle, square] = drawn((pen) => {
    pen.mark(0, 10, 20, 4, { fill: "red" });
    pen.mark(1, 10, 20, 10, { fill: "red" });
  });
  assert.match(circle, /^<circle/);
  assert.deepEqual(attributes(circle), { cx: "10", cy: "20", r: "4", fill: "red" });
  assert.equal(attributes(square).d, "M1 11L19 11L19 29L1 29Z");
  const again = drawn((pen) => pen.mark(SHAPES.length + 1, 10, 20, 10, { fill: "red" }));
  assert.equal(again[0], square); // shapes begin anew
});

test("every marker is about as large as a circle of its radius", () => {
  for (const corners of SHAPES.slice(1)) {
    for (const k of [0, 1]) {
      const reach = Math.max(...corners.map((c) => Math.abs(c[k])));
      assert.ok(reach >= 0.9 && reach <= 1.2);
    }
  }
});

test("text is turned, stretched and placed; what a file says stays text", () => {
  const [turned, hostile] = drawn((pen) => {
    pen.text("share", 5, 6, {
      angle: -90,
      anchor: "middle",
      size: 11,
      weight: "bold",
      baseline: "top",
      stretch: [2, 0.5],
    });
    pen.text('<img src=x onerror="alert(1)">\u0007', 0, 0);
  });
  const style = attributes(turned);
  assert.equal(style.transform, "translate(5 6) rotate(-90) scale(2 0.5)");
  assert.equal(style["text-anchor"], "middle");
  assert.equal(style["dominant-baseline"], "text-before-edge");
  assert.equal(style["font-weight"], "bold");
  assert.match(hostile, />&#60;img src=x onerror=&#34;alert\(1\)&#34;&#62; <\/text>$/);
});

test("clips and shifts enclose what is drawn in them, each clip with an id of its own", () => {
  const parts = drawn((pen) => {
    pen.inside(0, 0, 10, 10, () => pen.shifted(3, 4, () => pen.line(0, 0, 1, 1)));
    pen.inside(5, 5, 10, 10, () => {});
  });
  assert.match(parts[0], /<clipPath id="clip1">.*<g clip-path="url\(#clip1\)">$/);
  assert.equal(parts[1], '<g transform="translate(3 4)">');
  assert.deepEqual(parts.slice(3, 5), ["</g>", "</g>"]);
  assert.match(parts[5], /clip2/);
});

test("a page of SVG has its size and its title", () => {
  const pen = new SvgPen();
  pen.line(0, 0, 1, 1);
  const page = pen.page(300, 200, "A & B");
  assert.match(page, /^<svg [^>]*width="300" height="200" viewBox="0 0 300 200"/);
  assert.match(page, /<title>A &#38; B<\/title><path /);
});
