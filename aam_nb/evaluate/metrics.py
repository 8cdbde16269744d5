"""Evaluation: predictions judged beside baselines, with intervals, and with the leaks of the split looked for."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

import aam_nb
from aam_nb.config import EvaluateConfig, cut_list
from aam_nb.evaluate.baselines import BASELINES, guessing, labels, predict_baseline
from aam_nb.evaluate.leaks import Leak, find
from aam_nb.evaluate.resampling import draw_resamples, number_groups, percentile_interval, score_resamples
from aam_nb.model.objectives import Classification, Task
from aam_nb.study.confounding import describe_confounding
from aam_nb.study.errors import TargetError, UnknownIdError
from aam_nb.study.study import Study

if TYPE_CHECKING:
    from aam_nb.train.estimator import AAM

Array = npt.NDArray[Any]
METRICS = {"regression": ("r2", "mae", "spearman"), "classification": ("balanced_accuracy", "macro_f1", "auroc")}
"""Metrics of each kind of task, the leading one first."""
MODEL = "aam"
"""Name of the judged model in tables beside its baselines."""


def score(truth: Array, prediction: pd.DataFrame, task: Task) -> dict[str, float]:
    """Metrics of a prediction (scikit-learn, scipy).

    Parameters
    ----------
    truth
        Numbers in the target's units, or class names.
    prediction
        As `AAM.predict` gives it, rows in the order of `truth`.
    task
        The kind of target, and its classes.

    Returns
    -------
    Regression: `r2` (at most 1), `mae` (target's units), `spearman` (-1 to 1). Classification: `balanced_accuracy`, `macro_f1` and
    `auroc` (0 to 1; one class against the rest, averaged over the classes present). NaN where a metric is not defined.
    """
    from scipy.stats import spearmanr
    from sklearn.metrics import f1_score, mean_absolute_error, r2_score, recall_score, roc_auc_score

    guess = prediction[task.target].to_numpy()
    if not isinstance(task, Classification):
        guess, constant = guess.astype(float), np.ptp(truth) == 0
        flat = constant or np.ptp(guess) == 0
        return {
            "r2": float("nan") if constant else float(r2_score(truth, guess)),
            "mae": float(mean_absolute_error(truth, guess)),
            "spearman": float("nan") if flat else float(spearmanr(truth, guess).statistic),
        }
    present = [c for c in task.classes if 0 < (truth == c).sum() < len(truth)]
    areas = [float(roc_auc_score(truth == c, prediction[f"p({c})"])) for c in present]
    found = {"labels": np.unique(truth), "average": "macro", "zero_division": 0}
    return {
        "balanced_accuracy": float(recall_score(truth, guess, **found)),  # the mean recall of the classes present
        "macro_f1": float(f1_score(truth, guess, **found)),
        "auroc": float(np.mean(areas)) if areas else float("nan"),
    }


def bootstrap(
    truth: Array, prediction: pd.DataFrame, task: Task, unit: npt.NDArray[np.int64], config: EvaluateConfig
) -> dict[str, tuple[float, float]]:
    """Percentile intervals of metrics under resampling of whole units.

    Parameters
    ----------
    truth, prediction, task
        As for `score`.
    unit
        Unit of each sample, 0 to n_units - 1: a host, a study, or the sample itself. All samples of a drawn unit come along.
    config
        Number of resamples, coverage, seed.

    Returns
    -------
    Lower and upper end by metric; NaN where fewer than half of the resamples define it.
    """
    parts = [
        score_resamples(truth, prediction, task, d) for d in draw_resamples(unit, config.num_resamples, config.seed)
    ]
    ends = {
        m: percentile_interval(np.concatenate([p[m] for p in parts]), config.confidence) for m in METRICS[task.kind]
    }
    return {m: (float(low), float(high)) for m, (low, high) in ends.items()}


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Predictions on samples that were not trained on, judged beside baselines.

    Parameters
    ----------
    target, kind
        The metadata column; "regression" or "classification".
    metrics
        One row per model and metric: `model`, `metric`, `value`, `low`, `high` (ends of the bootstrap interval).
    predictions
        Indexed by sample id: `truth`, `prediction`, `p(CLASS)` for classes, and each baseline's prediction as a column of its name.
    num_train
        Training samples the baselines had.
    group
        Metadata column whose values the bootstrap resampled whole, None where it resampled samples.
    num_groups
        Units resampled.
    num_seen
        Test samples that the model was trained or pre-trained on; 0 in an honest evaluation.
    leaks
        Columns by which training told the test samples' target; see `evaluate.leaks`.
    notes
        What the reader must know: samples seen in training, missing baselines, too few groups.
    config
        Settings of the intervals and baselines.
    model
        The model that was judged, to ask it more; not saved, and None once loaded.
    """

    target: str
    kind: str
    metrics: pd.DataFrame
    predictions: pd.DataFrame
    num_train: int
    group: str | None
    num_groups: int
    num_seen: int = 0
    leaks: tuple[Leak, ...] = ()
    notes: tuple[str, ...] = ()
    config: EvaluateConfig = field(default_factory=EvaluateConfig)
    model: AAM | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        model: AAM,
        test: Study,
        *,
        target: str | None = None,
        train: Study | None = None,
        baselines: Sequence[str] = BASELINES,
        find_leaks: bool = True,
        config: EvaluateConfig | None = None,
    ) -> Evaluation:
        """Judge a fitted model.

        Parameters
        ----------
        model
            A fitted model.
        test
            Samples to judge by. Those without the target are left out and counted.
        target
            Which target, of a model of several; by default the first.
        train
            The study the baselines learn from; by default the one given to `fit` (a loaded model has none).
        baselines
            Names among `random_forest`, `dummy`.
        find_leaks
            Ask of every metadata column whether the split leaks through it. Costs a few small random forests.
        config
            Intervals and baselines.

        Raises
        ------
        NotFittedError, UnknownIdError, TargetError
            The model has no target; the study lacks its column or has no value in it.
        """
        config, whole = config or EvaluateConfig(), model.require_task()
        task = whole.only(target if target is not None else whole.target)
        train = train if train is not None else model.train_study
        if train is not None and (labelled := train.target(task.target).notna()).sum() < train.num_samples:
            train = train.keep_samples(labelled)
        known = test.column(task.target).notna()
        if not known.any():
            raise TargetError(
                f"{task.target!r} is missing in all {test.num_samples} samples. Evaluation needs its truth. To predict only, use "
                "`model.predict(study)`."
            )
        notes = _notes(model, test, train, int((~known).sum()))
        if target is None and len(whole.targets) > 1:
            notes.append(
                f"The model predicts {', '.join(whole.targets)}, and this judges {task.target} alone. For another: "
                f"`model.evaluate(test, target={whole.targets[1]!r})` (`aam-nb evaluate --target`)."
            )
        test = test.keep_samples(known) if not known.all() else test
        truth, by_model = labels(test, task), {MODEL: model.predict(test)}
        if train is not None:
            by_model |= {
                b: predict_baseline(b, task, train, test, num_trees=config.num_trees, seed=config.seed)
                for b in baselines
            }
        group = test.split_info.group if test.split_info else model.group
        group = group if group in test.metadata.columns else None
        unit = number_groups(test.metadata[group] if group else None, test.num_samples)
        num_groups = int(unit.max()) + 1
        leaks: tuple[Leak, ...] = ()
        if find_leaks and train is not None:
            leaks = find(train, test, task, seed=config.seed, progress=model.shows_progress)
            if told := describe_confounding(pd.concat([train.metadata, test.metadata], join="inner"), task.target):
                notes.insert(0, told)
        if num_groups < 5:
            what = (
                f"{num_groups} {'value' if num_groups == 1 else 'values'} of {group}"
                if group
                else f"{num_groups} samples"
            )
            notes.append(f"The intervals rest on {what}: too few to trust them.")
        return cls(
            target=task.target,
            kind=task.kind,
            metrics=_judge(truth, by_model, task, unit, config),
            predictions=_table(truth, by_model, task),
            num_train=train.num_samples if train is not None else 0,
            group=group,
            num_groups=num_groups,
            num_seen=int(test.sample_ids.isin(model.seen).sum()),
            leaks=leaks,
            notes=tuple(notes),
            config=config,
            model=model,
        )

    def value(self, metric: str, model: str = MODEL) -> float:
        """One metric of one model."""
        return float(self.row(metric, model)["value"])

    def row(self, metric: str, model: str = MODEL) -> pd.Series:
        """One metric of one model with the ends of its interval: `value`, `low`, `high`.

        Raises
        ------
        UnknownIdError
            There is no such metric or model.
        """
        rows = self.metrics[(self.metrics["model"] == model) & (self.metrics["metric"] == metric)]
        if rows.empty:
            raise UnknownIdError(
                f"There is no {metric!r} of {model!r}. There are {', '.join(METRICS[self.kind])} of {cut_list(self.models)}."
            )
        return rows[["value", "low", "high"]].iloc[0]

    @property
    def guessing(self) -> float:
        """What a guess scores by the leading metric."""
        return guessing(self.predictions["truth"], self.kind)

    @property
    def beats_guessing(self) -> bool:
        """Whether the interval of the model's leading metric lies above what a guess scores."""
        return bool(self.row(METRICS[self.kind][0])["low"] > self.guessing)

    @property
    def models(self) -> list[str]:
        """The judged model and its baselines."""
        return list(dict.fromkeys(self.metrics["model"]))

    def to_frame(self) -> pd.DataFrame:
        """Models x metrics, each as `value [low, high]`."""
        text = self.metrics.assign(
            text=[
                "not defined" if np.isnan(value) else f"{value:.3f} [{low:.3f}, {high:.3f}]"
                for value, low, high in self.metrics[["value", "low", "high"]].to_numpy(float)
            ]
        )
        return text.pivot(index="model", columns="metric", values="text").loc[self.models, list(METRICS[self.kind])]

    def warnings(self) -> list[str]:
        """Everything that should keep a reader from believing the numbers, a sentence each; leaks first."""
        metric, useless = METRICS[self.kind][0], []
        if "dummy" in self.models and self.value(metric) <= self.value(metric, "dummy"):
            useless.append(
                f"The model is no better than the dummy: {metric} {self.value(metric):.2f} against {self.value(metric, 'dummy'):.2f}."
            )
        return [*(leak.sentence() for leak in self.leaks), *useless, *self.notes]

    def plot(self, **artist_kw: Any) -> Any:
        """Predicted against true values, or the confusion matrix; a matplotlib Axes."""
        return aam_nb.plots.predictions(self, **artist_kw)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; the predictions are saved beside it as CSV."""
        return {
            "target": self.target,
            "kind": self.kind,
            "num_test": len(self.predictions),
            "num_train": self.num_train,
            "group": self.group,
            "num_groups": self.num_groups,
            "num_seen": self.num_seen,
            "metrics": self.metrics.to_dict("records"),
            "leaks": [asdict(leak) for leak in self.leaks],
            "notes": list(self.notes),
            "config": asdict(self.config),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any], predictions: pd.DataFrame) -> Evaluation:
        """The evaluation that `to_dict` described; `predictions` are the CSV's, as text."""
        kept = {k: v for k, v in values.items() if k != "num_test"}
        kept["metrics"] = pd.DataFrame(values["metrics"]).astype({"value": float, "low": float, "high": float})
        kept["leaks"] = tuple(Leak(**leak) for leak in values["leaks"])
        kept["notes"] = tuple(values["notes"])
        kept["config"] = EvaluateConfig(**values["config"])
        text = {"truth", "prediction", *kept["metrics"]["model"]} if values["kind"] == "classification" else set()
        predictions = predictions.astype({c: str if c in text else float for c in predictions.columns})
        return cls(**kept, predictions=predictions)

    def __repr__(self) -> str:
        leading = METRICS[self.kind][0]
        scores = ", ".join(f"{m} {self.value(leading, m):.3f}" for m in self.models)
        by = f", {self.num_groups} of {self.group}" if self.group else ""
        lines = [f"Evaluation({self.target}, {len(self.predictions)} test samples{by}: {leading} {scores})"]
        return "\n".join([*lines, *(f"  ! {w}" for w in self.warnings())])

    def _repr_html_(self) -> str:
        head, *marks = repr(self).split("\n")
        said = "".join(f"<p style='color:#b00020'>{html.escape(m.removeprefix('  ! '))}</p>" for m in marks)
        return f"<b>{html.escape(head)}</b>{self.to_frame().to_html(escape=True)}{said}"


def _notes(model: AAM, test: Study, train: Study | None, num_unknown: int) -> list[str]:
    notes = []
    ids = set(test.sample_ids)
    for use, verb in (
        ("train", "trained on"),
        ("validation", "used to choose the best epoch"),
        ("pretrain", "pre-trained on"),
    ):
        seen = ids.intersection(model.samples.get(use, ()))
        if seen:
            notes.append(
                f"{len(seen)} of {len(ids)} test samples were {verb}. Scores on samples already seen say nothing about new ones. Keep "
                "them out with `train, test = study.split(...)`, and train on `train` alone."
            )
    if num_unknown:
        notes.append(f"{num_unknown} test samples have no value of the target and were left out.")
    if train is None:
        notes.append(
            "There are no baselines beside this: the training study is not at hand. Give it: `model.evaluate(test, train=train)`."
        )
    return notes


def _judge(
    truth: Array,
    by_model: dict[str, pd.DataFrame],
    task: Task,
    unit: npt.NDArray[np.int64],
    config: EvaluateConfig,
) -> pd.DataFrame:
    rows = []
    for name, prediction in by_model.items():
        ends = bootstrap(truth, prediction, task, unit, config)
        rows += [
            {"model": name, "metric": m, "value": v, "low": ends[m][0], "high": ends[m][1]}
            for m, v in score(truth, prediction, task).items()
        ]
    return pd.DataFrame(rows)


def _table(truth: Array, by_model: dict[str, pd.DataFrame], task: Task) -> pd.DataFrame:
    own = by_model[MODEL].rename(columns={task.target: "prediction"})
    own.insert(0, "truth", truth)
    return own.assign(**{name: p[task.target] for name, p in by_model.items() if name != MODEL})
