// Numbers, scales, ticks, colours and markers, against values worked out by hand.

import assert from "node:assert/strict";
import { test } from "node:test";
import { attributes, drawn, INK, load } from "./load.mjs";

const kit = load("kit", [
  "PALETTE",
  "GREY",
  "axes",
  "cividis",
  "cut",
  "diverging",
  "encoding",
  "extent",
  "legend",
  "logTicks",
  "number",
  "padded",
  "percent",
  "scale",
  "signed",
  "ticks",
  "valueText",
]);

test("numbers have three digits, and more only where the whole part needs them", () => {
  const pairs = [
    [0, "0"],
    [2009, "2009"], // may be a year: no comma
    [12345, "12,345"],
    [0.123456, "0.123"],
    [1234.567, "1,235"],
    [123456.7, "123,457"],
    [-0.5, "-0.5"],
    [0.00001234, "1.23e-5"],
    [1234567.8, "1.23e+6"],
    [null, ""],
    [undefined, ""],
    [NaN, "NaN"],
    ["gut", "gut"],
  ];
  for (const [value, words] of pairs) assert.equal(kit.number(value), words);
  assert.equal(kit.number(0.123456, 5), "0.12346");
});

test("shares are percents, and a sign stands before what is above 0", () => {
  assert.equal(kit.percent(0.1234), "12%");
  assert.equal(kit.percent(0.1234, 1), "12.3%");
  assert.equal(kit.percent(null), "");
  assert.equal(kit.signed(0.25), "+0.25");
  assert.equal(kit.signed(-0.25), "-0.25");
  assert.equal(kit.signed(0), "0");
  assert.equal(kit.signed(null), "");
});

test("a name is cut to a number of letters, the last of which says so", () => {
  assert.equal(kit.cut("Faecalibacterium", 16), "Faecalibacterium");
  assert.equal(kit.cut("Faecalibacterium", 6), "Faeca…");
  assert.equal(kit.cut(12345, 3), "12…");
});

test("an extent leaves out what is no number, and is never empty", () => {
  assert.deepEqual(kit.extent([3, null, -1, NaN, 7]), [-1, 7]);
  assert.deepEqual(kit.extent([2, 2]), [1.5, 2.5]);
  assert.deepEqual(kit.extent([]), [0, 1]);
  assert.deepEqual(kit.padded([0, 10], 0.1), [-1, 11]);
});

test("ticks are round, inside, and at least three where there is room", () => {
  assert.deepEqual(kit.ticks([0, 1]), [0, 0.2, 0.4, 0.6, 0.8, 1]);
  assert.deepEqual(kit.ticks([-3, 12], 4), [0, 5, 10]);
  assert.deepEqual(kit.ticks([0, 0.3], 3), [0, 0.1, 0.2, 0.3]);
  assert.deepEqual(kit.ticks([1, 9], 2), [2, 4, 6, 8]); // [5] alone would tell no scale
});

test("ticks of a logarithm are 1, 2, 5, and powers of ten where it is long", () => {
  assert.deepEqual(kit.logTicks([1, 10]), [1, 2, 5, 10]);
  assert.deepEqual(kit.logTicks([300, 1500]), [500, 1000]);
  assert.deepEqual(kit.logTicks([1, 1e5]), [1, 10, 100, 1000, 10_000, 100_000]);
});

test("a scale maps a domain to pixels and back", () => {
  const up = kit.scale([0, 10], [200, 100]); // y: upwards on the screen
  assert.equal(up(0), 200);
  assert.equal(up(2.5), 175);
  assert.equal(up.invert(150), 5);
  const log = kit.scale([1, 1000], [0, 300], true);
  assert.ok(Math.abs(log(10) - 100) < 1e-9);
  assert.ok(Math.abs(log.invert(200) - 100) < 1e-9);
  assert.equal(kit.scale([4, 4], [0, 10])(4), 0); // one value alone does not divide by 0
});

test("ramps begin and end at their first and last colours", () => {
  assert.equal(kit.cividis(0), "rgb(0,34,78)");
  assert.equal(kit.cividis(1), "rgb(254,232,56)");
  assert.equal(kit.cividis(7), kit.cividis(1));
  assert.equal(kit.diverging(-1), "rgb(0,90,160)");
  assert.equal(kit.diverging(0), "rgb(215,215,215)");
  assert.equal(kit.diverging(1), "rgb(200,75,0)");
});

test("categories get colours and markers by how many samples they have", () => {
  const column = {
    name: "site",
    kind: "categories",
    levels: ["gut", "skin", "mouth"],
    values: [1, 1, 1, 0, 0, 2, -1],
  };
  const { color, shape, items, numbers } = kit.encoding(column);
  assert.equal(numbers, null);
  assert.deepEqual(items.map((t) => [t.label, t.count, t.shape]), [
    ["skin", 3, 0],
    ["gut", 2, 1],
    ["mouth", 1, 2],
    ["missing", 1, 5],
  ]);
  assert.deepEqual([0, 3, 5, 6].map(color), [kit.PALETTE[0], kit.PALETTE[1], kit.PALETTE[2], kit.GREY]);
  assert.deepEqual([0, 3, 5, 6].map(shape), [0, 1, 2, 5]);
  assert.deepEqual([0, 6].map((i) => kit.valueText(column, i)), ["skin", "missing"]);
});

test("levels beyond the palette are grey, together", () => {
  const levels = Array.from({ length: 10 }, (_, k) => `level ${k}`);
  const column = { name: "c", kind: "categories", levels, values: levels.flatMap((_, k) => Array(10 - k).fill(k)) };
  const { color, items } = kit.encoding(column);
  assert.deepEqual(items.map((t) => t.label), [...levels.slice(0, 7), "3 others"]);
  assert.equal(items[7].count, 3 + 2 + 1);
  assert.equal(color(column.values.indexOf(9)), kit.GREY);
});

test("numbers are coloured from the least to the largest, and grey where missing", () => {
  const column = { name: "age", kind: "numbers", values: [10, null, 30] };
  const { color, shape, numbers } = kit.encoding(column);
  assert.deepEqual(numbers, { low: 10, high: 30, name: "age" });
  assert.deepEqual([0, 1, 2].map(color), [kit.cividis(0), kit.GREY, kit.cividis(1)]);
  assert.deepEqual([0, 1, 2].map(shape), [0, 5, 0]);
  assert.deepEqual([0, 1].map((i) => kit.valueText(column, i)), ["10", "missing"]);
});

test("axes draw a line a tick and no label over another", () => {
  const box = { x: 50, y: 10, w: 200, h: 100 };
  const parts = drawn((pen) => {
    const x = { domain: [0, 100], ticks: [0, 1, 50, 100], grid: true, label: "reads" };
    const { sx, sy } = kit.axes(pen, box, { x, y: { domain: [0, 1], ticks: [0, 1], label: "share" } }, INK);
    assert.equal(sx(50), 150);
    assert.equal(sy(1), 10);
  });
  const words = parts.filter((p) => p.startsWith("<text")).map((p) => />([^<]*)</.exec(p)[1]);
  assert.deepEqual(words, ["0", "50", "100", "0", "1", "reads", "share"]); // 1 would stand on 0
  const lines = parts.map((p) => attributes(p).d);
  assert.ok(lines.includes("M150 10L150 110")); // the grid at 50
});

test("a long last label of an axis is whole: it is moved to the left of its tick", () => {
  const box = { x: 50, y: 10, w: 200, h: 100 };
  const x = { domain: [0, 4e-12], ticks: [0, 2e-12, 4e-12] };
  const parts = drawn((pen) => kit.axes(pen, box, { x, y: { domain: [0, 1], ticks: [] } }, INK));
  const [first, , last] = parts.filter((p) => p.startsWith("<text")).map((p) =>
    Number(/translate\(([^ ]+)/.exec(p)[1])
  );
  assert.equal(first, 50);
  assert.ok(last < 250 && last > 220, `${last}`);
});

test("a legend has a marker and a count for each level, and gives its height", () => {
  const column = { name: "site", kind: "categories", levels: ["gut", "skin"], values: [0, 0, 1] };
  let high;
  const parts = drawn((pen) => (high = kit.legend(pen, kit.encoding(column), 0, 0, 140, INK, "site")));
  const words = parts.filter((p) => p.startsWith("<text")).map((p) => />([^<]*)</.exec(p)[1]);
  assert.deepEqual(words, ["site", "gut (2)", "skin (1)"]);
  assert.equal(high, 8 + 18 + 18);
});
