"""Do two sets of samples, side a and side b, differ in where the model looks? Means, and p-values by permutation."""

from __future__ import annotations

import html
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, prod
from typing import Any

import numpy as np
import pandas as pd

from aam_nb.arrays import Bools, Ints
from aam_nb.config import AttentionConfig, UserError, count_noun, cut_list, make_config, telling_of_memory
from aam_nb.explain.attention.heads import NOT_IMPORTANCE
from aam_nb.explain.attention.maps import AttentionMaps, attention
from aam_nb.explain.ids import as_id_list
from aam_nb.study.columns import number_groups
from aam_nb.study.errors import UnknownIdError
from aam_nb.study.study import Study
from aam_nb.train.estimator import AAM
from aam_nb.train.memory import SHORT_OF_TOKENS

COMPARED = ("distance", "on_sample_token", "on_covariates", "on_itself")
"""Statistics of a head (see `heads.compute_head_statistics`) that are compared as multiples of what even attention gives: a side does not
differ merely because its samples have more ASVs, or more distant ones. `entropy_share` is compared as it is."""
AT_ONCE = 2**22
"""Most permuted differences held at once."""
LEVEL = 0.05
"""Adjusted p-value below which a difference is counted in the summary."""


class SidesError(UserError, ValueError):
    """Two sides cannot be compared."""


@dataclass(frozen=True, eq=False)
class AttentionDifference:
    """Differences in attention between samples a and samples b.

    Parameters
    ----------
    asvs
        By ASV (and token), the smallest p-value first: its pooling attention (mean over heads; 0 in a sample without it) `mean_a`,
        `mean_b`, `difference` (a less b), `p_value` (two-sided), `q_value` (Benjamini-Hochberg over all rows). An ASV that only one
        side holds differs by that alone: `in_a`, `in_b` are the shares of samples that hold it, and `times_even_a`, `times_even_b` its
        mean attention in those, as a multiple of what even attention gives.
    heads
        The same means and p-values by `level`, `layer`, `head` and `statistic`, adjusted over all rows: statistics of heads as multiples of
        what even attention gives (`distance`, `on_sample_token`, `on_covariates`, `on_itself`), and `entropy_share`.
    num_a, num_b
        Samples of each side.
    permuted
        What was exchanged: samples, whole groups, or samples within groups.
    num_permutations
        Ways of labelling that p-values rest on, the observed one included.
    exact
        Whether these are all there are.
    caption
        What a reader must know of it.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=16, n_asvs=60, seed=0)
    >>> model = aam.AAM(aam.ModelConfig(width=16, num_layers=1))
    >>> model = model.fit(study, target="age", config=aam.TrainConfig(epochs=1, progress=False))
    >>> ids = study.sample_ids
    >>> difference = aam.explain.compare_attention(model, study, a=ids[:4], b=ids[4:8])
    >>> difference.num_permutations, difference.exact
    (70, True)
    >>> difference.asvs.columns[:5].tolist()
    ['mean_a', 'mean_b', 'difference', 'p_value', 'q_value']
    """

    asvs: pd.DataFrame
    heads: pd.DataFrame
    num_a: int
    num_b: int
    permuted: str
    num_permutations: int
    exact: bool
    caption: str = NOT_IMPORTANCE

    @property
    def note(self) -> str:
        """A sentence where no p-value can be small; empty otherwise."""
        if not self.exact or LEVEL * self.num_permutations >= 2:
            return ""
        return (
            f"There are {self.num_permutations} ways to exchange {self.permuted}: too few for a p-value below {LEVEL}."
        )

    def to_frame(self) -> pd.DataFrame:
        """The table by ASV."""
        return self.asvs.copy()

    def plot(self, **artist_kw: Any) -> Any:
        """A matplotlib Axes."""
        from aam_nb.show.plots.attention import attention_difference

        return attention_difference(self, **artist_kw)

    def __repr__(self) -> str:
        num_asvs, num_heads = (int((table["q_value"] < LEVEL).sum()) for table in (self.asvs, self.heads))
        kind = "all" if self.exact else "random"
        note = f" {self.note}" if self.note else ""
        return (
            f"AttentionDifference({self.num_a} against {self.num_b} samples: {num_asvs} of {len(self.asvs)} ASVs and {num_heads} of "
            f"{len(self.heads)} head statistics differ at q < {LEVEL}; {self.num_permutations} {kind} permutations of "
            f"{self.permuted}).{note} {self.caption}"
        )

    def _repr_html_(self) -> str:
        tables = (self.asvs.head(10).to_html(escape=True), self.heads.head(10).to_html(escape=True, index=False))
        return f"<b>{html.escape(repr(self))}</b>" + "".join(tables)


@telling_of_memory("comparing attention", SHORT_OF_TOKENS)
def compare_attention(
    source: AAM | AttentionMaps,
    study: Study,
    *,
    a: Sequence[str],
    b: Sequence[str],
    group: str | None = None,
    config: AttentionConfig | None = None,
    **settings: Any,
) -> AttentionDifference:
    """Where attention differs between two sides: by ASV at the pooling level, and in the statistics of heads.

    Parameters
    ----------
    source
        A trained model, or maps of all these samples with level pooling; level asv adds its heads.
    study
        Holds the samples, and `group`.
    a, b
        Ids of the samples of each side.
    group
        A metadata column of what repeats (subject, host, study). Where each of its values is on one side, whole groups are exchanged;
        where one is on both, samples are exchanged within groups. A sample without a value is a group by itself. By default every
        sample is exchanged freely, which is right only where samples are independent.
    config, **settings
        Fields of `AttentionConfig`: `num_permutations`, `seed`.

    Raises
    ------
    SidesError
        A side is empty, or a sample is on both.
    UnknownIdError
        The study or the maps lack a sample; there is no column `group`.
    NotFittedError, EmptySampleError, ConfigError
        As `attention`.

    References
    ----------
    Phipson & Smyth 2010, Stat. Appl. Genet. Mol. Biol. 9:39 (p-values of random permutations). Benjamini & Hochberg 1995, J. R. Stat.
    Soc. B 57:289, by scipy.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=16, n_asvs=60, seed=0)
    >>> model = aam.AAM(aam.ModelConfig(width=16, num_layers=1))
    >>> model = model.fit(study, target="age", config=aam.TrainConfig(epochs=1, progress=False))
    >>> old = study.metadata["age"] > study.metadata["age"].median()
    >>> difference = aam.explain.compare_attention(model, study, a=study.sample_ids[old], b=study.sample_ids[~old])
    >>> difference.num_a, difference.num_b
    (8, 8)
    """
    config = make_config(AttentionConfig, config, settings)
    a, b = as_id_list("a", a), as_id_list("b", b)
    _require_sides(study, a, b)
    # The attention of all samples, and what may be exchanged between the sides.
    values = None if group is None else study.column(group).loc[[*a, *b]]
    maps = _require_maps(source, study, [*a, *b], config)
    is_a = np.arange(len(a) + len(b)) < len(a)
    unit, blocks, permuted = find_exchangeable_units(is_a, values)
    labels, exact = draw_labellings(is_a, unit, blocks, config.num_permutations, config.seed)
    # Both tables, the smallest p-value first.
    asvs = _compare_asvs(_tabulate_pooling(maps, [*a, *b]), is_a, labels, exact=exact).sort_values(
        "p_value", kind="stable"
    )
    heads = compare_columns(_tabulate_heads(maps, [*a, *b]), is_a, labels, exact=exact).reset_index()
    for frame in (asvs, heads):
        frame.attrs["caption"] = NOT_IMPORTANCE
    heads = heads.sort_values("p_value", kind="stable")
    return AttentionDifference(asvs, heads, len(a), len(b), permuted, len(labels) + (not exact), exact)


def _require_maps(
    source: AAM | AttentionMaps, study: Study, samples: list[str], config: AttentionConfig
) -> AttentionMaps:
    """The maps given, or those of the model given."""
    if isinstance(source, AAM):
        return attention(source, study, samples=samples, config=config, levels=("asv", "pooling"))
    lacking = [sample for sample in samples if sample not in source.pooling]
    if lacking:
        raise UnknownIdError(
            f"{len(lacking)} of {len(samples)} samples are not in the maps of level pooling ({cut_list(lacking)}). Expected all of them. "
            "Give the model instead of maps, or `aam.explain.attention(model, study, samples=[*a, *b])`."
        )
    return source


def _compare_asvs(table: pd.DataFrame, is_a: Bools, labels: Bools, *, exact: bool) -> pd.DataFrame:
    """Differences in pooling attention, beside how many samples hold an ASV and how it is attended in those."""
    held = table.notna()
    times_even = table.mul(held.sum(axis=1), axis=0)
    return compare_columns(table.fillna(0.0), is_a, labels, exact=exact).assign(
        in_a=held[is_a].mean(),
        in_b=held[~is_a].mean(),
        times_even_a=times_even[is_a].mean(),
        times_even_b=times_even[~is_a].mean(),
    )


def _require_sides(study: Study, a: list[str], b: list[str]) -> None:
    """Refuse sides that cannot be compared."""
    shared = sorted(set(a) & set(b))
    if shared or not a or not b:
        wrong = (
            f"{count_noun(len(shared), 'sample')} {'is' if len(shared) == 1 else 'are'} on both sides ({cut_list(shared)})"
            if shared
            else f"Side a has {count_noun(len(a), 'sample')}, side b {len(b)}"
        )
        raise SidesError(
            f"{wrong}. Expected two sides with samples of their own. Take them from the metadata: "
            "`a=study.sample_ids[study.metadata['site'] == 'gut']`."
        )
    study.keep_samples([*a, *b])


def find_exchangeable_units(is_a: Bools, group: pd.Series | None) -> tuple[Ints, list[Ints], str]:
    """The unit of each sample that may change sides, the blocks of units within which labels are exchanged, and that in words."""
    samples = np.arange(len(is_a))
    if group is None:
        return samples, [samples], "samples"
    code = number_groups(group, len(is_a))
    num = int(code.max()) + 1
    on_a, on_b = (np.bincount(code[side], minlength=num) > 0 for side in (is_a, ~is_a))
    if (on_a & on_b).any():
        return samples, [np.flatnonzero(code == g) for g in range(num)], f"samples within values of {group.name}"
    return code, [np.arange(num)], f"whole values of {group.name}"


def draw_labellings(is_a: Bools, unit: Ints, blocks: list[Ints], most: int, seed: int) -> tuple[Bools, bool]:
    """Which samples are on side a, by permutation: all ways there are where these are no more than `most`, else that many random ones.

    Returns
    -------
    Labels (permutations x samples), and whether they are all there are, the observed one included.
    """
    side = np.zeros(int(unit.max()) + 1, dtype=bool)
    side[unit[is_a]] = True
    sizes = [int(side[block].sum()) for block in blocks]
    total = prod(comb(len(block), k) for block, k in zip(blocks, sizes, strict=True))
    exact = total <= most
    labels = np.zeros((total if exact else most, len(side)), dtype=bool)
    if exact:
        ways = (itertools.combinations(block, k) for block, k in zip(blocks, sizes, strict=True))
        for row, chosen in zip(labels, itertools.product(*ways), strict=True):
            row[list(itertools.chain(*chosen))] = True
    else:
        rng = np.random.default_rng(seed)
        for block, k in zip(blocks, sizes, strict=True):
            order = rng.random((most, len(block))).argsort(1)
            np.put_along_axis(labels, block[order[:, :k]], True, axis=1)
    return labels[:, unit], exact


def compare_columns(table: pd.DataFrame, is_a: Bools, labels: Bools, *, exact: bool) -> pd.DataFrame:
    """Means of both sides of each column of a table (samples x columns), their difference, its p-value and adjusted p-value.

    Columns with a missing value have no p-value.
    """
    from scipy.stats import false_discovery_control

    values = table.to_numpy(float)
    mean_a, mean_b = values[is_a].mean(0), values[~is_a].mean(0)
    difference = mean_a - mean_b
    least = np.abs(difference) * (1 - 1e-9) - 1e-12  # a labelling as good as the observed one is not missed by rounding
    extreme, rows = np.zeros(len(difference)), max(1, AT_ONCE // max(1, len(difference)))
    for start in range(0, len(labels), rows):
        on_a = labels[start : start + rows].astype(float)
        num_a = on_a.sum(1, keepdims=True)
        weights = on_a / num_a - (1 - on_a) / (labels.shape[1] - num_a)
        extreme += (np.abs(weights @ values) >= least).sum(0)
    defined = ~np.isnan(difference)
    p_value = np.where(defined, (extreme + (not exact)) / (len(labels) + (not exact)), np.nan)
    q_value = np.full(len(difference), np.nan)
    if defined.any():
        q_value[defined] = false_discovery_control(p_value[defined])
    columns = {"mean_a": mean_a, "mean_b": mean_b, "difference": difference, "p_value": p_value, "q_value": q_value}
    return pd.DataFrame(columns, index=table.columns)


def _tabulate_pooling(maps: AttentionMaps, samples: list[str]) -> pd.DataFrame:
    """Pooling attention, mean over heads: samples x ASVs (and the tokens), missing where a sample lacks one."""
    columns = {sample: maps.pooling[sample]["mean"] for sample in samples}
    return pd.DataFrame(columns).T.rename_axis(columns="asv_id")


def _tabulate_heads(maps: AttentionMaps, samples: list[str]) -> pd.DataFrame:
    """Statistics of heads that vary: samples x (level, layer, head, statistic)."""
    names = ["level", "layer", "head", "statistic"]
    rows = maps.statistics[maps.statistics["level"].isin(["asv", "pooling"])].copy()
    even = rows["distance_even"].where(rows["distance_even"] > 0)
    rows["distance"] /= even
    for name in COMPARED[1:]:
        rows[name] *= rows["keys"]
    table = rows.pivot(index="unit", columns=names[:3], values=[*COMPARED, "entropy_share"]).loc[samples]
    table = table.rename_axis(columns=["statistic", *names[:3]]).reorder_levels(names, axis=1)
    return table.loc[:, (table.nunique() > 1).to_numpy()]
