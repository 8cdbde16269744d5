"""The checks of `faithfulness` that fit models again, or compare with ASVs known to matter, as rows of its table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from aam_nb.arrays import Floats
from aam_nb.config import (
    FaithfulnessConfig,
    format_p,
)
from aam_nb.explain.attribution.attribute import recompute_attributions
from aam_nb.explain.faithfulness.checks import (
    ALIKE,
    LEVEL,
    NOT_APPLICABLE,
    NOT_MEASURED,
    TOLD,
    CheckInputs,
    make_row,
    mean_of_known,
    outcome_of,
    outcome_of_test,
    tell_left_out,
)
from aam_nb.explain.faithfulness.random_weights import measure_agreement, rank_correlations
from aam_nb.explain.faithfulness.recovery import compare_rankings, forest_importance, recovery
from aam_nb.explain.faithfulness.resampling import group_samples
from aam_nb.study.study import Study
from aam_nb.train.refit import refit

SEEDS = ("seeds (within samples)", "seeds (sizes)", "seeds (signed means)", "seeds (top)")
"""Checks of stability over seeds."""


def check_refits(
    inputs: CheckInputs, train: Study | None, planted: list[str]
) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """Models fitted again, from other seeds and to shuffled labels: rows, and a table with a row per model."""
    config, names = inputs.config, SEEDS
    wanted = [("seeds", k + 1, False) for k in range(config.seeds)]
    wanted += [("labels", k + 1, True) for k in range(config.shuffles)]
    if train is None:
        reason = "The training samples are not available. Call `aam.explain.faithfulness(attributions, train=train)`."
        return [make_row(n, NOT_MEASURED, reason) for n in (*names, "random labels")], pd.DataFrame()
    own, held = inputs.values_of(inputs.study)
    rows, within = [], {"seeds": [], "labels": []}  # type: ignore[var-annotated]
    for kind, number, shuffle in inputs.show_progress(wanted, "fit again"):
        other_model = refit(inputs.model, train, seed=inputs.model.train_config.seed + number, shuffle=shuffle)
        other = recompute_attributions(inputs.attributions, other_model, inputs.study)
        signed = rank_correlations(own, other, held, signed=True)
        within[kind].append(signed)
        sizes = rank_correlations(own, other, held, signed=False)
        of_model: dict[str, Any] = {"kind": kind, "number": number}
        of_model |= {"within": _mean_where_known(signed), "within_size": _mean_where_known(sizes)}
        of_model |= measure_agreement(own, other, top=config.top)
        if planted:
            of_model["average_precision"] = _precision(inputs, other, planted)
        rows.append(of_model)
    table = pd.DataFrame(rows)
    return [*_seed_rows(table, config, names), _label_row(table, within, inputs)], table


def _mean_where_known(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _precision(inputs: CheckInputs, other: Floats, planted: list[str]) -> float:
    """Average precision of other attributions of the same ASVs; NaN where none of the planted occurs."""
    from sklearn.metrics import average_precision_score

    _, held = inputs.values_of(inputs.study)
    occurs = held.any(0)
    hit = inputs.attributions.asv_ids.isin(planted)[occurs]
    score = np.abs(other).mean(0)[occurs]
    return float(average_precision_score(hit, score)) if hit.any() else float("nan")


def _seed_rows(table: pd.DataFrame, config: FaithfulnessConfig, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Stability over seeds; the ends are the lowest and highest of the models."""
    if not config.seeds:
        return [make_row(n, NOT_MEASURED, tell_left_out("seeds")) for n in names]
    of_seeds, rows = table[table["kind"] == "seeds"], []
    meanings = {
        "within": "Rank correlation, within samples, with models fitted from other seeds.",
        "size": "Rank correlation of features' mean absolute attributions with those of other seeds.",
        "signed": "Rank correlation of features' mean attributions with those of other seeds.",
        "top": f"Share of the first {config.top} features that another seed ranks first too.",
    }
    for (column, meaning), name in zip(meanings.items(), names, strict=True):
        values = of_seeds[column]
        if values.isna().any():
            rows.append(make_row(name, NOT_APPLICABLE, "There are too few features to rank."))
            continue
        chance = float(of_seeds["top_chance"].mean()) if column == "top" else 0.0
        compared_with = f"{chance:.2f} by chance"
        outcome = outcome_of(bool(values.min() >= ALIKE)) if chance < ALIKE else NOT_APPLICABLE
        rows.append(make_row(name, outcome, meaning, values.mean(), values.min(), values.max(), compared_with))
    return rows


def _label_row(table: pd.DataFrame, within: dict[str, list[Floats]], inputs: CheckInputs) -> dict[str, Any]:
    """Do shuffled labels change attributions more than another seed does?"""
    config = inputs.config
    if not config.shuffles:
        return make_row("random labels", NOT_MEASURED, tell_left_out("shuffles"))
    labels = np.stack(within["labels"])
    mean, low, high = mean_of_known(labels, inputs.unit, config)
    if np.isnan(mean):
        return make_row("random labels", NOT_APPLICABLE, "No sample has three features to rank.")
    comparison, compared_with, ok = "", f"below {ALIKE}", mean < ALIKE
    if within["seeds"]:
        seeds = np.stack(within["seeds"]).mean(0)
        more, least, _ = mean_of_known((seeds - labels.mean(0))[None], inputs.unit, config)
        compared_with = f"{_mean_where_known(seeds):.2f} of other seeds"
        ok = bool(more > 0 and (least > 0 or np.isnan(least)))
        comparison = f", {abs(more):.2f} {'less' if more >= 0 else 'more'} than with models of other seeds"
    of_labels = table.loc[table["kind"] == "labels"]
    if "average_precision" in of_labels:
        comparison += (
            f"; these find the planted ASVs with average precision {of_labels['average_precision'].mean():.2f}"
        )
    outcome, note = outcome_of_test(bool(ok), inputs.unit) if within["seeds"] else (outcome_of(bool(ok)), "")
    meaning = f"Rank correlation, within samples, with models fitted to shuffled labels{comparison}.{note}"
    return make_row("random labels", outcome, meaning, mean, low, high, compared_with)


def check_recovery(inputs: CheckInputs, train: Study | None, planted: list[str]) -> list[dict[str, Any]]:
    """Planted ASVs: do the attributions find them, and better than simpler rankings do? Of all samples explained."""
    attributions, config, study = inputs.attributions, inputs.config, inputs.attributions.study
    assert study is not None
    if attributions.level != "asv":
        return [make_row("recovery", NOT_APPLICABLE, "ASVs are planted, nothing else. Explain level 'asv'.")]
    if not planted:
        reason = (
            "It is not known which ASVs matter. Name them in `aam.explain.faithfulness(attributions, planted=...)`."
        )
        return [make_row("recovery", NOT_MEASURED, reason)]
    asv_ids = attributions.asv_ids
    occur = asv_ids[np.bincount(attributions.values.indices, minlength=len(asv_ids)) > 0]
    if not occur.isin(planted).any():
        return [make_row("recovery", NOT_APPLICABLE, "None of the planted ASVs occurs in the explained samples.")]
    recovered = recovery(attributions, planted, resamples=config.num_permutations, seed=config.seed)
    forest = None
    if train is not None:
        task = inputs.model.require_task().only(attributions.target)
        ids = asv_ids.intersection(train.asv_ids)
        forest = forest_importance(train, task, ids, num_trees=config.num_trees, seed=config.seed)
        forest = forest.reindex(asv_ids, fill_value=0.0)
    unit = group_samples(inputs.model, study)[0]
    table = compare_rankings(attributions, study, planted, config, unit=unit, forest=forest)
    own = table.loc["attribution"]
    rows = [
        make_row(
            "recovery",
            outcome_of(recovered.p_value <= LEVEL and recovered.average_precision > recovered.chance),
            f"Average precision at finding the {recovered.num_planted} planted among {recovered.num_asvs} ASVs by mean absolute "
            f"attribution ({format_p(recovered.p_value)}).",
            recovered.average_precision,
            own["low"],
            own["high"],
            f"{recovered.chance:.2f} by chance",
        )
    ]
    rankings = {
        "abundance": "ranking by mean abundance",
        "prevalence": "ranking by prevalence",
        "forest": "a random forest's importances",
    }
    for name, other in table.drop("attribution").iterrows():
        # A forest is another model: to do better or worse than it says nothing about being faithful to this one.
        outcome, note = (TOLD, "") if name == "forest" else outcome_of_test(bool(other["difference_low"] > 0), unit)
        rows.append(
            make_row(
                f"recovery against {name}",
                outcome,
                f"Average precision above that of {rankings[str(name)]}.{note}",
                other["difference"],
                other["difference_low"],
                other["difference_high"],
                f"{other['average_precision']:.2f} of {name}",
            )
        )
    return rows
