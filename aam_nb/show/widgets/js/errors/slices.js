// Slices: groups of samples in which the model errs more than in all others.

const FIRST = 15; // slices that are drawn

function drawSlices(state) {
  const { view, data, total, select } = state, words = node("p", { class: "aam-help" });
  const open = (slice) => {
    if (slice.members) return select(unpackMembers(slice.members, total), { slice: slice.slice });
    select([]);
    words.textContent = `The samples of slice ${slice.slice} are not known here: give the study.`;
    view.say(words.textContent);
  };
  const update =
    () => (words.textContent = view.get("slice")
      ? `${selectionWords(state)}. They are listed under Worst samples.`
      : "");
  update();
  const shut = data.slices.filter((s) => !s.members).length;
  const closed = shut
    ? ` ${number(shut)} of ${
      number(data.slices.length)
    } slices cannot be opened without metadata: use aam.widgets.errors(analysis, study=study).`
    : "";
  view.panel("Slices", {
    plot: slicesPlot(view, data, open),
    wide: true,
    below: words,
    help: `The first ${
      Math.min(FIRST, data.slices.length)
    } of ${data.slices.length}; n in brackets. Diamonds: larger errors than in the rest (adjusted p at most ${
      number(data.falseDiscovery)
    }); grey dots: no clear difference.${closed}`,
  });
  const table = slicesTable(view, data, shut < data.slices.length ? open : null);
  view.panel("Table of slices", { table, wide: true });
  view.watch(["selected", "slice", "cell"], () => {
    update();
    table.update();
  });
}

// Which samples are in a slice, as it is sent: a bit a sample.
function unpackMembers(coded, total) {
  const bytes = atob(coded);
  return Array.from({ length: total }, (_, i) => i).filter((i) => bytes.charCodeAt(i >> 3) & (128 >> (i & 7)));
}

function slicesPlot(view, data, open) {
  const tip = (s) => [
    s.slice,
    `${countSamples(s.n)}${data.group ? ` of ${number(s.groups)} ${data.group}` : ""}`,
    `mean error ${number(s.error)}, excess ${signed(s.excess)} [${number(s.low)}, ${number(s.high)}]`,
    `adjusted p ${number(s.p_adjusted)}${s.worse ? ": worse than the rest" : ""}`,
  ];
  return bars(view, {
    title: "Slices by excess error",
    describe:
      "One mark for each slice, with its interval; to the right of 0 its samples have larger errors than all others. Enter selects its samples.",
    dots: true,
    labels: 470,
    x: { label: `excess error (${data.errorLabel})` },
    items: () =>
      data.slices.slice(0, FIRST).map((s) => ({
        ...s,
        key: s.slice,
        label: `${s.slice} (${s.n})`,
        value: s.excess,
        color: s.worse ? UP : GREY,
        shape: s.worse ? 2 : 0,
        tip: tip(s),
      })),
    selected: () => view.get("slice") || null,
    pick: open,
    rows: () => {
      const columns = ["slice", "n", "groups", "error", "excess", "low", "high", "p", "p_adjusted", "worse"];
      return { columns, rows: data.slices.map((s) => columns.map((c) => s[c])) };
    },
  });
}

function slicesTable(view, data, open) {
  return view.table({
    caption: `All ${data.slices.length} slices: excess is the mean error minus that of all other samples, with its ${
      percent(data.confidence)
    } interval`,
    columns: [
      { key: "slice", label: "slice", left: true, long: true },
      { key: "n", label: "n" },
      ...(data.group ? [{ key: "groups", label: data.group }] : []),
      { key: "error", label: "mean error" },
      { key: "excess", label: "excess", format: signed },
      { key: "low", label: "low" },
      { key: "high", label: "high" },
      { key: "p", label: "p" },
      { key: "p_adjusted", label: "adjusted p" },
      { key: "worse", label: "", left: true, format: (v) => (v ? "◆ worse" : "") },
    ],
    rows: () => data.slices,
    pick: open,
    picked: (s) => s.slice === view.get("slice"),
  });
}
