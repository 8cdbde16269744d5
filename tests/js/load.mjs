// Gives names of the explorers' JavaScript to a test. The files export nothing: they are put together as javascript.py does it,
// each folder's files by name, and the names wanted are returned from a function around them.

import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { runInThisContext } from "node:vm";

const ROOT = fileURLToPath(new URL("../../aam_nb/show/widgets/js/", import.meta.url));

function folder(name) {
  const files = readdirSync(ROOT + name).filter((file) => file.endsWith(".js")).sort();
  return files.map((file) => readFileSync(`${ROOT}${name}/${file}`, "utf8")).join("\n");
}

// `load("attention", ["folded"])`; the explorer may be left out where only the kit is tested.
export function load(explorer, names) {
  const source = folder("kit") + (explorer === "kit" ? "" : folder(explorer));
  return runInThisContext(`(() => {\n${source}\nreturn { ${names.join(", ")} };\n})()`, { filename: explorer });
}

// Labels are measured on a canvas: here every letter is as wide as 0.6 of the size of its font.
globalThis.document = {
  createElement: () => ({
    getContext: () => ({
      font: "",
      measureText(words) {
        return { width: 0.6 * Number(/(\d+(\.\d+)?)px/.exec(this.font)[1]) * words.length };
      },
    }),
  }),
};

// The strokes of a pen as SVG, to look into.
export function drawn(draw) {
  const { SvgPen } = load("kit", ["SvgPen"]);
  const pen = new SvgPen();
  draw(pen);
  return pen.parts;
}

// The attributes of an SVG element.
export function attributes(element) {
  return Object.fromEntries([...element.matchAll(/([\w-]+)="([^"]*)"/g)].map(([, name, value]) => [name, value]));
}

export const INK = { text: "#111111", soft: "#555555", faint: "#dddddd", paper: "#ffffff", main: "#0072B2" };
