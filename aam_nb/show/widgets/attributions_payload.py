"""What the browser gets of attributions: features, the tree, nucleotides, two samples, the verdict; and the sentences on them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from aam_nb.arrays import Ints
from aam_nb.config import FaithfulnessConfig
from aam_nb.explain.attribution.attribute import GapWarning, attribute
from aam_nb.explain.attribution.methods import TOLERANCE
from aam_nb.explain.attribution.nucleotides import LETTERS
from aam_nb.explain.attribution.query import PLURALS
from aam_nb.explain.attribution.result import Attributions
from aam_nb.explain.attribution.taxa_and_clades import AsvSets
from aam_nb.explain.faithfulness.faithfulness import Faithfulness
from aam_nb.show.plots.style import cut
from aam_nb.show.widgets.attributions_levels import MOST, AttributionLevels, select_features, sum_by_set
from aam_nb.show.widgets.payload import to_json_value
from aam_nb.study.study import Study

CHECKS = FaithfulnessConfig(max_samples=40, num_random=10, num_samples=8, num_subsets=32, seeds=0, shuffles=0)
"""The fast checks: no model is fitted again."""
STRIPS = 20
"""Features whose samples are drawn one by one, at most."""
DOTS = 400
"""Samples drawn as dots; of more, so many are drawn at random."""
HOLDERS = 16
"""Samples behind the nucleotides of one ASV; of more that hold it, so many are drawn at random."""
IN_PAGE = (60_000, 5_000)
"""Attributions and features up to which a saved page holds them all, so that any two samples can be compared on it."""
METHODS = ("integrated_gradients", "occlusion")
"""How the nucleotides of an ASV are explained."""
HIDDEN = "the sample with this ASV's nucleotides masked"


# -- the explorer as a whole ------------------------------------------------------------------------------------------------


def explorer_payload(
    levels: AttributionLevels, *, asvs: list[dict[str, Any]], methods: Sequence[str], marks: bool, num_dots: int
) -> dict[str, Any]:
    """What does not change while an explorer is open.

    Parameters
    ----------
    asvs
        Rows of `feature_rows` at level "asv"; empty at others.
    methods
        How nucleotides can be explained.
    marks
        Whether ASVs have a star.
    num_dots
        Samples drawn as dots.
    """
    attributions, check = levels.attributions, levels.attributions.check
    unit = unit_of(attributions)
    return to_json_value(
        {
            "target": attributions.target,
            "unit": unit,
            "shortUnit": cut(unit.replace("each sample's predicted", "predicted"), 36),
            "method": attributions.method,
            "ownLevel": attributions.level,
            "levels": [[name, PLURALS[name]] for name in levels.levels],
            "ranks": levels.ranks,
            "summary": summary(levels),
            "beware": cautions(levels),
            "marks": marks,
            "planted": levels.study is not None and levels.study.truth is not None,
            "naming": levels.names.rule if levels.of_asvs else "",
            "samples": list(map(str, attributions.sample_ids)),
            "check": {name: check[name] for name in ("output", "prediction", "reference", "sum", "gap")},
            "shares": attributions.gaps() if attributions.complete else None,
            "complete": attributions.complete,
            "adds": levels.additive,
            "asvs": [{k: v for k, v in row.items() if k != "strip"} for row in asvs],
            "tree": None if levels.no_tree else tree_payload(levels),
            "noTree": levels.no_tree,
            "noLetters": why_no_nucleotides(attributions),
            "methods": methods,
            "dots": num_dots,
            "holders": HOLDERS,
            "mostTop": MOST,
            "strips": STRIPS,
            "checks": f"{min(CHECKS.max_samples, len(attributions.sample_ids))} samples, no model is fitted again",
        }
    )


def unit_of(attributions: Attributions) -> str:
    """The unit of attributions, with the class explained where there are several."""
    if attributions.output in ("", attributions.target):
        return attributions.unit
    return f"{attributions.unit}, {attributions.output}"


def summary(levels: AttributionLevels) -> str:
    """What the attributions are, and whether they sum to what they explain."""
    attributions = levels.attributions
    feature, num = {"asv": "ASV"}.get(attributions.level, attributions.level), len(attributions.sample_ids)
    method = attributions.method.replace("_", " ")
    first = (
        f"How much each {feature} moved {num:,} predictions of {attributions.target}, by {method}, in {unit_of(attributions)}; "
        f"compared with {attributions.reference}."
    )
    if not attributions.complete:
        return f"{first} This method's attributions need not sum to the change of the prediction."
    summands = "attributions" if levels.additive else "ASVs together"
    return (
        f"{first} A sample's {summands} sum to its prediction minus the reference's; the largest gap is {attributions.largest_gap:.2%} of "
        "that change."
    )


def cautions(levels: AttributionLevels) -> list[str]:
    """What to beware of, a sentence each."""
    attributions, sentences = levels.attributions, []
    if attributions.complete and attributions.largest_gap > TOLERANCE:
        sentences.append(f"The attributions miss up to {attributions.largest_gap:.1%} of the change that they explain.")
    if levels.of_asvs and attributions.method in ("shapley", "occlusion") and len(levels.levels) > 1:
        sentences.append(
            "Taxa and clades are sums of their ASVs'; `aam.explain.attribute(model, study, level='taxon', "
            f"method={attributions.method!r})` computes them directly."
        )
    if attributions.check["output"].nunique() > 1:
        sentences.append(
            "Each sample is explained for its own predicted class, so means over samples mix classes. For one class: "
            f"`aam.explain.attribute(model, study, output={str(attributions.check['output'].iloc[0])!r})`."
        )
    return sentences


# -- features of a level ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class View:
    """What is shown of a level, or of a rank of it.

    Parameters
    ----------
    part
        Attributions of the features that are shown, the most important first.
    columns
        Their places among all features there.
    payload
        What the browser gets of them.
    """

    part: Attributions
    columns: Ints
    payload: dict[str, Any]


def feature_rows(
    part: Attributions,
    labels: tuple[list[str], list[str]],
    *,
    marked: set[str],
    strips: list[dict[str, Any]],
    shown_asvs: Ints | None,
) -> list[dict[str, Any]]:
    """Features of a level, the most important first.

    Parameters
    ----------
    part
        Of the features that are shown.
    labels
        Their names, and what more there is to say of each.
    marked
        ASVs with a star.
    strips
        Of `strip_rows`, for the first features.
    shown_asvs
        Columns of the ASVs that are shown, of which each taxon and clade lists those it has; None where ASVs are not shown.
    """
    table, features = part.by_feature(), part.features
    column_of = {name: k for k, name in enumerate(features.index)}
    rows = []
    for name, statistics in zip(table.index, table.to_dict("records"), strict=True):
        k = column_of[name]
        row = {
            "id": str(name), "label": labels[0][k], "lineage": labels[1][k], "marked": part.level == "asv" and name in marked,
            **{c: statistics[c] for c in ("mean", "mean_abs", "low", "high", "samples", "positive", "consistency")},
        }  # fmt: skip
        if part.level in ("taxon", "clade"):
            row |= {"asvs": int(features["num_asvs"].iloc[k]), "among": []}
            if shown_asvs is not None and part.members is not None:
                row["among"] = np.flatnonzero(np.isin(shown_asvs, part.members[[k]].indices)).tolist()
        rows.append(row | {"strip": strips[k] if k < STRIPS else None})
    return rows


def draw_dots(num_samples: int) -> Ints:
    """Places of the samples drawn as dots: all, or `DOTS` of them at random."""
    if num_samples <= DOTS:
        return np.arange(num_samples)
    return np.sort(np.random.default_rng(0).choice(num_samples, DOTS, replace=False))


def abundances(attributions: Attributions, study: Study | None, rows: Ints) -> sparse.csr_array | None:
    """Relative abundance of the ASVs in some samples, shape (n_rows, n_asvs); None where the samples are not at hand."""
    ids = attributions.sample_ids[rows]
    if study is None or attributions.level not in ("asv", "taxon", "clade") or not ids.isin(study.sample_ids).all():
        return None
    samples = study.keep_samples(ids).in_memory()
    cells = sparse.csr_array(samples.table).tocoo()
    row, column = cells.coords
    asv = attributions.asv_ids.get_indexer(samples.asv_ids)[column]
    share = cells.data / np.maximum(samples.depth.to_numpy()[row], 1)
    explained = asv >= 0
    return sparse.csr_array(
        (share[explained], (row[explained], asv[explained])), shape=(len(ids), len(attributions.asv_ids))
    )


def strip_rows(part: Attributions, dots: Ints, shares: sparse.csr_array | None) -> list[dict[str, Any]]:
    """For the first features: the samples that have an attribution for each, it, and the abundance.

    Parameters
    ----------
    part
        Of the features that are shown.
    dots
        Places of the samples drawn.
    shares
        `abundances` in these.
    """
    num = min(STRIPS, part.values.shape[1])
    values = part.values[dots].tocsc()[:, :num]
    feature_shares = None
    if shares is not None and part.members is not None:
        feature_shares = (shares @ part.members[:num].T).toarray()
    strips = []
    for k in range(num):
        cells = slice(values.indptr[k], values.indptr[k + 1])
        rows = values.indices[cells]
        strips.append(
            {
                "samples": dots[rows],
                "values": values.data[cells],
                "shares": None if feature_shares is None else feature_shares[rows, k],
            }
        )
    return strips


def all_values_payload(levels: AttributionLevels, marked: set[str]) -> dict[str, Any] | None:
    """All attributions, for a page on which any two samples can be compared; None where they are too many for one."""
    attributions, columns = levels.attributions, np.flatnonzero(levels.has_values)
    if attributions.values.nnz > IN_PAGE[0] or len(columns) > IN_PAGE[1]:
        return None
    values, features = attributions.values[:, columns], attributions.features.iloc[columns]
    labels, lineages = levels.labels(attributions.level, features)
    return to_json_value(
        {
            "ids": list(map(str, features.index)),
            "labels": labels,
            "lineages": lineages,
            "marked": [i in marked for i in features.index],
            "ends": values.indptr,
            "columns": values.indices,
            "values": values.data,
        }
    )


# -- the tree ---------------------------------------------------------------------------------------------------------------


def tree_payload(levels: AttributionLevels) -> dict[str, Any]:
    """The tree of the ASVs shown: nodes, parents first, and what each clade was given, its ASVs that are not drawn included."""
    tree, ids = levels.asv_study.require_tree(), levels.strongest("asv")[0].asv_ids
    tips = {tree.tip_node[asv]: k for k, asv in enumerate(ids) if asv in tree.tip_node}
    nodes, parents, lengths = (array.tolist() for array in tree.prune_nodes(list(tips)))
    # Clades whose node is drawn, and what they were given.
    sets = levels.asv_sets("clade")
    columns = sets.features.index.get_indexer(pd.Index([f"node {n}" for n in nodes]))
    drawn = np.flatnonzero(columns >= 0)
    clades = AsvSets(sets.features.iloc[columns[drawn]], sets.members[columns[drawn]])
    table = sum_by_set(levels.attributions, "clade", clades).by_feature().reindex(clades.features.index)
    labels = levels.labels("clade", clades.features)[0]
    clade_of = dict(zip(drawn.tolist(), range(len(drawn)), strict=True))
    rows = []
    for k, node in enumerate(nodes):
        row: dict[str, Any] = {"parent": parents[k], "length": lengths[k], "tip": tips.get(node, -1), "id": ""}
        if k in clade_of:
            clade = clade_of[k]
            statistics = table.iloc[clade]
            row |= {"id": clades.features.index[clade], "label": labels[clade], "asvs": int(statistics["num_asvs"])}
            row |= {c: statistics[c] for c in ("mean", "low", "high", "samples")}
        rows.append(row)
    return {"nodes": rows, "lost": len(ids) - len(tips)}


# -- nucleotides ------------------------------------------------------------------------------------------------------------


def has_model(attributions: Attributions) -> bool:
    """Whether the model and the samples are at hand, so that more can be explained."""
    return attributions.model is not None and attributions.study is not None and attributions.query is not None


def why_no_nucleotides(attributions: Attributions) -> str:
    """Why nucleotides cannot be explained; empty where they can."""
    if attributions.level == "nucleotide" or (attributions.level == "asv" and has_model(attributions)):
        return ""
    if attributions.level != "asv":
        return "Nucleotides are explained from attributions at level 'asv': `aam.explain.attribute(model, study)`."
    return "These attributions carry no model, so nucleotides cannot be explained. Make them with `aam.explain.attribute(model, study)`."


def nucleotides_payload(levels: AttributionLevels, asv: str, method: str) -> dict[str, Any]:
    """The nucleotides of an ASV: those of the attributions, or, at level "asv", explained by the model from samples that hold it."""
    attributions = levels.attributions
    label, lineage = levels.names.labels([asv])[0], levels.names.lineages([asv])[0]
    if attributions.level == "nucleotide":
        part = select_features(attributions, np.flatnonzero((attributions.features["asv_id"] == asv).to_numpy()))
        num_holders = num_used = int(np.unique(part.values.tocoo().coords[0]).size)
        mutations = None if attributions.mutations is None else attributions.mutations.loc[part.features.index]
        gap, reference = float("nan"), part.reference
    else:
        holders = samples_with(attributions, asv)
        num_holders, num_used = holders.num_samples, min(holders.num_samples, HOLDERS)
        if not num_holders:
            return {
                "id": asv,
                "label": label,
                "missing": "No explained sample holds this ASV; only the reference does.",
            }
        part = explain_nucleotides(attributions, holders, asv, method)
        mutations, gap = part.mutations, part.largest_gap
        reference = part.reference if method == "occlusion" else HIDDEN
    table = part.by_feature().reindex(part.features.index)
    return to_json_value(
        {
            "id": asv,
            "label": label,
            "lineage": lineage,
            "reference": reference,
            "samples": num_used,
            "holders": num_holders,
            "letters": "".join(table["letter"]),
            **{name: table[name] for name in ("mean", "low", "high", "positive")},
            "mutations": None if mutations is None else mutations[list(LETTERS)].to_numpy(float).T,
            "warning": f"The nucleotides' attributions miss up to {gap:.1%} of the change that they explain."
            if gap > TOLERANCE
            else "",
        }
    )


def explain_nucleotides(attributions: Attributions, holders: Study, asv: str, method: str) -> Attributions:
    """Explain the nucleotides of an ASV by the model, over at most `HOLDERS` of the samples that hold it."""
    assert attributions.model is not None
    assert attributions.query is not None
    rows = np.sort(np.random.default_rng(0).permutation(holders.num_samples)[:HOLDERS])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GapWarning)  # the explorer shows the gap
        return attribute(
            attributions.model,
            holders.keep_samples(holders.sample_ids[rows]),
            level="nucleotide",
            method=method,
            asvs=[asv],
            output=attributions.query.output,
            direction=attributions.query.direction,
            config=attributions.query.config,
        )


def samples_with(attributions: Attributions, asv: str) -> Study:
    """Explained samples that hold an ASV."""
    study = attributions.study
    assert study is not None
    if asv not in study.asv_ids:
        return study.keep_samples(study.sample_ids[:0])
    column = [study.asv_ids.get_loc(asv)]
    blocks = [np.asarray((reads[:, column] > 0).sum(1)).ravel() > 0 for _, reads in study.blocks()]
    return study.keep_samples(study.sample_ids[np.concatenate(blocks)])


# -- two samples ------------------------------------------------------------------------------------------------------------


def pair_payload(levels: AttributionLevels, a: str, b: str, marked: set[str]) -> dict[str, Any]:
    """The features by which two samples differ most, and what the others sum to."""
    attributions = levels.attributions
    table = attributions.difference(a, b)
    shown = table.iloc[:MOST]
    columns = attributions.features.index.get_indexer(shown.index)
    labels, lineages = levels.labels(attributions.level, attributions.features.iloc[columns])
    values = zip(shown.index, labels, lineages, shown["a"], shown["b"], shown["difference"], strict=True)
    rows = [
        {"id": str(i), "label": label, "lineage": lineage, "a": x, "b": y, "difference": d, "marked": i in marked}
        for i, label, lineage, x, y, d in values
    ]
    return to_json_value({"rows": rows, "others": len(table) - len(shown), "total": table["difference"].sum()})


def pair_key(a: str, b: str) -> str:
    """The key of two samples in the traits."""
    return f"{a}\n{b}"


def farthest_pair(check: pd.DataFrame) -> tuple[str, str]:
    """The samples with the largest and the smallest prediction, among those explained for the commonest output."""
    predictions = check[check["output"] == check["output"].mode().iat[0]]["prediction"]
    return str(predictions.idxmax()), str(predictions.idxmin())


# -- the verdict ------------------------------------------------------------------------------------------------------------


def verdict_payload(attributions: Attributions, faithfulness: Faithfulness | None) -> dict[str, Any]:
    """The verdict, its checks, and whether the button can make them."""
    text = verdict_sentence(attributions, faithfulness)
    if faithfulness is None:
        return {"text": text, "checked": False, "can": has_model(attributions), "rows": []}
    table = faithfulness.table.reset_index()
    columns = ["check", "outcome", "value", "low", "high", "compared_with", "meaning"]
    return to_json_value({"text": text, "checked": True, "can": False, "rows": table[columns]})


def verdict_sentence(attributions: Attributions, faithfulness: Faithfulness | None) -> str:
    """The verdict, or that there is none."""
    if faithfulness is None:
        more = "" if has_model(attributions) else " These attributions carry no model, so they cannot be checked here."
        return f"Not checked: `aam.explain.faithfulness(attributions)`.{more}"
    config = faithfulness.config
    left_out = "" if config.seeds and config.shuffles else " No model was fitted again for it."
    return f"Verdict on {faithfulness.num_samples} samples: {faithfulness.verdict()}{left_out}"
