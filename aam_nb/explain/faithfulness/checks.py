"""The checks of `faithfulness` that need no other fit: completeness, curves, infidelity and sensitivity, random weights, as rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from aam_nb.arrays import Bools, Floats, Ints
from aam_nb.config import (
    ExplainConfig,
    FaithfulnessConfig,
    count_noun,
    format_p,
)
from aam_nb.explain.attribution.attribute import find_output_and_reference, recompute_attributions
from aam_nb.explain.attribution.probe import Reference, make_probes
from aam_nb.explain.attribution.query import PLURALS
from aam_nb.explain.attribution.result import Attributions
from aam_nb.explain.faithfulness.deletion_insertion import (
    KINDS,
    SIGN_ONLY,
    RemovableFeatures,
    match_features,
    measure_movements,
    tabulate_curves,
)
from aam_nb.explain.faithfulness.infidelity import infidelity, sensitivity, shuffle_within_samples
from aam_nb.explain.faithfulness.random_weights import randomise_weights, rank_correlations
from aam_nb.explain.faithfulness.resampling import mean_with_interval, sign_flip_p_value
from aam_nb.study.study import Study
from aam_nb.train.estimator import AAM

PASSED, FAILED, NOT_MEASURED, NOT_APPLICABLE, TOLD = "passed", "failed", "not measured", "does not apply", "told"
"""Outcomes; `TOLD` is of numbers that are neither good nor bad."""
ALIKE = 0.5
"""Rank correlation from which attributions count as similar."""
COMPLETE = 0.01
"""Largest gap of a sample that still counts as complete, as a share of the change explained."""
LEVEL = 0.05
"""Largest p of a difference that counts."""
CURVES = {f"{kind} against {order}": (kind, order) for kind in KINDS for order in ("random", "abundance", SIGN_ONLY)}
"""Checks by deletion and insertion: kind and order."""
WEIGHTS = ("random weights", "random weights (sizes)")
"""Checks by random weights."""


@dataclass(frozen=True, eq=False)
class CheckInputs:
    """What all checks work on: attributions, some of their samples, and the settings.

    Parameters
    ----------
    study
        The samples chosen, with `unit`, the group of each.
    few, few_unit
        The samples of the costlier checks, and the group of each.
    """

    attributions: Attributions
    model: AAM
    study: Study
    unit: Ints
    few: Study
    few_unit: Ints
    config: FaithfulnessConfig

    @property
    def max_tokens(self) -> int:
        """Most positions computed at once, as for the attributions."""
        query = self.attributions.query
        return (query.config if query else ExplainConfig()).max_tokens

    def values_of(self, study: Study) -> tuple[Floats, Bools]:
        """Attributions of some samples, and which features each has; n_samples x n_features."""
        rows = self.attributions.sample_ids.get_indexer(study.sample_ids)
        values = self.attributions.values[rows]
        held = values.copy()
        held.data = np.ones_like(held.data)
        return values.toarray(), held.toarray() > 0

    def show_progress(self, steps: Iterable[Any], desc: str) -> Any:
        """The steps, with a progress bar where the model shows them."""
        return tqdm(steps, desc=desc, delay=2, disable=not self.model.shows_progress)


def make_row(
    check: str,
    outcome: str,
    meaning: str,
    value: Any = float("nan"),
    low: Any = float("nan"),
    high: Any = float("nan"),
    compared_with: str = "",
) -> dict[str, Any]:
    """A row of the table."""
    passed = {PASSED: True, FAILED: False}.get(outcome)
    return {
        "check": check,
        "value": float(value),
        "low": float(low),
        "high": float(high),
        "compared_with": compared_with,
        "passed": passed,
        "outcome": outcome,
        "meaning": meaning,
    }


def outcome_of(ok: bool) -> str:
    """The outcome of a check that was made: passed or failed."""
    return PASSED if ok else FAILED


def outcome_of_test(ok: bool, unit: Ints) -> tuple[str, str]:
    """Outcome of a test by signs of groups, and what to add to its meaning where there are too few of them for any p to be small."""
    groups = int(unit.max()) + 1
    if 2.0 ** (1 - groups) > LEVEL:
        num = count_noun(groups, "group or sample", "groups or samples")
        return (
            NOT_MEASURED,
            f" There {'is' if groups == 1 else 'are'} {num}, too few for this test. Explain more samples.",
        )
    return outcome_of(ok), ""


def check_completeness(inputs: CheckInputs) -> list[dict[str, Any]]:
    """Do a sample's attributions sum to what they explain?"""
    attributions = inputs.attributions
    if not attributions.complete or not np.isfinite(attributions.largest_gap):
        method = attributions.method.replace("_", " ")
        return [
            make_row(
                "completeness",
                NOT_APPLICABLE,
                f"Attributions by {method} need not sum to the change of the prediction.",
            )
        ]
    gap = attributions.gaps()
    return [
        make_row(
            "completeness",
            outcome_of(gap.max() <= COMPLETE),
            f"The share of its change that a sample's attributions do not explain is at most {gap.max():.2%}, and in half of the samples "
            f"{gap.median():.2%} or less.",
            gap.max(),
            gap.min(),
            gap.max(),
            f"at most {COMPLETE:.0%}",
        )
    ]


def check_curves(inputs: CheckInputs) -> tuple[list[dict[str, Any]], pd.DataFrame, pd.DataFrame]:
    """Deletion and insertion: rows, curves and areas."""
    attributions, config = inputs.attributions, inputs.config
    output, empty = find_output_and_reference(attributions)[0], Reference.of(inputs.model, inputs.study, "empty")
    asv_ids, probes = make_probes(
        inputs.model, inputs.study, output, empty, max_tokens=inputs.max_tokens, desc="delete and insert"
    )
    feature_A = match_features(attributions, asv_ids)
    if feature_A is None:
        reason = _why_not_removable(attributions)
        return [make_row(name, NOT_APPLICABLE, reason) for name in CURVES], pd.DataFrame(), pd.DataFrame()
    # How far predictions move, batch by batch.
    rng, batches = np.random.default_rng(config.seed), []
    ids: list[str] = []
    for probe in probes:
        features = RemovableFeatures.of(probe, feature_A, _values_of(attributions, probe.batch.sample_ids))
        predict = features.predictor(probe)
        batches.append(measure_movements(predict, features.value_BF, features.share_BF, config, rng))
        ids.extend(probe.batch.sample_ids)
    # Over all samples: curves, areas and what they say.
    moved = {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}
    unit = inputs.unit[inputs.study.sample_ids.get_indexer(pd.Index(ids))]
    table, area = tabulate_curves(moved, unit, config)
    rows = [_curve_row(name, area[area["kind"] == kind].set_index("order"), unit) for name, (kind, _) in CURVES.items()]
    return rows, table, area


AGAINST = {
    "random": "a random order",
    "abundance": "the order of abundance, which has no direction,",
    SIGN_ONLY: "the same signs with sizes drawn at random",
}


def _curve_row(name: str, of_kind: Any, unit: Ints) -> dict[str, Any]:
    """How much larger the attributions' area is than that of an order; against their own signs it is reported, not judged."""
    kind, order = CURVES[name]
    own, other, random = (of_kind.loc[key] for key in ("attribution", order, "random"))
    if order == SIGN_ONLY:
        gain, outcome = float(random["difference"]), TOLD
        share = 1 - float(other["difference"]) / gain if gain > 0 else 0.0
        note = f" Of what they gain over a random order, signs alone gain {share:.0%}." if gain > 0 else ""
    else:
        outcome, note = outcome_of_test(bool(other["difference"] > 0 and other["p_value"] <= LEVEL), unit)
    verb = "Removing" if kind == "deletion" else "Adding"
    p = "" if np.isnan(other["p_value"]) else f" ({format_p(other['p_value'])})"
    return make_row(
        name,
        outcome,
        f"{verb} the features with the largest attributions first moves the prediction by {own['area']:.0%} of its way on average, "
        f"{AGAINST[order]} by {other['area']:.0%}{p}.{note}",
        other["difference"],
        other["difference_low"],
        other["difference_high"],
        f"area {other['area']:.3f} of {order} order, own {own['area']:.3f}",
    )


def _why_not_removable(attributions: Attributions) -> str:
    if attributions.members is None:
        return f"A {attributions.level} cannot be removed from a sample as an ASV can."
    names = PLURALS[attributions.level]
    return f"These {names} share ASVs, so they cannot be removed one by one. Explain one rank, or level 'asv'."


def _values_of(attributions: Attributions, sample_ids: Iterable[str]) -> Any:
    return attributions.values[attributions.sample_ids.get_indexer(pd.Index(list(sample_ids)))]


def check_perturbations(inputs: CheckInputs) -> list[dict[str, Any]]:
    """Infidelity and sensitivity."""
    return [*_infidelity_rows(inputs), _sensitivity_row(inputs)]


def _infidelity_rows(inputs: CheckInputs) -> list[dict[str, Any]]:
    attributions, config = inputs.attributions, inputs.config
    output, reference = find_output_and_reference(attributions)
    asv_ids, probes = make_probes(
        inputs.model, inputs.few, output, reference, max_tokens=inputs.max_tokens, desc="infidelity"
    )
    feature_A, names = match_features(attributions, asv_ids), ("infidelity", "infidelity (best scale)")
    if feature_A is None:
        return [make_row(name, NOT_APPLICABLE, _why_not_removable(attributions)) for name in names]
    # Of each sample: errors of its attributions and of shuffled ones, as they are and scaled, and of none at all.
    rng, batches = np.random.default_rng(config.seed), []
    ids: list[str] = []
    for probe in probes:
        features = RemovableFeatures.of(probe, feature_A, _values_of(attributions, probe.batch.sample_ids))
        own_BF = features.value_BF
        own_and_shuffled = own_BF, shuffle_within_samples(own_BF, features.feature_BF, rng)
        errors = [
            probe.fit(partial(infidelity, probe, features, value_BF, config, scaled=scaled))
            for scaled in (False, True)
            for value_BF in own_and_shuffled
        ]
        batches.append(np.stack([*errors, infidelity(probe, features, np.zeros_like(own_BF), config)], 1))
        ids.extend(probe.batch.sample_ids)
    # As shares of the error of no attributions at all, which is the squared change.
    values = np.concatenate(batches)
    unit = inputs.few_unit[inputs.few.sample_ids.get_indexer(pd.Index(ids))]
    moves = values[:, -1] > 1e-12 * max(1e-300, values[:, -1].max())
    if not moves.any():
        return [make_row(name, NOT_APPLICABLE, "No subset of features moves the prediction.") for name in names]
    values, unit = values[moves] / values[moves, -1:], np.unique(unit[moves], return_inverse=True)[1]
    return [_error_row(names[k], values[:, 2 * k], values[:, 2 * k + 1], unit, config) for k in (0, 1)]


def _error_row(name: str, own: Floats, random: Floats, unit: Ints, config: FaithfulnessConfig) -> dict[str, Any]:
    """Errors of what attributions predict beside those of shuffled ones, as shares of the squared change."""
    mean, low, high = mean_with_interval(own, unit, config)
    p = sign_flip_p_value(random - own, unit, config)
    scaled = ", after each sample's values are multiplied by the factor that fits best" if "scale" in name else ""
    outcome, note = outcome_of_test(bool(mean < random.mean() and mean < 1 and p <= LEVEL), unit)
    return make_row(
        name,
        outcome,
        f"Squared error of the change that sums of attributions predict when random subsets are removed{scaled}, as a share of the squared "
        f"change: 0 is perfect, 1 is no better than no attributions; shuffled within samples they have {random.mean():.2f} ("
        f"{format_p(p)}).{note}",
        mean,
        low,
        high,
        f"{random.mean():.2f} of shuffled ones",
    )


def _sensitivity_row(inputs: CheckInputs) -> dict[str, Any]:
    values = sensitivity(inputs.attributions, inputs.model, inputs.few, inputs.config)
    mean, low, high = mean_with_interval(values, inputs.few_unit, inputs.config)
    return make_row(
        "sensitivity",
        outcome_of(bool(mean < ALIKE)),
        f"Largest change of a sample's attributions, as a share of their length, when reads change by up to {inputs.config.radius:.0%}.",
        float(mean),
        float(low),
        float(high),
        "1.41 of unrelated ones",
    )


def check_random_weights(inputs: CheckInputs) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """Random weights, from the output down: rows, and the rank correlations that are left by depth."""
    config = inputs.config
    if not config.draws:
        return [make_row(name, NOT_MEASURED, tell_left_out("draws")) for name in WEIGHTS], pd.DataFrame()
    # Rank correlations of each sample, signed and of sizes, by stage and draw.
    own, held = inputs.values_of(inputs.few)
    left: dict[str, list[tuple[Floats, Floats]]] = {"none": [(rank_correlations(own, own, held, signed=True),) * 2]}
    for draw in range(config.draws):
        stages = randomise_weights(inputs.model, seed=config.seed + 1 + draw)
        for stage, other_model in inputs.show_progress(stages, "random weights"):
            other = recompute_attributions(inputs.attributions, other_model, inputs.few)
            pair = tuple(rank_correlations(own, other, held, signed=signed) for signed in (True, False))
            left.setdefault(stage, []).append(pair)  # type: ignore[arg-type]
    # Their means over samples.
    rows = []
    for stage, pairs in left.items():
        of_stage: dict[str, Any] = {"stage": stage}
        for k, name in enumerate(("signed", "size")):
            ends = mean_of_known(np.stack([pair[k] for pair in pairs]), inputs.few_unit, config)
            of_stage |= dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))
        rows.append(of_stage)
    table = pd.DataFrame(rows)
    return _weight_rows(table.iloc[-1]), table


def _weight_rows(last: pd.Series) -> list[dict[str, Any]]:
    """Rows about the last stage, at which all weights are random."""
    meanings = {
        "signed": "Rank correlation, within samples, with the attributions of the same network before training:",
        "size": "The same of sizes without signs, to which abundance alone may contribute:",
    }
    rows = []
    for (column, meaning), check in zip(meanings.items(), WEIGHTS, strict=True):
        value = last[column]
        if np.isnan(value):
            rows.append(make_row(check, NOT_APPLICABLE, "No sample has three features to rank."))
            continue
        ok = bool(value < ALIKE)
        reading = "what it learned decides them" if ok else "much of them was there before it learned"
        ends = last[f"{column}_low"], last[f"{column}_high"]
        rows.append(make_row(check, outcome_of(ok), f"{meaning} {reading}.", value, *ends, f"below {ALIKE}"))
    return rows


def mean_of_known(values_Kn: Floats, unit: Ints, config: FaithfulnessConfig) -> tuple[float, float, float]:
    """Mean over draws and samples, and its interval over samples; samples without a value are left out."""
    known = np.isfinite(values_Kn).all(0)
    if not known.any():
        return (float("nan"),) * 3
    unit = np.unique(unit[known], return_inverse=True)[1]
    mean, low, high = mean_with_interval(values_Kn[:, known].mean(0), unit, config)
    return float(mean), float(low), float(high)


def tell_left_out(setting: str) -> str:
    """That a check was not asked for, and how to ask for it."""
    return f"Left out by `{setting}=0`. Call `aam.explain.faithfulness(attributions, {setting}=1)`."
