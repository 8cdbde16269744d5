"""How much do predictions depend on attention? A control: the same model with attention that is equal for everything it may see."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from aam_nb.arrays import Floats
from aam_nb.baselines.predictions import read_target
from aam_nb.batch.batch import Batch
from aam_nb.batch.tokens import tokenize
from aam_nb.config import count_noun, telling_of_memory
from aam_nb.evaluate.metrics import METRICS, score
from aam_nb.explain.attention.heads import NOT_IMPORTANCE
from aam_nb.explain.attention.maps import LEVELS as MAP_LEVELS
from aam_nb.model.layers import evenly
from aam_nb.model.module import Network
from aam_nb.model.objectives import Task
from aam_nb.study.study import Study
from aam_nb.train.asv_cache import encode_asvs
from aam_nb.train.estimator import AAM
from aam_nb.train.memory import SHORT_OF_TOKENS

LEVELS = (*MAP_LEVELS, "all")
"""Where attention is made even: each by itself, and everywhere."""


@dataclass(frozen=True, eq=False)
class UniformControl:
    """Predictions of a model, and of the same model with even attention at one level or at all.

    Parameters
    ----------
    target
        What is predicted.
    changes
        By `level` and `output` (a target, a quantile or a class): `unit` (of the target, or log-odds of a class), `correlation` (Pearson's)
        of the even predictions with the model's own, `change` (mean absolute change, in the unit), `spread` (standard deviation of the
        model's own predictions) and `relative`, change / spread.
    scores
        By `level` and `target`, the leading row "none" being the model as it is: the metrics of `evaluate.metrics.score` where the truth
        is known, and `n` samples of it; no rows where it is not.
    predictions
        By level, "none" among them: outputs of each sample, in the units of `changes`.
    num_seen
        Samples that the model was trained on: their scores say nothing about new ones, their changes do.
    caption
        What a reader must know of it.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=16, n_asvs=60, seed=0)
    >>> model = aam.AAM(aam.ModelConfig(width=16, num_layers=1))
    >>> model = model.fit(study, target="age", config=aam.TrainConfig(epochs=1, progress=False))
    >>> control = aam.explain.uniform_control(model, study)
    >>> print(control.verdict)
    Predictions depend ... on where the model looks: ...
    >>> control.predictions["none"].shape
    (16, 1)
    """

    target: str
    changes: pd.DataFrame
    scores: pd.DataFrame
    predictions: dict[str, pd.DataFrame]
    num_seen: int
    caption: str = NOT_IMPORTANCE

    @property
    def verdict(self) -> str:
        """The result of the control, in a sentence."""
        everywhere = self.changes[self.changes["level"] == "all"]
        moved, correlation = float(everywhere["relative"].mean()), float(everywhere["correlation"].mean())
        if np.isnan(moved):
            n = len(self.predictions["none"])
            reason = "This is one sample" if n == 1 else f"The model predicts the same for all {n} samples"
            return f"{reason}, so nothing shows how much predictions depend on where the model looks."
        size = "little" if moved < 0.25 else "in part" if moved < 1 else "strongly"
        relation = "cannot be correlated" if np.isnan(correlation) else f"correlate {correlation:.2f}"
        return (
            f"Predictions depend {size} on where the model looks: with even attention everywhere they change by {moved:.2f} of their "
            f"standard deviation on average, and {relation} with the model's own."
        )

    def to_frame(self) -> pd.DataFrame:
        """`changes`, with the metrics of the even model (`METRIC`) and of the model as it is (`METRIC_none`) of the output's target."""
        frame = self.changes.copy()
        if len(self.scores):
            even = self.scores.drop(columns="n")
            none = even[even["level"] == "none"].drop(columns="level")
            target = frame["output"].where(frame["output"].isin(even["target"]), self.target)
            beside = even.merge(none, on="target", suffixes=("", "_none"))
            frame = frame.assign(target=target).merge(beside, on=["level", "target"], how="left").drop(columns="target")
        frame.attrs["caption"] = self.caption
        return frame

    def plot(self, **artist_kw: Any) -> Any:
        """A matplotlib Axes."""
        from aam_nb.show.plots.attention import uniform_control

        return uniform_control(self, **artist_kw)

    def __repr__(self) -> str:
        n = len(self.predictions["none"])
        seen = f" The model was trained on {self.num_seen:,} of these samples." if self.num_seen else ""
        return f"UniformControl({self.target}, {count_noun(n, 'sample')}). {self.verdict}{seen} {self.caption}"

    def _repr_html_(self) -> str:
        return f"<b>{html.escape(repr(self))}</b>" + self.to_frame().round(3).to_html(escape=True, index=False)


@telling_of_memory("predicting with even attention", SHORT_OF_TOKENS)
def uniform_control(model: AAM, study: Study) -> UniformControl:
    """Predict with attention that falls evenly on all that a query may see, level by level.

    Parameters
    ----------
    model
        A fitted model; it stays as it is.
    study
        Samples to predict; their metadata may hold the target.

    Returns
    -------
    `UniformControl`. Levels: "nucleotide" (among positions, at all scales; local attention stays local), "nucleotide_pooling" (from
    positions to the ASV), "asv" (among the ASVs of a sample), "pooling" (from these to the sample), "all". ASVs are encoded again where
    the first two are even, and so is their reference.

    Raises
    ------
    NotFittedError, EmptySampleError, UnknownIdError
        The model has no target; a sample has no reads; the study lacks a covariate.

    References
    ----------
    Wiegreffe & Pinter 2019, arXiv 1908.04626, section 3.2.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=16, n_asvs=60, seed=0)
    >>> model = aam.AAM(aam.ModelConfig(width=16, num_layers=1))
    >>> model = model.fit(study, target="age", config=aam.TrainConfig(epochs=1, progress=False))
    >>> control = aam.explain.uniform_control(model, study)
    >>> control.to_frame()["level"].tolist()
    ['nucleotide', 'nucleotide_pooling', 'asv', 'pooling', 'all']
    """
    task = model.require_task()
    study.require_reads()
    names = ("none", *LEVELS)
    outputs: dict[str, Floats] = {}
    for level in tqdm(names, desc="even attention", delay=2, disable=not model.shows_progress):
        outputs[level] = _predict_evenly(model, study, level)
    changes = pd.concat(
        [_tabulate_changes(task, level, outputs["none"], outputs[level]) for level in LEVELS], ignore_index=True
    )
    rows = [
        row
        for level in names
        for row in _score_targets(task, study, level, task.to_frame(outputs[level], study.sample_ids))
    ]
    frames = {k: pd.DataFrame(v, index=study.sample_ids, columns=task.output_names) for k, v in outputs.items()}
    scores = pd.DataFrame(rows)
    for frame in (changes, scores, *frames.values()):
        frame.attrs["caption"] = NOT_IMPORTANCE
    num_seen = int(study.sample_ids.isin(model.seen).sum())
    return UniformControl(task.target, changes, scores, frames, num_seen)


def select_modules(network: Network, level: str) -> list[nn.Module]:
    """The modules of a network whose attention is of a level."""
    asv, sample = network.encoder.asv, network.encoder.sample
    by_level: dict[str, list[nn.Module]] = {
        "none": [],
        "nucleotide": [asv.fine, asv.blocks],
        "nucleotide_pooling": [asv.pool],
        "asv": [sample.blocks],
        "pooling": [sample.pool],
        "all": [network.encoder],
    }
    return by_level[level]


@torch.no_grad()
def _predict_evenly(model: AAM, study: Study, level: str) -> Floats:
    """Outputs (samples x K) while the attention of a level is even.

    The vectors that the model keeps of its ASVs are of attention as it is; where that is even, others are made, and not kept.
    """
    network, task = model.network, model.require_task()
    with evenly(*select_modules(network, level)):
        encode_again = level in ("nucleotide", "nucleotide_pooling", "all")
        even_AD = encode_asvs(network, tokenize(study.asv_ids), model.device).float() if encode_again else None
    outputs = np.empty((study.num_samples, len(task.output_names)))

    def predict(batch: Batch, own_ND: Tensor) -> Floats:
        asv_ND: Tensor = own_ND if even_AD is None else even_AD[torch.from_numpy(batch.asv_N).to(even_AD.device)]
        with evenly(*select_modules(network, level)):
            states = network.encoder(batch, asv_ND=asv_ND)
        of_batch: Floats = task.outputs(task(states), batch).cpu().numpy()
        return of_batch

    for batch, of_batch in model.predictor().compute(study, predict, desc=f"attention: {level}"):
        outputs[batch.sample_B] = of_batch
    return outputs


def _tabulate_changes(task: Task, level: str, own: Floats, even: Floats) -> pd.DataFrame:
    """What even attention does to each output."""
    change, spread = np.abs(even - own).mean(0), own.std(0)
    correlation = [
        float(np.corrcoef(a, b)[0, 1]) if a.std() > 1e-9 and b.std() > 1e-9 else np.nan
        for a, b in zip(own.T, even.T, strict=True)
    ]
    columns: dict[str, Any] = {
        "level": level,
        "output": task.output_names,
        "unit": [task.unit(name) for name in task.output_names],
        "correlation": correlation,
        "change": change,
        "spread": spread,
        "relative": np.divide(change, spread, out=np.full_like(change, np.nan), where=spread > 1e-9),
    }
    return pd.DataFrame(columns)


def _score_targets(task: Task, study: Study, level: str, prediction: pd.DataFrame) -> list[dict[str, Any]]:
    """Metrics of each target whose truth the study knows in two samples or more."""
    rows = []
    for target in task.targets:
        if target not in study.metadata.columns:
            continue
        labelled = study.metadata[target].notna().to_numpy()
        if labelled.sum() < 2:
            continue
        of_target = task.only(target)
        truth = read_target(study.keep_samples(labelled), of_target)
        metrics = score(truth, prediction[labelled], of_target)
        rows.append(
            {"level": level, "target": target, **{m: metrics[m] for m in METRICS[task.kind]}, "n": int(labelled.sum())}
        )
    return rows
