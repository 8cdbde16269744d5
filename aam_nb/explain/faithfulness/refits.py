"""The checks of `faithfulness` that learn anew, or compare with what was planted, each as rows of its table."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from aam_nb.config import FaithfulnessConfig
from aam_nb.explain.faithfulness.again import explained_again, group_of
from aam_nb.explain.faithfulness.checks import (
    ALIKE,
    LEVEL,
    NOT_APPLICABLE,
    NOT_MEASURED,
    TOLD,
    CheckInputs,
    left_out,
    mean_interval,
    row,
    tested,
    verdict_of,
)
from aam_nb.explain.faithfulness.random_weights import agreement, ranked_alike
from aam_nb.explain.faithfulness.recovery import forest_importance, recovery, rivals
from aam_nb.study.study import Study
from aam_nb.train.refit import refit

Array = npt.NDArray[np.float64]
SEEDS = ("seeds (within samples)", "seeds (sizes)", "seeds (signed means)", "seeds (top)")
"""Checks of stability over seeds."""


def refit_checks(
    asked: CheckInputs, train: Study | None, planted: list[str]
) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """Models fitted anew, from other seeds and to shuffled labels: rows, and a table with a row per model."""
    config, names = asked.config, SEEDS
    wanted = [("seeds", k + 1, False) for k in range(config.seeds)]
    wanted += [("labels", k + 1, True) for k in range(config.shuffles)]
    if train is None:
        how = "The training samples are not at hand. Call `aam.explain.faithfulness(attributions, train=train)`."
        return [row(n, NOT_MEASURED, how) for n in (*names, "random labels")], pd.DataFrame()
    own, held = asked.values(asked.study)
    rows, within = [], {"seeds": [], "labels": []}  # type: ignore[var-annotated]
    for kind, number, shuffle in asked.bar(wanted, "fit anew"):
        other = refit(asked.model, train, seed=asked.model.train_config.seed + number, shuffle=shuffle)
        found = explained_again(asked.attributions, other, asked.study)
        alike = ranked_alike(own, found, held, signed=True)
        within[kind].append(alike)
        sizes = ranked_alike(own, found, held, signed=False)
        measured: dict[str, Any] = {"kind": kind, "number": number}
        measured |= {"within": _nanmean(alike), "within_size": _nanmean(sizes)}
        measured |= agreement(own, found, top=config.top)
        if planted:
            measured["average_precision"] = _precision(asked, found, planted)
        rows.append(measured)
    table = pd.DataFrame(rows)
    return [*_seed_rows(table, config, names), _label_row(table, within, asked)], table


def _nanmean(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _precision(asked: CheckInputs, found: Array, planted: list[str]) -> float:
    """Average precision of other attributions of the same ASVs; NaN where none of the planted occurs."""
    from sklearn.metrics import average_precision_score

    _, held = asked.values(asked.study)
    occurs = held.any(0)
    hit = asked.attributions.asv_ids.isin(planted)[occurs]
    score = np.abs(found).mean(0)[occurs]
    return float(average_precision_score(hit, score)) if hit.any() else float("nan")


def _seed_rows(table: pd.DataFrame, config: FaithfulnessConfig, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Stability over seeds; the ends are the lowest and highest of the models."""
    if not config.seeds:
        return [row(n, NOT_MEASURED, left_out("seeds")) for n in names]
    of_seeds, rows = table[table["kind"] == "seeds"], []
    said = {
        "within": "Rank correlation, within samples, with models fitted from other seeds.",
        "size": "Rank correlation of features' mean absolute attributions with those of other seeds.",
        "signed": "Rank correlation of features' mean attributions with those of other seeds.",
        "top": f"Share of the first {config.top} features that another seed names too.",
    }
    for (what, words), name in zip(said.items(), names, strict=True):
        values = of_seeds[what]
        if values.isna().any():
            rows.append(row(name, NOT_APPLICABLE, "There are too few features to rank."))
            continue
        chance = float(of_seeds["top_chance"].mean()) if what == "top" else 0.0
        against = f"{chance:.2f} by chance"
        ok = verdict_of(bool(values.min() >= ALIKE)) if chance < ALIKE else NOT_APPLICABLE
        rows.append(row(name, ok, words, values.mean(), values.min(), values.max(), against))
    return rows


def _label_row(table: pd.DataFrame, within: dict[str, list[Array]], asked: CheckInputs) -> dict[str, Any]:
    """Do labels that say nothing give other attributions than another seed does?"""
    config = asked.config
    if not config.shuffles:
        return row("random labels", NOT_MEASURED, left_out("shuffles"))
    labels = np.stack(within["labels"])
    mean, low, high = mean_interval(labels, asked.unit, config)
    if np.isnan(mean):
        return row("random labels", NOT_APPLICABLE, "No sample has three features to rank.")
    words, against, ok = "", f"below {ALIKE}", mean < ALIKE
    if within["seeds"]:
        seeds = np.stack(within["seeds"]).mean(0)
        more, least, _ = mean_interval((seeds - labels.mean(0))[None], asked.unit, config)
        against = f"{_nanmean(seeds):.2f} of other seeds"
        ok = bool(more > 0 and (least > 0 or np.isnan(least)))
        words = f", {abs(more):.2f} {'less' if more >= 0 else 'more'} than with models of other seeds"
    found = table.loc[table["kind"] == "labels"]
    if "average_precision" in found:
        words += f"; these find the planted ASVs with average precision {found['average_precision'].mean():.2f}"
    outcome, but = tested(bool(ok), asked.unit) if within["seeds"] else (verdict_of(bool(ok)), "")
    meaning = f"Rank correlation, within samples, with models fitted to shuffled labels{words}.{but}"
    return row("random labels", outcome, meaning, mean, low, high, against)


def recovery_rows(asked: CheckInputs, train: Study | None, planted: list[str]) -> list[dict[str, Any]]:
    """Planted ASVs: are they found, and better than by simpler rankings? Of all samples explained."""
    found, config, study = asked.attributions, asked.config, asked.attributions.study
    assert study is not None
    if found.level != "asv":
        return [row("recovery", NOT_APPLICABLE, "What is planted are ASVs. Explain level 'asv'.")]
    if not planted:
        why = "It is not known which ASVs matter. Name them in `aam.explain.faithfulness(attributions, planted=...)`."
        return [row("recovery", NOT_MEASURED, why)]
    occur = found.asv_ids[np.bincount(found.values.indices, minlength=len(found.asv_ids)) > 0]
    if not occur.isin(planted).any():
        return [row("recovery", NOT_APPLICABLE, "None of the planted ASVs occurs in the explained samples.")]
    one = recovery(found, planted, resamples=config.num_permutations, seed=config.seed)
    forest = None
    if train is not None:
        task = asked.model.require_task().only(found.target)
        ids = found.asv_ids.intersection(train.asv_ids)
        forest = forest_importance(train, task, ids, num_trees=config.num_trees, seed=config.seed)
        forest = forest.reindex(found.asv_ids, fill_value=0.0)
    unit = group_of(asked.model, study)[0]
    table = rivals(found, study, planted, config, unit=unit, forest=forest)
    own = table.loc["attribution"]
    rows = [
        row(
            "recovery",
            verdict_of(one.p_value <= LEVEL and one.average_precision > one.chance),
            f"Average precision at finding the {one.num_planted} planted among {one.num_asvs} ASVs by mean absolute attribution (p = "
            f"{one.p_value:.4f}).",
            one.average_precision,
            own["low"],
            own["high"],
            f"{one.chance:.2f} by chance",
        )
    ]
    words = {
        "abundance": "ranking by mean abundance",
        "prevalence": "ranking by prevalence",
        "forest": "a random forest's importances",
    }
    for name, other in table.drop("attribution").iterrows():
        # A forest is another model: doing better or worse than it says nothing of being faithful to this one.
        outcome, but = (TOLD, "") if name == "forest" else tested(bool(other["difference_low"] > 0), unit)
        rows.append(
            row(
                f"recovery against {name}",
                outcome,
                f"Average precision above that of {words[str(name)]}.{but}",
                other["difference"],
                other["difference_low"],
                other["difference_high"],
                f"{other['average_precision']:.2f} of {name}",
            )
        )
    return rows
