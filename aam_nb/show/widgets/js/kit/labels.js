// Labels that fit into the room they have, measured as they are drawn.

// What stands at the end of a name and is kept when it is cut: the number of an ASV, or how many ASVs or samples
// there are.
const TAIL = / (#\d+|\([\d,]+( ASVs)?\))$/;

let measuring = null; // a canvas that is never shown

function textWidth(words, { size = 12, weight = "normal", font = FONT } = {}) {
  measuring ||= document.createElement("canvas").getContext("2d");
  measuring.font = `${weight} ${size}px ${font}`;
  return measuring.measureText(String(words)).width;
}

const widest = (labels, style) => Math.max(0, ...labels.map((label) => textWidth(label, style)));

// A label cut to some pixels: "Faecalibact… #84".
function fitted(label, room, style = {}) {
  const words = String(label);
  if (textWidth(words, style) <= room) return words;
  const tail = (TAIL.exec(words) || [""])[0], body = words.slice(0, words.length - tail.length);
  let [least, most] = [1, body.length];
  while (least < most) {
    const middle = (least + most + 1) >> 1;
    if (textWidth(cut(body, middle) + tail, style) <= room) least = middle;
    else most = middle - 1;
  }
  return cut(body, least) + tail;
}

// A label of a row, ending at x; a mark such as a star stands before it and is never cut.
function rowLabel(pen, label, x, y, { room, mark = "", size = 11.5, bold = false, fill }) {
  const style = { size, weight: bold ? "bold" : "normal" }, before = mark ? `${mark} ` : "";
  pen.text(before + fitted(label, room - textWidth(before, style), style), x, y, { ...style, anchor: "end", fill });
}
