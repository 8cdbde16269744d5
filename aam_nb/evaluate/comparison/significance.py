"""Is a difference more than chance? Tests and null distributions of comparisons over folds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from aam_nb.arrays import Array, Floats, Ints
from aam_nb.baselines.scoring import leading_score, leading_scores
from aam_nb.config import UserError, count_noun
from aam_nb.study.columns import number_groups

PERMUTATIONS_AT_ONCE = 200


class BlockError(UserError, ValueError):
    """The truth cannot be permuted within these blocks."""


def fold_score(truth: Array, guess: Array, *, classes: bool, spread: float) -> float:
    """What a fold says of the leading metric, defined also where the truth is constant in it.

    Balanced accuracy, or for numbers one minus the mean squared error over `spread`, the variance of the truth over all samples: the
    average of these over folds of one size is the R² of all predictions together. R² within a fold is not used: it divides by the
    fold's own variance, which is near 0 where a fold is one host.
    """
    if classes:
        return leading_score(truth, guess, classes=True)
    return 1 - float(np.mean((truth.astype(float) - guess.astype(float)) ** 2)) / spread


def corrected_t_test(differences: Sequence[float] | Array, test_over_train: float) -> float:
    """Two-sided p-value that differences between two models over resampled folds average zero.

    The folds' training sets overlap, so the plain variance of the mean is too small; it is raised from s² / J to
    (1 / J + n_test / n_train) s², for J folds, and t has J - 1 degrees of freedom.

    Parameters
    ----------
    differences
        One for each fold of each repeat; NaN is left out.
    test_over_train
        Samples tested over samples trained on, in a fold.

    Returns
    -------
    p in 0 to 1; NaN with fewer than two differences, 1 where all are zero.

    References
    ----------
    Nadeau & Bengio 2003, Machine Learning 52:239.
    """
    from scipy.stats import t as student

    defined = np.asarray(differences, dtype=float)
    defined = defined[~np.isnan(defined)]
    if len(defined) < 2:
        return float("nan")
    mean, variance = defined.mean(), defined.var(ddof=1)
    if not defined.any():
        return 1.0
    error = np.sqrt((1 / len(defined) + test_over_train) * variance)
    if error <= 1e-12 * abs(mean):
        return 0.0
    return float(2 * student.sf(abs(mean) / error, len(defined) - 1))


def holm(p_values: Sequence[float] | Array) -> Floats:
    """p-values adjusted for their number by Holm's step-down rule (Holm 1979, Scand. J. Statist. 6:65); NaN stays NaN."""
    p = np.asarray(p_values, dtype=float)
    adjusted = np.full(len(p), np.nan)
    defined = np.flatnonzero(~np.isnan(p))
    order = defined[np.argsort(p[defined], kind="stable")]
    stepped = np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1))
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


class Exchange:
    """Between which samples the truth may be exchanged, if predictions knew nothing of it.

    Whole groups are exchanged where the truth is constant in every group (samples of one host then are copies of one label), within
    blocks where there are any. Else samples are: within blocks, or, without blocks, within groups, because samples of two groups are
    not alike to begin with.

    Parameters
    ----------
    truth
        Of each sample.
    group, block
        Of each sample, or None.

    Raises
    ------
    BlockError
        A block is missing, or whole groups are to be exchanged and one lies in two blocks.
    """

    def __init__(self, truth: Array, *, group: pd.Series | None = None, block: pd.Series | None = None) -> None:
        self.truth, n = truth, len(truth)
        unit = number_groups(group, n)
        of_unit = pd.Series(truth).groupby(unit)
        self.whole = group is not None and bool((of_unit.nunique() <= 1).all())
        self.unit = unit if self.whole else np.arange(n)
        self.first = np.unique(self.unit, return_index=True)[1]  # a sample of each unit
        if block is not None:
            if block.isna().any():
                raise BlockError(
                    f"{count_noun(int(block.isna().sum()), 'sample has', 'samples have')} no {block.name!r}. A block is needed for every "
                    f"sample. Drop them with `study.keep_samples(study.metadata[{block.name!r}].notna())`."
                )
            self.block = pd.factorize(block)[0]
            if self.whole and (pd.Series(self.block).groupby(self.unit).nunique() > 1).any():
                raise BlockError(
                    f"Values of {group.name!r} lie in several of {block.name!r}. Whole groups are exchanged, so each must lie in one "  # type: ignore[union-attr]
                    "block. Use another block, or none: `block=''`."
                )
            self.description = f"{group.name if self.whole and group is not None else 'samples'} within {block.name}"
        elif group is not None and not self.whole:
            self.block, self.description = unit, f"samples within {group.name}"
        else:
            self.block = np.zeros(n, dtype=np.int64)
            self.description = f"whole {group.name}" if group is not None else "samples"
        self.members = [np.flatnonzero(self.block[self.first] == b) for b in np.unique(self.block)]

    def draw(self, rng: np.random.Generator) -> Ints:
        """For each sample, the number of the sample whose truth it gets."""
        taken_from = np.arange(len(self.first))
        for units_of_block in self.members:
            taken_from[units_of_block] = rng.permutation(units_of_block)
        return self.first[taken_from[self.unit]]

    def draws(self, count: int, seed: int) -> Iterator[Ints]:
        """`count` draws in portions, shape (at most `PERMUTATIONS_AT_ONCE`, n_samples)."""
        rng = np.random.default_rng(seed)
        for start in range(0, count, PERMUTATIONS_AT_ONCE):
            yield np.array([self.draw(rng) for _ in range(min(PERMUTATIONS_AT_ONCE, count - start))])


def permutation_null(
    guesses: dict[str, list[Array]], exchange: Exchange, *, classes: bool, count: int, seed: int
) -> pd.DataFrame:
    """How well each model's predictions fit a truth that was exchanged at random.

    Parameters
    ----------
    guesses
        By model, its predictions of the samples in each repeat.
    exchange
        The truth, and how it may be exchanged; all models see the same permutations.
    classes
        Whether the leading metric is balanced accuracy, else R².
    count, seed
        Of the permutations.

    Returns
    -------
    One row per model: `contender`, `value` (average over repeats), `null_mean`, `null_high` (95 % quantile), `p` (share of permutations
    that do as well, the observed one counted among them), `exchanged` (what was exchanged), `moved` (share of samples whose truth
    became another).
    """
    truth = exchange.truth
    if classes:  # numbers are compared faster than text
        truth, names = pd.factorize(truth)
        guesses = {name: [pd.Index(names).get_indexer(g) for g in repeats] for name, repeats in guesses.items()}
    null_scores: dict[str, list[Array]] = {name: [] for name in guesses}
    moved = []
    for rows_PN in exchange.draws(count, seed):
        permuted_PN = truth[rows_PN]
        moved.append((permuted_PN != truth).mean(1))
        for name, repeats in guesses.items():
            null_scores[name].append(
                np.mean([leading_scores(permuted_PN, g, classes=classes) for g in repeats], axis=0)
            )
    rows = []
    for name, repeats in guesses.items():
        value = float(np.mean([leading_score(truth, g, classes=classes) for g in repeats]))
        null = np.concatenate(null_scores[name])
        rows.append(
            {
                "contender": name,
                "value": value,
                "null_mean": float(np.mean(null)),
                "null_high": float(np.quantile(null, 0.95)),
                "p": float((1 + (null >= value - 1e-12).sum()) / (1 + count)),
                "exchanged": exchange.description,
                "moved": float(np.concatenate(moved).mean()),
            }
        )
    return pd.DataFrame(rows)
