"""Attention maps: where the model looks. This is not importance; see `attribution` for that."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import torch

from aam_nb.arrays import Floats
from aam_nb.config import AttentionConfig, ConfigError, count_noun, cut_list, make_config, telling_of_memory
from aam_nb.explain.attention.heads import NOT_IMPORTANCE, STATISTICS, HeadMaps, correlate_heads
from aam_nb.explain.attention.recorder import AttentionRecorder
from aam_nb.explain.ids import as_id_list
from aam_nb.study.errors import UnknownIdError
from aam_nb.study.study import Study
from aam_nb.train.estimator import AAM

LEVELS = ("nucleotide", "nucleotide_pooling", "asv", "pooling")
"""Levels of attention, from the nucleotides upwards."""


@dataclass(frozen=True, eq=False)
class AttentionMaps:
    """Where a model looks: among an ASV's nucleotides, among a sample's ASVs, and from these to the sample.

    Parameters
    ----------
    pooling
        By sample id: a table of ASVs (and the sample token) x heads, each column summing to 1, with their `mean` as last column,
        sorted by it.
    asv
        By sample id: `HeadMaps` among the sample token, covariates and the ASVs kept, all others as one.
    nucleotide
        By ASV: `HeadMaps` among its positions at the model's last scale, named by their nucleotides, which count from 1 at the 5' end.
        Local attention at finer scales is not among them.
    nucleotide_pooling
        By ASV: a table of positions x heads, as `pooling`, in their order.
    statistics
        Numbers of each head, by sample or ASV: see `heads.tabulate_statistics`.
    kept
        Of each sample, at level asv: `asvs` it has, `kept` of them one by one, and the share of `pooling` attention on ASVs that these
        hold.
    rolled
        By sample or ASV: its rollout.
    caption
        What a reader must know of it.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=16, n_asvs=60, seed=0)
    >>> model = aam.AAM(aam.ModelConfig(width=16, num_layers=1))
    >>> model = model.fit(study, target="age", config=aam.TrainConfig(epochs=1, progress=False))
    >>> maps = aam.explain.attention(model, study, samples=["S0000", "S0001"], levels=("asv", "pooling"))
    >>> maps.heads()[["level", "layer", "head", "n"]].shape
    (8, 4)
    >>> round(float(maps.rollout("S0000").sum()), 3)
    1.0
    """

    pooling: dict[str, pd.DataFrame]
    asv: dict[str, HeadMaps] = field(default_factory=dict)
    nucleotide: dict[str, HeadMaps] = field(default_factory=dict)
    nucleotide_pooling: dict[str, pd.DataFrame] = field(default_factory=dict)
    statistics: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["level", "unit"]))
    kept: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["asvs", "kept", "pooling"]))
    rolled: dict[str, pd.Series] = field(default_factory=dict)
    caption: str = NOT_IMPORTANCE

    @property
    def rule(self) -> str:
        """What the maps at level asv keep of a sample, a sentence; empty where they keep all."""
        cut = self.kept[self.kept["kept"] < self.kept["asvs"]]
        if cut.empty:
            return ""
        return (
            f"Of each sample the {int(cut['kept'].max())} ASVs with most pooling attention (mean over heads) are shown one by one, and all "
            f"others as one row (their mean) and one column (their sum); in {len(cut)} of {len(self.kept)} samples there are others."
        )

    def heads(self) -> pd.DataFrame:
        """One row per level, layer and head (pooling is layer 0): means over samples, or over ASVs at nucleotide level, `n` of them.

        Returns
        -------
        The columns of `heads.compute_head_statistics`. Distances are in nucleotides at nucleotide level, in branch-length units
        (substitutions per site, along the tree) at level asv, and NaN without a tree. All are of whole maps, also where few ASVs are kept.
        """
        keys = ["level", "layer", "head"]
        groups = self.statistics.groupby(keys, sort=False)
        frame = groups[list(STATISTICS)].mean().assign(n=groups.size()).reset_index()
        frame.attrs["caption"] = self.caption
        return frame

    def similarity(self, level: str = "asv") -> pd.DataFrame:
        """Correlation between the maps of heads, averaged over samples or ASVs: do they look at the same things?

        At level asv the maps are those of the ASVs kept.

        Raises
        ------
        UnknownIdError
            There are no maps of that level.
        """
        maps = self._require_level(level)
        first = next(iter(maps.values()))
        if isinstance(first, HeadMaps):
            L, H = first.weights.shape[:2]
            names = pd.Index([f"layer_{k + 1}_head_{h + 1}" for k in range(L) for h in range(H)])
        else:
            names = first.columns[:-1]
        return correlate_heads(map(_flatten_heads, maps.values()), names)

    def of(self, name: str, *, level: str) -> Any:
        """Maps of one sample, or of one ASV at the nucleotide levels: `HeadMaps`, or a table at the pooling levels.

        Raises
        ------
        UnknownIdError
            There are no maps of that level, or of that sample or ASV.
        """
        maps = self._require_level(level)
        if name not in maps:
            kind = "asvs" if level.startswith("nucleotide") else "samples"
            raise UnknownIdError(
                f"{name!r} is not among the {len(maps)} {kind} with maps of level {level!r} ({cut_list(maps, 3)}). Expected one of "
                f"those. Pass it in `aam.explain.attention(model, study, {kind}=[...])`."
            )
        return maps[name]

    def rollout(self, name: str, *, level: str = "asv") -> pd.Series:
        """Attention followed through all layers to the pooled vector (Abnar & Zuidema 2020, arXiv 2005.00928).

        In each layer half of a token is itself, by the residual path, and half is mixed from others as heads attend on average; pooling
        has no residual path. Made of whole maps, also where few ASVs are kept.

        Parameters
        ----------
        name
            A sample, or an ASV at level "nucleotide".
        level
            "asv" or "nucleotide".

        Returns
        -------
        Shares that sum to 1: of the tokens and ASVs of a sample, the largest first; of the positions of an ASV, in their order.

        Raises
        ------
        UnknownIdError
            There are no maps of that level, or of that sample or ASV.
        """
        if level not in ("asv", "nucleotide"):
            raise UnknownIdError(f"There is no rollout of level {level!r}. Expected 'asv' or 'nucleotide'. Name one.")
        self.of(name, level=level)
        return self.rolled[name].copy()

    def to_frame(self, level: str = "pooling") -> pd.DataFrame:
        """All maps of a level in one table.

        Returns
        -------
        "pooling": index `sample_id`, columns `asv_id`, heads and `mean`. "nucleotide_pooling": index `asv_id`, columns `position`, heads
        and `mean`. "asv" and "nucleotide": index `sample_id` or `asv_id`, columns `layer`, `head`, `query`, `key`, `attention`.

        Raises
        ------
        UnknownIdError
            There are no maps of that level.
        """
        name = "asv_id" if level.startswith("nucleotide") else "sample_id"
        frames = [
            (maps.to_frame() if isinstance(maps, HeadMaps) else maps.reset_index()).assign(**{name: unit})
            for unit, maps in self._require_level(level).items()
        ]
        frame = pd.concat(frames).set_index(name)
        frame.attrs["caption"] = self.caption
        return frame

    def plot(self, sample: str, **artist_kw: Any) -> Any:
        """Pooling attention of a sample; a matplotlib Axes. `aam.plots` draws the other levels."""
        from aam_nb.show.plots.attention import attention as plot_attention

        return plot_attention(self.of(sample, level="pooling"), sample=sample, **artist_kw)

    def _require_level(self, level: str) -> dict[str, Any]:
        maps: dict[str, Any] = getattr(self, level) if level in LEVELS else {}
        if not maps:
            have = [name for name in LEVELS if getattr(self, name)]
            raise UnknownIdError(
                f"There are no maps of level {level!r}. There are {', '.join(have)}. Ask for others by "
                "`aam.explain.attention(model, study, samples=[...], levels=('nucleotide', 'asv', 'pooling'))`."
            )
        return maps

    def __repr__(self) -> str:
        samples, asvs = len(self.pooling or self.asv), len(self.nucleotide)
        have = ", ".join(name for name in LEVELS if getattr(self, name))
        inside = f", nucleotides of {count_noun(asvs, 'ASV')}" if asvs else ""
        return f"AttentionMaps({count_noun(samples, 'sample')}{inside}; levels {have}). {self.caption}"

    def _repr_html_(self) -> str:
        rule = f"<p>{html.escape(self.rule)}</p>" if self.rule else ""
        return f"<b>{html.escape(repr(self))}</b>{rule}" + self.heads().round(3).to_html(escape=True, index=False)


@telling_of_memory("recording attention", "`levels=('pooling',)`, fewer samples, or a machine with more memory")
@torch.no_grad()
def attention(
    model: AAM,
    study: Study,
    *,
    samples: Sequence[str],
    asvs: Sequence[str] | None = None,
    config: AttentionConfig | None = None,
    **settings: Any,
) -> AttentionMaps:
    """Attention of some samples at each level, computed by the explicit path, which gives the weights and the same predictions.

    Whole maps of a sample with thousands of ASVs are made layer by layer, and only what is kept of them stays in memory.

    Parameters
    ----------
    model
        A trained model.
    study
        Holds the samples. Its tree, where it has one, gives distances between ASVs.
    samples
        Their ids.
    asvs
        ASVs of the study whose nucleotides are looked at, at level nucleotide; by default those of the samples with most pooling attention.
    config, **settings
        Fields of `AttentionConfig`: `levels`, `top`, `top_nucleotide`.

    Raises
    ------
    NotFittedError, UnknownIdError, EmptySampleError
        The model is not trained; a sample or an ASV is not in the study; a sample has no reads.
    ConfigError
        A setting cannot be used; or ASVs are named and level nucleotide is not asked for.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=16, n_asvs=60, seed=0)
    >>> model = aam.AAM(aam.ModelConfig(width=16, num_layers=1))
    >>> model = model.fit(study, target="age", config=aam.TrainConfig(epochs=1, progress=False))
    >>> maps = aam.explain.attention(model, study, samples=["S0000", "S0001"], levels=("asv", "pooling"))
    >>> maps.of("S0000", level="pooling").columns.tolist()
    ['head_1', 'head_2', 'head_3', 'head_4', 'mean']
    """
    config = make_config(AttentionConfig, config, settings)
    samples = list(dict.fromkeys(as_id_list("samples", samples)))
    chosen, levels, recorder = study.keep_samples(samples), config.levels, AttentionRecorder()
    chosen.require_reads()
    with_nucleotides = "nucleotide" in levels
    if asvs is not None and not with_nucleotides:
        raise ConfigError(
            f"asvs is given and levels is {levels!r}. ASVs are named for level 'nucleotide'. Leave asvs out, or add it: "
            "`levels=('nucleotide', 'pooling')`."
        )
    # Maps of samples: also where only nucleotides are asked for, if the most attended ASVs are still to be chosen.
    names = None if asvs is None else require_asvs(study, asvs)
    if names is None or set(levels) != {"nucleotide"}:
        recorder.record_samples(model, chosen, config)
    # Maps inside ASVs.
    if with_nucleotides:
        recorder.record_nucleotides(
            model, recorder.most_attended_asvs(config.top_nucleotide) if names is None else names
        )
    # Only the levels asked for, samples in the order of the study.
    order = [str(sample) for sample in chosen.sample_ids]
    kept = pd.DataFrame(recorder.kept, columns=["sample_id", "asvs", "kept", "pooling"]).set_index("sample_id")
    frames = [f for f in recorder.statistics if "pooling" in levels or f["level"].iat[0] != "pooling"]
    rows = pd.concat(frames, ignore_index=True)
    return AttentionMaps(
        pooling={sample: recorder.pooling[sample] for sample in order} if "pooling" in levels else {},
        asv={sample: recorder.asv[sample] for sample in order} if "asv" in levels else {},
        nucleotide=recorder.nucleotide,
        nucleotide_pooling=recorder.nucleotide_pooling,
        statistics=rows.sort_values("level", key=lambda names: names.map(LEVELS.index), kind="stable"),
        kept=kept.reindex(order) if "asv" in levels else kept,
        rolled=recorder.rolled,
    )


def require_asvs(study: Study, asvs: Sequence[str]) -> list[str]:
    """ASVs of a study, each once.

    Raises
    ------
    UnknownIdError
        There are none, or one is not in the study.
    """
    wanted = list(dict.fromkeys(as_id_list("asvs", asvs)))
    unknown = [asv for asv in wanted if asv not in study.asv_ids]
    if unknown or not wanted:
        raise UnknownIdError(
            f"{len(unknown)} of {len(wanted)} ASVs are not in the study ({cut_list(unknown)}). It has {study.num_asvs} ASVs such as "
            f"{cut_list(study.asv_ids[:2])}. Take ids from `study.asv_ids`."
            if wanted
            else "asvs is empty. Expected ASVs of the study. Take ids from `study.asv_ids`."
        )
    return wanted


def _flatten_heads(maps: HeadMaps | pd.DataFrame) -> Floats:
    """Maps of heads as rows: heads x the cells of their maps."""
    if isinstance(maps, HeadMaps):
        return maps.weights.reshape(-1, maps.weights.shape[-1] ** 2).astype(float)
    return maps.iloc[:, :-1].to_numpy(float).T
