// What attention is not, which ASVs are shown, what is being waited for, and the controls.

function drawNotes(state) {
  const { view, data, updates } = state;
  view.body.append(view.note(data.notImportance, "beware"));
  const rule = view.note(() => shownWords(state)), waiting = view.note(() => waitingWords(view));
  view.body.append(rule, waiting);
  const numbered = (n, word) => Array.from({ length: n }, (_, k) => [k + 1, `${word} ${k + 1}`]);
  view.body.append(
    view.bar(
      view.select("mode", "Show", [["mean", "mean of heads"], ["head", "one head"], ["rollout", "rollout"]]),
      view.select("layer", "Layer", numbered(data.layers, "layer")),
      view.select("head", "Head", numbered(data.heads, "head")),
      view.slider("top", "ASVs one by one", { min: 1, max: data.most }),
    ),
  );
  updates.push(() => rule.update(), () => waiting.update());
}

function shownWords({ data, sample, folded }) {
  const f = folded();
  if (!f) return "";
  const { id, tokens, numAsvs, unseen } = sample();
  const rest = `${unseen ? ` The model does not see ${number(unseen)} other ASVs of it.` : ""} ${data.naming}`;
  return f.rest === 0
    ? `All ${number(numAsvs)} ASVs of ${id} are shown, by pooling attention (mean over heads).${rest}`
    : `Of the ${number(numAsvs)} ASVs in ${id} the ${
      f.single - tokens
    } with most pooling attention (mean over heads) are shown one by one; they hold ${
      percent(f.share)
    } of the pooling attention on ASVs. The ${
      number(f.rest)
    } others are one row (their mean) and one column (their sum).${rest}`;
}

function waitingWords(view) {
  const late = [["maps", view.get("sample")], ["inside", view.get("asv")]].filter(([name, key]) =>
    key && !view.get(name)[key]
  );
  const names = late.map(([name, key]) => (name === "maps" ? key : "the ASV"));
  return view.live && names.length ? `Looking at ${names.join(" and ")}; the kernel is at work.` : "";
}
