// Labels cut to the room they have; a letter of the test's font is 6 pixels wide at size 10.

import assert from "node:assert/strict";
import { test } from "node:test";
import { attributes, drawn, INK, load } from "./load.mjs";

const { axes, fitted, rowLabel, textWidth, tickLabels, scale } = load("kit", [
  "axes",
  "fitted",
  "rowLabel",
  "textWidth",
  "tickLabels",
  "scale",
]);
const SMALL = { size: 10 };
const words = (parts) => parts.filter((p) => p.startsWith("<text")).map((p) => />([^<]*)</.exec(p)[1]);

test("a label that fits is whole, one that does not is as long as fits", () => {
  assert.equal(textWidth("abcde", SMALL), 30);
  assert.equal(fitted("abcde", 30, SMALL), "abcde");
  assert.equal(fitted("abcdefgh", 30, SMALL), "abcd…");
  assert.equal(fitted("abc", 0, SMALL), "…");
});

test("the number of an ASV and the size of a group are kept", () => {
  assert.equal(fitted("Faecalibacterium #84", 60, SMALL), "Faeca… #84");
  assert.equal(fitted("Lachnospiraceae (12 ASVs)", 90, SMALL), "Lach… (12 ASVs)");
  assert.equal(fitted("summer months (1,024)", 84, SMALL), "summe… (1,024)");
  assert.equal(fitted("group #2 of many", 60, SMALL), "group #2 …"); // not at the end: cut
});

test("a star before a label takes room and is never cut", () => {
  const [label] = words(drawn((pen) => rowLabel(pen, "abcdefgh", 100, 5, { room: 60, mark: "★", size: 10 })));
  assert.equal(label, "★ abcdefgh");
  const [cut] = words(drawn((pen) => rowLabel(pen, "abcdefgh", 100, 5, { room: 48, mark: "★", size: 10 })));
  assert.equal(cut, "★ abcde…");
});

test("ticks that stand for things all have a label, in two lines where one is too short", () => {
  const axis = { ticks: [0, 1, 2, 3], named: true, format: (t) => `${10 * t}-${10 * t + 9}` };
  const wide = tickLabels(axis, axis.ticks, scale([0, 3], [0, 300]), 300);
  assert.deepEqual(wide.map((t) => [t.words, t.line]), [["0-9", 0], ["10-19", 0], ["20-29", 0], ["30-39", 0]]);
  const narrow = tickLabels(axis, axis.ticks, scale([0, 3], [0, 120]), 120);
  assert.deepEqual(narrow.map((t) => t.line), [1, 0, 1, 0]);
  const tight = tickLabels(axis, axis.ticks, scale([0, 3], [0, 60]), 60);
  assert.deepEqual(tight.map((t) => t.words), ["10-19", "30-39"]); // every second, the last among them
});

test("the name of an axis is cut where the plot is too small for it", () => {
  const parts = drawn((pen) =>
    axes(pen, { x: 40, y: 0, w: 72, h: 100 }, {
      x: { domain: [0, 1], ticks: [], label: "attribution in units of age" },
      y: { domain: [0, 1], ticks: [] },
    }, INK)
  );
  assert.deepEqual(words(parts), ["attribution …"]); // 100 pixels at size 12
  assert.equal(attributes(parts.at(-1))["text-anchor"], "middle");
});
