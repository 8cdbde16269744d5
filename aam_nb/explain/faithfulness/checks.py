"""The checks of `faithfulness`, each as rows of its table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm.auto import tqdm

from aam_nb.config import FaithfulnessConfig
from aam_nb.explain.attribution.probe import Reference, probes
from aam_nb.explain.attribution.result import Attributions
from aam_nb.explain.faithfulness.again import explained_again, probed
from aam_nb.explain.faithfulness.deletion_insertion import KINDS, SIGN_ONLY, Players, feature_of, judged, movements
from aam_nb.explain.faithfulness.infidelity import infidelity, sensitivity, shuffled
from aam_nb.explain.faithfulness.random_weights import randomised, ranked_alike
from aam_nb.explain.faithfulness.resampling import interval, sign_flip
from aam_nb.study.study import Study
from aam_nb.train.estimator import AAM

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
PASSED, FAILED, NOT_MEASURED, NOT_APPLICABLE, TOLD = "passed", "failed", "not measured", "does not apply", "told"
"""Outcomes; `TOLD` is of numbers that are neither good nor bad."""
ALIKE = 0.5
"""Rank correlation from which attributions count as alike."""
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
    """What all checks work on: attributions, some of their samples, and how to go about it.

    Parameters
    ----------
    study
        The samples chosen, with `unit`, the group of each.
    few
        The samples of the costlier checks, with `few_unit`.
    """

    attributions: Attributions
    model: AAM
    study: Study
    unit: Ints
    few: Study
    few_unit: Ints
    config: FaithfulnessConfig

    def values(self, study: Study) -> tuple[Array, npt.NDArray[np.bool_]]:
        """Attributions of some samples, and which features each has; n_samples x n_features."""
        rows = self.attributions.sample_ids.get_indexer(study.sample_ids)
        part = self.attributions.values[rows]
        held = part.copy()
        held.data = np.ones_like(held.data)
        return part.toarray(), held.toarray() > 0

    def bar(self, steps: Iterable[Any], desc: str) -> Any:
        """The steps, with a progress bar where the model shows them."""
        return tqdm(steps, desc=desc, delay=2, disable=not self.model.shows_progress)


def row(
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


def verdict_of(ok: bool) -> str:
    """The outcome of a check that was made."""
    return PASSED if ok else FAILED


def tested(ok: bool, unit: Ints) -> tuple[str, str]:
    """Outcome of a test by signs of groups, and what to add to its meaning where there are too few of them for any p to be small."""
    groups = int(unit.max()) + 1
    if 2.0 ** (1 - groups) > LEVEL:
        return NOT_MEASURED, f" These are {groups} groups or samples, too few to tell. Explain more."
    return verdict_of(ok), ""


def completeness(asked: CheckInputs) -> list[dict[str, Any]]:
    """Do a sample's attributions sum to what they explain?"""
    found = asked.attributions
    if not found.complete or not np.isfinite(found.largest_gap):
        how = found.method.replace("_", " ")
        return [row("completeness", NOT_APPLICABLE, f"Attributions by {how} promise no sum.")]
    gap = found.gaps()
    return [
        row(
            "completeness",
            verdict_of(gap.max() <= COMPLETE),
            f"What a sample's attributions miss of the change they explain: at most {gap.max():.2%}, half of the samples "
            f"{gap.median():.2%} or less.",
            gap.max(),
            gap.min(),
            gap.max(),
            f"at most {COMPLETE:.0%}",
        )
    ]


def curves(asked: CheckInputs) -> tuple[list[dict[str, Any]], pd.DataFrame, pd.DataFrame]:
    """Deletion and insertion: rows, curves and areas."""
    found, config = asked.attributions, asked.config
    output, nothing = probed(found)[0], Reference.of(asked.model, asked.study, "empty")
    asv_ids, each = probes(asked.model, asked.study, output, nothing, desc="delete and insert")
    feature_A = feature_of(found, asv_ids)
    if feature_A is None:
        return [row(name, NOT_APPLICABLE, _no_players(found)) for name in CURVES], pd.DataFrame(), pd.DataFrame()
    rng, parts = np.random.default_rng(config.seed), []
    ids: list[str] = []
    for probe in each:
        players = Players.of(probe, feature_A, _rows(found, probe.batch.sample_ids))
        parts.append(movements(players.ask(probe), players.value_BF, players.share_BF, config, rng))
        ids.extend(probe.batch.sample_ids)
    moved = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    unit = asked.unit[asked.study.sample_ids.get_indexer(pd.Index(ids))]
    table, area = judged(moved, unit, config)
    rows = [_curve_row(name, area[area["kind"] == kind].set_index("order"), unit) for name, (kind, _) in CURVES.items()]
    return rows, table, area


AGAINST = {
    "random": "a random order",
    "abundance": "the order of abundance, which knows no direction,",
    SIGN_ONLY: "the same signs with sizes drawn at random",
}


def _curve_row(name: str, of_kind: Any, unit: Ints) -> dict[str, Any]:
    """What the attributions win by against an order; against their own signs it is told, not judged."""
    kind, order = CURVES[name]
    own, other, random = (of_kind.loc[key] for key in ("attribution", order, "random"))
    if order == SIGN_ONLY:
        won, outcome = float(random["difference"]), TOLD
        alone = f" Of what they win against a random order, signs alone win {1 - float(other['difference']) / won:.0%}."
        but = alone if won > 0 else ""
    else:
        outcome, but = tested(bool(other["difference"] > 0 and other["p_value"] <= LEVEL), unit)
    way = "Taking away" if kind == "deletion" else "Putting in"
    p = "" if np.isnan(other["p_value"]) else f" (p = {other['p_value']:.4f})"
    return row(
        name,
        outcome,
        f"{way} first what was given most moves the prediction by {own['area']:.0%} of its way on average, {AGAINST[order]} by "
        f"{other['area']:.0%}{p}.{but}",
        other["difference"],
        other["difference_low"],
        other["difference_high"],
        f"area {other['area']:.3f} of {order} order, own {own['area']:.3f}",
    )


def _no_players(found: Attributions) -> str:
    if found.members is None:
        return f"A {found.level} cannot be taken away from a sample as an ASV can."
    return f"These {found.level} sets share ASVs, so they cannot be taken away one by one. Explain one rank, or level 'asv'."


def _rows(found: Attributions, sample_ids: Iterable[str]) -> Any:
    return found.values[found.sample_ids.get_indexer(pd.Index(list(sample_ids)))]


def perturbed(asked: CheckInputs) -> list[dict[str, Any]]:
    """Infidelity and sensitivity."""
    return [*_infidelity(asked), _sensitivity(asked)]


def _infidelity(asked: CheckInputs) -> list[dict[str, Any]]:
    found, config = asked.attributions, asked.config
    output, reference = probed(found)
    asv_ids, each = probes(asked.model, asked.few, output, reference, desc="infidelity")
    feature_A, names = feature_of(found, asv_ids), ("infidelity", "infidelity (best scale)")
    if feature_A is None:
        return [row(name, NOT_APPLICABLE, _no_players(found)) for name in names]
    rng, parts = np.random.default_rng(config.seed), []
    ids: list[str] = []
    for probe in each:
        players = Players.of(probe, feature_A, _rows(found, probe.batch.sample_ids))
        both = players.value_BF, shuffled(players.value_BF, players.feature_BF, rng)
        errors = [infidelity(probe, players, v, config, scaled=scaled) for scaled in (False, True) for v in both]
        parts.append(np.stack([*errors, infidelity(probe, players, np.zeros_like(both[0]), config)], 1))
        ids.extend(probe.batch.sample_ids)
    values = np.concatenate(parts)
    unit = asked.few_unit[asked.few.sample_ids.get_indexer(pd.Index(ids))]
    moves = values[:, -1] > 1e-12 * max(1e-300, values[:, -1].max())
    if not moves.any():
        return [row(name, NOT_APPLICABLE, "No subset of features moves the prediction.") for name in names]
    values, unit = values[moves] / values[moves, -1:], np.unique(unit[moves], return_inverse=True)[1]
    return [_error_row(names[k], values[:, 2 * k], values[:, 2 * k + 1], unit, config) for k in (0, 1)]


def _error_row(name: str, own: Array, random: Array, unit: Ints, config: FaithfulnessConfig) -> dict[str, Any]:
    """Errors of what attributions foresee beside those of shuffled ones, as shares of the squared change."""
    mean, low, high = interval(own, unit, config)
    p = sign_flip(random - own, unit, config)
    first = ", each sample's values being scaled as suits them best" if "scale" in name else ""
    outcome, but = tested(bool(mean < random.mean() and mean < 1 and p <= LEVEL), unit)
    return row(
        name,
        outcome,
        f"Squared error of what sums of attributions foresee when random subsets are shut out{first}, as a share of the squared change: 0 "
        f"is perfect, 1 is no better than none; dealt out anew within samples they have {random.mean():.2f} (p = {p:.4f}).{but}",
        mean,
        low,
        high,
        f"{random.mean():.2f} of shuffled ones",
    )


def _sensitivity(asked: CheckInputs) -> dict[str, Any]:
    values = sensitivity(asked.attributions, asked.model, asked.few, asked.config)
    mean, low, high = interval(values, asked.few_unit, asked.config)
    return row(
        "sensitivity",
        verdict_of(bool(mean < ALIKE)),
        f"Largest change of a sample's attributions, as a share of their length, when reads change by up to {asked.config.radius:.0%}.",
        float(mean),
        float(low),
        float(high),
        "1.41 of unrelated ones",
    )


def weights(asked: CheckInputs) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """Random weights, from the output down: rows, and the rank correlations that are left by depth."""
    config = asked.config
    names = WEIGHTS
    if not config.draws:
        return [row(n, NOT_MEASURED, left_out("draws")) for n in names], pd.DataFrame()
    own, held = asked.values(asked.few)
    left: dict[str, list[tuple[Array, Array]]] = {"none": [(ranked_alike(own, own, held, signed=True),) * 2]}
    for draw in range(config.draws):
        for stage, other in asked.bar(randomised(asked.model, seed=config.seed + 1 + draw), "random weights"):
            found = explained_again(asked.attributions, other, asked.few)
            both = tuple(ranked_alike(own, found, held, signed=signed) for signed in (True, False))
            left.setdefault(stage, []).append(both)  # type: ignore[arg-type]
    rows = []
    for stage, pairs in left.items():
        of_stage: dict[str, Any] = {"stage": stage}
        for k, what in enumerate(("signed", "size")):
            ends = mean_interval(np.stack([pair[k] for pair in pairs]), asked.few_unit, config)
            of_stage |= dict(zip((what, f"{what}_low", f"{what}_high"), ends, strict=True))
        rows.append(of_stage)
    table = pd.DataFrame(rows)
    last = table.iloc[-1]
    said = [
        (
            "signed",
            names[0],
            "Rank correlation, within samples, with the attributions of the same network before training:",
        ),
        ("size", names[1], "The same of sizes without signs, to which abundance alone may contribute:"),
    ]
    found_rows = []
    for what, name, words in said:
        value = last[what]
        if np.isnan(value):
            found_rows.append(row(name, NOT_APPLICABLE, "No sample has three features to rank."))
            continue
        ok = bool(value < ALIKE)
        meaning = f"{words} {'what it learned decides them' if ok else 'much of them was there before it learned'}."
        found_rows.append(
            row(name, verdict_of(ok), meaning, value, last[f"{what}_low"], last[f"{what}_high"], f"below {ALIKE}")
        )
    return found_rows, table


def mean_interval(values_Kn: Array, unit: Ints, config: FaithfulnessConfig) -> tuple[float, float, float]:
    """Mean over draws and samples, and its interval over samples; samples without a value are left out."""
    known = np.isfinite(values_Kn).all(0)
    if not known.any():
        return (float("nan"),) * 3
    unit = np.unique(unit[known], return_inverse=True)[1]
    mean, low, high = interval(values_Kn[:, known].mean(0), unit, config)
    return float(mean), float(low), float(high)


def left_out(setting: str) -> str:
    return f"Left out by `{setting}=0`. Call `aam.explain.faithfulness(attributions, {setting}=1)`."
