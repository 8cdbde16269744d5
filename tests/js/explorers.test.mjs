// What the explorers work out in the browser, against values worked out by hand.

import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.mjs";

const study = load("study", [
  "TAXA",
  "composeTaxa",
  "depthsOf",
  "onTaxon",
  "splitColumn",
  "styledCurves",
  "taxonColour",
  "unpackShares",
]);
const attention = load("attention", ["findCell", "foldMaps", "lettersLayout", "unpackHalves"]);
const attributions = load("attributions", ["comparePair", "pruned", "splitVerdict", "tipsBelow", "treeLayout"]);
const errors = load("errors", ["unpackMembers"]);

const coded = (bytes) => Buffer.from(bytes).toString("base64");
const near = (actual, expected) => {
  assert.equal(actual.length, expected.length);
  actual.forEach((v, k) => assert.ok(Math.abs(v - expected[k]) < 1e-6, `${actual} is not ${expected}`));
};

// -- study --------------------------------------------------------------------------------------------------------------

test("shares are sent as whole numbers of two bytes, the low one first", () => {
  near([...study.unpackShares(coded([0xff, 0xff, 0, 0, 0x33, 0x33]))], [1, 0, 0.2]);
});

test("numbers on the bars of taxa can be read on every colour", () => {
  const linear = (v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const luminance = (hex) => {
    const [r, g, b] = [1, 3, 5].map((i) => linear(parseInt(hex.slice(i, i + 2), 16) / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  for (let k = 0; k <= study.TAXA; k++) {
    const [low, high] = [study.taxonColour(k), study.onTaxon(k)].map(luminance).sort((a, b) => a - b);
    assert.ok((high + 0.05) / (low + 0.05) >= 4.5, `colour ${k}`); // as WCAG asks of text
  }
});

test("a column of numbers is split into bins, those missing counted", () => {
  const column = { kind: "numbers", values: [0, 1, 20, null, 10] };
  const { groups, missing } = study.splitColumn(column, new Set([1, 2]));
  assert.equal(missing, 1);
  assert.equal(groups.length, 20);
  assert.deepEqual(groups.filter((g) => g.all).map((g) => [g.label, g.members, g.some]), [
    ["0 to 1", [0], 0],
    ["1 to 2", [1], 1],
    ["10 to 11", [4], 0],
    ["19 to 20", [2], 1], // the largest is in the last bin
  ]);
});

test("levels come by size, those that are numbers in their order, what is missing last", () => {
  const values = [0, 1, 1, -1, 1, 0, 2];
  const split = (levels) =>
    study.splitColumn({ kind: "categories", levels, values }, new Set()).groups.map((g) => g.label);
  assert.deepEqual(split(["gut", "skin", "mouth"]), ["skin", "gut", "mouth", "missing"]);
  assert.deepEqual(split(["1", "2", "3"]), ["1", "2", "3", "missing"]);
});

test("more than 25 levels are cut: the others are one group", () => {
  const levels = Array.from({ length: 28 }, (_, k) => `level ${k}`);
  const { groups } = study.splitColumn({ kind: "categories", levels, values: levels.map((_, k) => k) }, new Set());
  assert.equal(groups.length, 26);
  assert.equal(groups[25].label, "3 others");
  assert.deepEqual(groups[25].members, [25, 26, 27]);
});

test("mean shares leave out samples without reads; the largest taxa are drawn", () => {
  const names = Array.from({ length: 10 }, (_, k) => `taxon ${k}`), shares = [0.91, ...Array(9).fill(0.01)];
  const table = { names, full: names.map(() => ""), taxa: 12, values: [...shares, ...Array(10).fill(0), ...shares] };
  const state = {
    view: { get: () => false },
    data: { depth: [5, 0, 5] },
    everyone: [0, 1, 2],
    selected: () => new Set([2]),
  };
  const { parts, groups, list } = study.composeTaxa(state, table);
  assert.deepEqual(groups.map((g) => g.label), ["all (2)", "selected (1)"]);
  assert.deepEqual(parts.map((p) => p.name), [...names.slice(0, 8), "4 others"]);
  near(groups[0].shares, [0.91, ...Array(7).fill(0.01), 0.02]);
  assert.deepEqual(list.map((r) => r.more), Array(10).fill(0));
});

test("what a depth keeps: samples with as many reads, and the ASVs in them", () => {
  const depths = study.depthsOf({ depth: [10, 0, 30, 20], deepest: [[10, 30], [2, 3]], prevalence: [[1], [5]] });
  assert.deepEqual([1, 10, 11, 30, 31].map(depths.reaching), [3, 3, 2, 1, 0]);
  assert.deepEqual([1, 11, 31].map(depths.held), [5, 3, 0]);
  assert.deepEqual([depths.shallowest, depths.deepest, depths.reads, depths.asvs], [10, 30, 60, 5]);
  assert.deepEqual([0, 12.4, 99].map(depths.clamp), [1, 12, 30]);
});

test("of each level the first curve has its name in the legend", () => {
  const column = { name: "site", kind: "categories", levels: ["gut", "skin"], values: [0, 0, 1] };
  const state = { view: { ink: () => ({ main: "blue" }) }, colour: () => column, selected: () => new Set([1]) };
  const styled = study.styledCurves(state, [0, 1, 2].map((i) => ({ i, name: `s${i}` })));
  assert.deepEqual(styled.map((s) => s.label), ["gut", "", "skin"]);
  assert.deepEqual(styled.map((s) => s.alpha), [0.2, 0.9, 0.2]);
  assert.equal(styled[1].name, "s1, gut");
});

// -- attention ----------------------------------------------------------------------------------------------------------

test("halves are read as numbers", () => {
  const { shape, values } = attention.unpackHalves({ shape: [4], halves: coded([0, 0x3c, 0, 0xc0, 0, 0x38, 1, 0]) });
  assert.deepEqual(shape, [4]);
  assert.deepEqual([...values], [1, -2, 0.5, 2 ** -24]);
});

// One token and three ASVs; one layer, one head: each row looks evenly at all four.
const HALF_OF_QUARTER = [0, 0x34];
const sample = {
  tokens: 1,
  numAsvs: 3,
  others: 0,
  weights: { shape: [1, 1, 4], halves: coded(Array(16).fill(HALF_OF_QUARTER).flat()) },
  pooling: [[0.1], [0.6], [0.2], [0.1]],
  rolled: [0.1, 0.5, 0.3, 0.1],
  keys: {
    ids: ["", "A", "C", "G"],
    labels: ["token", "a", "c", "g"],
    lineages: ["", "", "", ""],
    reads: [null, 5, 3, 2],
  },
};

test("ASVs beyond the first are one key: columns are summed, rows averaged", () => {
  const folded = attention.foldMaps(sample, 1);
  assert.deepEqual([folded.n, folded.single, folded.rest], [3, 2, 2]);
  near([...folded.heads[0]], [0.25, 0.25, 0.5, 0.25, 0.25, 0.5, 0.25, 0.25, 0.5]);
  near(folded.pooling[0], [0.1, 0.6, 0.3]);
  near(folded.rolled, [0.1, 0.5, 0.4]);
  assert.deepEqual(folded.labels, ["token", "a", "(2 other ASVs)"]);
  near([folded.share], [0.6 / 0.9]);
});

test("where all ASVs are shown nothing is folded", () => {
  const folded = attention.foldMaps(sample, 3);
  assert.deepEqual([folded.n, folded.rest], [4, 0]);
  near([folded.share], [1]);
});

test("a cell is found by its row and column, the name of a row behind all cells", () => {
  const layout = { m: {}, n: 3, left: 100, cell: 10 };
  assert.equal(attention.findCell(layout, 115, 6 + 25), 2 * 3 + 1);
  assert.equal(attention.findCell(layout, 20, 6 + 5), 9);
  assert.equal(attention.findCell(layout, 131, 10), -1);
  assert.equal(attention.findCell(layout, 115, 2), -1);
});

test("letters stand on lines of one length", () => {
  const asv = { spans: Array.from({ length: 100 }, (_, k) => [k + 1, k + 1]) };
  const layout = attention.lettersLayout(58 + 8 * 60, asv); // room for 60 letters
  assert.deepEqual([layout.lines, layout.each], [2, 50]);
});

// -- attributions -------------------------------------------------------------------------------------------------------

//            ┌ 1: tip 0
//   0 root ──┤      ┌ 3: tip 1
//            └ 2 ───┤
//                   └ 4: tip 2
const NODES = [
  { parent: -1, length: 0, tip: -1, id: "" },
  { parent: 0, length: 1, tip: 0 },
  { parent: 0, length: 2, tip: -1, id: "clade" },
  { parent: 2, length: 3, tip: 1 },
  { parent: 2, length: 4, tip: 2 },
];

test("a tree pruned to some tips keeps the lengths between them", () => {
  const all = attributions.pruned(NODES, () => true);
  assert.deepEqual(all.map((n) => n.children), [[1, 2], [], [3, 4], [], []]);
  const two = attributions.pruned(NODES, (tip) => tip < 2);
  assert.deepEqual(two.map((n) => [n.tip, n.parent, n.length]), [[-1, -1, 0], [0, 0, 1], [1, 0, 5]]); // 2 + 3
  const below = attributions.pruned(NODES, (tip) => tip > 0);
  assert.deepEqual(below.map((n) => [n.tip, n.parent, n.length]), [[-1, -1, 0], [1, 0, 3], [2, 0, 4]]);
});

test("tips below a clade", () => {
  assert.deepEqual(attributions.tipsBelow(NODES, "clade"), [1, 2]);
  assert.deepEqual(attributions.tipsBelow(NODES, "no such"), []);
});

test("a tree is laid out by distance from the root, or by the nodes below", () => {
  const tree = attributions.pruned(NODES, () => true), w = 12 + 60 + 12 + 71; // 60 pixels for 6 substitutions
  const byLength = attributions.treeLayout(tree, w, false);
  const across = (x) => x.map((v) => Math.round((10 * (v - 12)) / byLength.wide * 6) / 10);
  assert.deepEqual(across(byLength.x), [0, 1, 2, 5, 6]);
  assert.deepEqual(across(attributions.treeLayout(tree, w, true).x), [0, 6, 3, 6, 6]);
  assert.equal(byLength.y[2], (byLength.y[3] + byLength.y[4]) / 2);
});

test("two samples are compared feature by feature, the largest difference first", () => {
  const whole = {
    ends: [0, 2, 4],
    columns: [0, 1, 1, 2],
    values: [3, -1, 1, 0.5],
    ids: ["A", "C", "G"],
    labels: ["a", "c", "g"],
    lineages: ["", "", ""],
    marked: [true, false, false],
  };
  const { rows, others, total } = attributions.comparePair(whole, 0, 1, 2);
  assert.deepEqual(rows.map((r) => [r.id, r.a, r.b, r.difference]), [["A", 3, 0, 3], ["C", -1, 1, -2]]);
  assert.equal(others, 1);
  assert.equal(total, 3 - 2 - 0.5);
});

test("the first sentence of a verdict ends before its checks", () => {
  assert.deepEqual(attributions.splitVerdict("Trust. Passed: a. Failed: b."), ["Trust.", " Passed: a. Failed: b."]);
  assert.deepEqual(attributions.splitVerdict("Not checked."), ["Not checked.", ""]);
});

// -- errors -------------------------------------------------------------------------------------------------------------

test("members of a slice are sent a bit a sample", () => {
  assert.deepEqual(errors.unpackMembers(coded([0b10100000, 0b01000000]), 10), [0, 2, 9]);
});
