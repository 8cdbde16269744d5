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
  const rest = `${
    unseen ? ` The model does not see ${count(unseen, "other ASV")} of this sample.` : ""
  } ${data.naming}`;
  if (f.rest === 0) {
    return `${
      numAsvs === 1 ? "The 1 ASV" : `All ${number(numAsvs)} ASVs`
    } of ${id}, sorted by pooling attention (mean over heads).${rest}`;
  }
  const others = f.rest === 1 ? "The other one is" : `The ${number(f.rest)} others are`;
  return `Of the ${number(numAsvs)} ASVs in ${id}, the ${
    number(f.single - tokens)
  } with most pooling attention (mean over heads) are shown one by one; they have ${
    percent(f.share)
  } of the pooling attention on ASVs. ${others} one row (their mean) and one column (their sum).${rest}`;
}

function waitingWords(view) {
  const late = [["maps", view.get("sample")], ["inside", view.get("asv")]].filter(([name, key]) =>
    key && !view.get(name)[key]
  );
  const names = late.map(([name, key]) => (name === "maps" ? key : "the ASV"));
  return view.live && names.length ? `Computing the attention of ${names.join(" and ")} …` : "";
}
