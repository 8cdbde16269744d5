// Pointing at a plot, walking through it, drawing around its points, and the tables that are saved.

import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.mjs";

const { Plot, SavedModel, csv, order, within } = load("kit", ["Plot", "SavedModel", "csv", "order", "within"]);

// A plot of some targets without a page around it; it notes where it goes and what is chosen.
function plot(targets) {
  const notes = { went: [], chosen: [] };
  const fake = Object.assign(Object.create(Plot.prototype), { targets, at: -1, notes });
  fake.view = { guard: (f) => f() };
  fake.go = (i) => {
    fake.at = i;
    notes.went.push(i);
  };
  fake.pick = (target) => notes.chosen.push(target);
  return fake;
}

const DOTS = [{ x: 10, y: 10, r: 4 }, { x: 30, y: 10, r: 4 }, { x: 10, y: 40, r: 4 }];

test("the nearest dot within twelve pixels is found", () => {
  const p = plot(DOTS);
  assert.equal(p.find(12, 11), 0);
  assert.equal(p.find(21, 10), 1); // 9 from the second, 11 from the first
  assert.equal(p.find(10, 25), -1); // 15 from both
});

test("a box is found where the pointer is in it, borders included, the last drawn first", () => {
  const p = plot([{ x: 0, y: 0, w: 20, h: 10 }, { x: 20, y: 0, w: 20, h: 10 }]);
  assert.equal(p.find(5, 5), 0);
  assert.equal(p.find(20, 10), 1);
  assert.equal(p.find(41, 5), -1);
});

test("arrow keys go to the nearest target that lies mostly that way", () => {
  const p = plot(DOTS);
  p.step(1, 0);
  assert.equal(p.at, 0); // the first press enters the plot
  p.step(1, 0);
  assert.equal(p.at, 1);
  p.step(0, 1);
  assert.equal(p.at, 2);
  p.step(0, 1);
  assert.equal(p.at, 2); // nothing lies below
  p.step(0, -1);
  assert.equal(p.at, 0);
});

test("choosing gives the target, and nothing where there is none", () => {
  const p = plot(DOTS);
  p.choose(1);
  p.choose(-1);
  assert.deepEqual(p.notes.chosen, [DOTS[1]]);
});

test("a point is in a polygon or not, in its notch too", () => {
  const square = [[0, 0], [10, 0], [10, 10], [0, 10]];
  assert.equal(within(square, 5, 5), true);
  assert.equal(within(square, 11, 5), false);
  assert.equal(within(square, 5, -1), false);
  const notched = [[0, 0], [10, 0], [10, 10], [5, 2], [0, 10]];
  assert.equal(within(notched, 5, 5), false);
  assert.equal(within(notched, 2, 3), true);
  assert.equal(within([...square].reverse(), 5, 5), true); // whichever way it was drawn
  assert.equal(within([], 5, 5), false);
});

test("a polygon that crosses itself holds what it goes around once", () => {
  const bow = [[0, 0], [10, 10], [10, 0], [0, 10]];
  assert.equal(within(bow, 2, 5), true);
  assert.equal(within(bow, 5, 2), false);
});

test("tables are quoted where they must be", () => {
  const rows = [["a,b", 1, null], ['say "hi"', 2.5, undefined], ["two\nlines", 0, "x"]];
  const expected = 'name,n,note\n"a,b",1,\n"say ""hi""",2.5,\n"two\nlines",0,x\n';
  assert.equal(csv({ columns: ["name", "n", "note"], rows }), expected);
});

test("rows are sorted by number, then text, what is missing first", () => {
  assert.deepEqual([3, null, 10, -2].sort(order), [null, -2, 3, 10]);
  assert.deepEqual(["b", "a", "ä"].sort(order), ["a", "ä", "b"]);
});

test("a saved page keeps its state and tells who listens, once a change", () => {
  const model = new SavedModel({ color: "age" });
  const seen = [];
  const listener = () => seen.push(model.get("color"));
  model.on("change:color", listener);
  model.set("color", "site");
  model.set("color", "site");
  model.off("change:color", listener);
  model.set("color", "diet");
  assert.deepEqual(seen, ["site"]);
  assert.equal(model.standalone, true);
});

test("text that a spreadsheet would run gets an apostrophe, numbers do not", () => {
  const rows = [["=1+1", -1.5], ["@SUM(A1)", "-0.5"], ["-20C", "+"], ["'=x", "'x"]];
  assert.equal(csv({ columns: ["+a", "n"], rows }), "'+a,n\n'=1+1,-1.5\n'@SUM(A1),-0.5\n'-20C,+\n''=x,'x\n");
});
