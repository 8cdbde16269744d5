// The verdict on these attributions, always in sight, and the checks that it rests on.

const STICKY =
  "position:sticky;top:0;z-index:6;background-color:var(--jp-layout-color0, var(--aam-paper));box-shadow:0 1px 0 var(--aam-faint)";

function drawVerdict({ view, data }) {
  const words = node("span", {}), clock = node("span", { "data-state": "clock" });
  const progress = node("progress", {
    "aria-label": "Checking",
    hidden: true,
    style: "vertical-align:middle;width:110px",
  });
  const ask = view.button("Check now (fast checks)", () => view.set({ checking: true }), { "data-action": "check" });
  const box = node(
    "div",
    { class: "aam-note", role: "status", "data-state": "verdict", style: STICKY },
    words,
    " ",
    ask,
    " ",
    progress,
    " ",
    clock,
  );
  const table = checksTable(view), summary = node("summary", {});
  const details = node("details", { class: "aam-panel aam-wide", "data-panel": "Checks" }, summary, table.el);
  const time = stopwatch(clock, data.checks);
  const update = () => {
    const v = view.get("verdict"),
      running = view.get("checking"),
      having = (outcome) => v.rows.filter((r) => r.outcome === outcome).length;
    const [lead, rest] = splitVerdict(v.text);
    words.replaceChildren(node("b", {}, (v.checked ? "" : "⚠ ") + lead), rest);
    box.classList.toggle("aam-beware", !v.checked || having("failed") > 0);
    ask.hidden = !v.can || !view.live || running;
    progress.hidden = !running;
    details.hidden = !v.checked;
    summary.textContent = `Checks: ${having("passed")} passed, ${having("failed")} failed, of ${v.rows.length}`;
    table.update();
    time(running, v.can && view.live ? `(${data.checks})` : "");
  };
  update();
  view.body.append(box, details);
  view.watch(["verdict", "checking"], update);
}

// The first sentence, which is bold, and the rest.
function splitVerdict(words) {
  const at = words.search(/ (Passed|Failed|Not measured|Does not apply): /), lead = at < 0 ? words.length : at;
  return [words.slice(0, lead), words.slice(lead)];
}

function checksTable(view) {
  return view.table({
    caption:
      "Every check. Where attributions are compared with another order, the value is a difference of areas under curves: above 0 the attributions are better",
    columns: [
      { key: "check", label: "check", left: true },
      { key: "outcome", label: "outcome", left: true, format: (v) => `${{ passed: "✔", failed: "✘" }[v] || "–"} ${v}` },
      { key: "value", label: "value" },
      { key: "low", label: "low" },
      { key: "high", label: "high" },
      { key: "compared_with", label: "compared with", left: true, long: true },
      { key: "meaning", label: "meaning", left: true, long: true },
    ],
    rows: () => view.get("verdict").rows,
  });
}

// Counts the seconds while checks run; `time(running, words)`, the words for when none run.
function stopwatch(clock, checks) {
  let beat = 0;
  return (running, words) => {
    clearInterval(beat);
    clock.textContent = running ? "" : words;
    if (!running) return;
    const since = Date.now();
    const tick = () => {
      if (beat && !clock.isConnected) clearInterval(beat); // the view was closed
      else clock.textContent = `Checking ${checks}: ${Math.round((Date.now() - since) / 1000)} s`;
    };
    beat = 0;
    tick();
    beat = setInterval(tick, 1000);
  };
}
