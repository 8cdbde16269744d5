"""Evaluation: predictions judged beside baselines, with intervals, and with the leaks of the split looked for."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aam_nb.arrays import Array, Ints
from aam_nb.baselines.bounds import tell_bounds
from aam_nb.baselines.fit import fit_baseline
from aam_nb.baselines.predictions import read_target
from aam_nb.baselines.scaling import rank_key
from aam_nb.baselines.scoring import balanced_accuracy, guessing_score
from aam_nb.baselines.settings import SharedSettings
from aam_nb.config import (
    EvaluateConfig,
    count_noun,
    cut_list,
    cut_repr,
    format_interval,
    format_score,
    make_config,
    telling_of_memory,
)
from aam_nb.evaluate.leaks import Leak, find_leaks
from aam_nb.evaluate.leaks import tell_bounds as tell_bounds_of_leaks
from aam_nb.evaluate.resampling import draw_resamples, percentile_interval, score_resamples
from aam_nb.model.objectives import Classification, Task
from aam_nb.study.columns import number_groups
from aam_nb.study.confounding import describe_confounding
from aam_nb.study.errors import TargetError, UnknownIdError
from aam_nb.study.study import Study

if TYPE_CHECKING:
    from aam_nb.train.estimator import AAM

METRICS = {"regression": ("r2", "mae", "spearman"), "classification": ("balanced_accuracy", "macro_f1", "auroc")}
"""Metrics of each kind of task, the leading one first."""
IN_UNIT = ("mae",)
"""Metrics in the unit of the target: of any size."""
ENDS = ("metric", "value", "low", "high")
MODEL = "aam"
"""Name of the judged model in tables beside its baselines."""
BESIDE = ("random_forest", "dummy")
"""Baselines that an evaluation shows beside the model unless others are named."""
BEFORE_TUNING = {"tune": False, "feature_prevalence": 1}
"""Settings of the baselines of evaluations that were saved before `EvaluateConfig` had these."""
NO_BOUND = dict.fromkeys(("baseline_samples", "baseline_cells"), 2**31 - 1)
"""Settings of those that were saved before baselines were bounded."""
FEW_UNITS = 5
"""Values of the group, or samples, below which intervals cannot be trusted."""


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
    from sklearn.metrics import f1_score, mean_absolute_error, r2_score, roc_auc_score

    guess = prediction[task.target].to_numpy()
    if not isinstance(task, Classification):
        guess, constant = guess.astype(float), np.ptp(truth) == 0
        flat = constant or np.ptp(guess) == 0
        return {
            "r2": float("nan") if constant else float(r2_score(truth, guess)),
            "mae": float(mean_absolute_error(truth, guess)),
            "spearman": float("nan") if flat else float(spearmanr(rank_key(truth), rank_key(guess)).statistic),
        }
    present = [c for c in task.classes if 0 < (truth == c).sum() < len(truth)]
    areas = [float(roc_auc_score(truth == c, prediction[f"p({c})"])) for c in present]
    return {
        "balanced_accuracy": balanced_accuracy(truth, guess),
        "macro_f1": float(f1_score(truth, guess, labels=np.unique(truth), average="macro", zero_division=0)),
        "auroc": float(np.mean(areas)) if areas else float("nan"),
    }


def bootstrap(
    truth: Array, prediction: pd.DataFrame, task: Task, unit: Ints, config: EvaluateConfig
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
        Training samples that the baselines were given.
    group
        Metadata column whose values the bootstrap resampled whole, None where it resampled samples.
    num_groups
        Units resampled.
    num_seen
        Test samples that the model was trained or pre-trained on; 0 in an honest evaluation.
    leaks
        Columns by which the training samples give the test samples' target away; see `evaluate.leaks`.
    notes
        What the reader must know: samples seen in training, missing baselines, too few groups.
    config
        Settings of the intervals and baselines.
    baseline_fits
        By baseline, how many training `samples` it was fitted to, and of how many `asvs` it chose its features: fewer than there are
        where `baseline_samples` or `baseline_cells` of the settings bound it. Empty for evaluations saved before there were bounds.
    model
        The model that was judged, for further analysis; not saved, and None once loaded.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=60, n_asvs=80, seed=0)
    >>> train, test = study.split(target="age", group="host_id", seed=0)
    >>> model = aam.AAM(aam.ModelConfig(width=16, num_layers=1))
    >>> _ = model.fit(train, target="age", config=aam.TrainConfig(epochs=1, progress=False))
    >>> result = model.evaluate(test, baselines=["ridge_clr", "dummy"])
    >>> result.to_frame().shape  # a row per model, a column per metric
    (3, 3)
    >>> result.models
    ['aam', 'ridge_clr', 'dummy']
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
    baseline_fits: dict[str, dict[str, int]] = field(default_factory=dict)
    model: AAM | None = field(default=None, repr=False)

    @classmethod
    @telling_of_memory("evaluating", "`baselines=('dummy',)`, fewer samples or ASVs, or a machine with more memory")
    def of(
        cls,
        model: AAM,
        test: Study,
        *,
        target: str | None = None,
        train: Study | None = None,
        baselines: Sequence[str] = BESIDE,
        find_leaks: bool = True,
        config: EvaluateConfig | None = None,
        **settings: Any,
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
            Names as for `aam.compare`, such as `random_forest`, `ridge_clr` and `dummy`.
        find_leaks
            Ask of every metadata column whether the split leaks through it. Costs a few small random forests.
        config, settings
            Intervals and baselines; settings are fields of `EvaluateConfig`, such as `tune` and `num_trees`.

        Raises
        ------
        NotFittedError, UnknownIdError, TargetError, BaselineError
            The model has no target; the study lacks its column or has no value in it; there is no such baseline.
        """
        config, all_targets = make_config(EvaluateConfig, config, settings), model.require_task()
        baselines = (baselines,) if isinstance(baselines, str) else baselines
        task = all_targets.only(target if target is not None else all_targets.target)
        # Only samples with the target can be judged, or learned from.
        train = train if train is not None else model.train_study
        if train is not None and (labelled := train.target(task.target).notna()).sum() < train.num_samples:
            train = train.keep_samples(labelled)
        labelled = test.column(task.target).notna()
        if not labelled.any():
            raise TargetError(
                f"{task.target!r} is missing in all {test.num_samples} samples. Evaluation needs its truth. To predict only, use "
                "`model.predict(study)`."
            )
        notes = _notes(model, test, train, int((~labelled).sum()), all_targets if target is None else task)
        test = test.keep_samples(labelled) if not labelled.all() else test
        # Whole groups are resampled, and held out where baselines are tuned.
        group = test.split_info.group if test.split_info else model.group
        group = group if group in test.metadata.columns else None
        unit = number_groups(test.metadata[group] if group else None, test.num_samples)
        truth, by_model = read_target(test, task), {MODEL: model.predict(test)}
        leaks: tuple[Leak, ...] = ()
        baseline_fits: dict[str, dict[str, int]] = {}
        if train is not None:
            shared = _settings(task, group if group in train.metadata.columns else None, config)
            for name in baselines:
                predict, facts = fit_baseline(name, train, shared, seed=config.seed)
                by_model[name] = predict(test)
                baseline_fits[name] = {k: facts.get(k, of_all) for k, of_all in _sizes(train).items()}
            notes += tell_bounds(baseline_fits, train.num_samples, train.num_asvs)
            if find_leaks:
                leaks, more = _leaks(train, test, task, config.seed, model.shows_progress)
                notes = [*more, *notes]
        num_groups = int(unit.max()) + 1
        return cls(
            target=task.target,
            kind=task.kind,
            metrics=_metric_table(truth, by_model, task, unit, config),
            predictions=_prediction_table(truth, by_model, task),
            num_train=train.num_samples if train is not None else 0,
            group=group,
            num_groups=num_groups,
            num_seen=int(test.sample_ids.isin(model.seen).sum()),
            leaks=leaks,
            notes=(*notes, *_one_value(truth, task.target), *_few_units(num_groups, group)),
            config=config,
            baseline_fits=baseline_fits,
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
        return guessing_score(self.predictions["truth"], self.kind)

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
                format_interval(value, low, high, has_unit=metric in IN_UNIT)
                for metric, value, low, high in zip(*(self.metrics[c] for c in ENDS), strict=True)
            ]
        )
        return text.pivot(index="model", columns="metric", values="text").loc[self.models, list(METRICS[self.kind])]

    def warnings(self) -> list[str]:
        """Everything that should keep a reader from believing the numbers, a sentence each; leaks first."""
        metric, no_better = METRICS[self.kind][0], []
        if "dummy" in self.models and self.value(metric) <= self.value(metric, "dummy"):
            no_better.append(
                f"The model is no better than the dummy: {metric} {format_score(self.value(metric), 2)} against "
                f"{format_score(self.value(metric, 'dummy'), 2)}."
            )
        return [*(leak.sentence() for leak in self.leaks), *no_better, *self.notes]

    def plot(self, **artist_kw: Any) -> Any:
        """Predicted against true values, or the confusion matrix; a matplotlib Axes."""
        from aam_nb.show.plots.evaluation import predictions

        return predictions(self, **artist_kw)

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
            "baseline_fits": self.baseline_fits,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any], predictions: pd.DataFrame) -> Evaluation:
        """The evaluation that `to_dict` described; `predictions` are the CSV's, as text."""
        fields = {k: v for k, v in values.items() if k != "num_test"}
        fields["metrics"] = pd.DataFrame(values["metrics"]).astype({"value": float, "low": float, "high": float})
        fields["leaks"] = tuple(Leak(**leak) for leak in values["leaks"])
        fields["notes"] = tuple(values["notes"])
        fields["config"] = EvaluateConfig(**BEFORE_TUNING | NO_BOUND | values["config"])
        text = {"truth", "prediction", *fields["metrics"]["model"]} if values["kind"] == "classification" else set()
        predictions = predictions.astype({c: str if c in text else float for c in predictions.columns})
        return cls(**fields, predictions=predictions)

    def __repr__(self) -> str:
        leading = METRICS[self.kind][0]
        scores = ", ".join(f"{m} {format_score(self.value(leading, m))}" for m in self.models)
        by = f", {self.num_groups} of {self.group}" if self.group else ""
        lines = [
            f"Evaluation({self.target}, {count_noun(len(self.predictions), 'test sample')}{by}: {leading} {scores})"
        ]
        return "\n".join([*lines, *(f"  ! {w}" for w in self.warnings())])

    def _repr_html_(self) -> str:
        head, *lines = repr(self).split("\n")
        warnings = "".join(f"<p style='color:#b00020'>{html.escape(m.removeprefix('  ! '))}</p>" for m in lines)
        return f"<b>{html.escape(head)}</b>{self.to_frame().to_html(escape=True)}{warnings}"


def _notes(model: AAM, test: Study, train: Study | None, num_unknown: int, all_targets: Task) -> list[str]:
    """What the reader must know of the samples, and that one of several targets (of `all_targets`) was taken without being named."""
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
        notes.append(f"Without a value of the target, and left out: {count_noun(num_unknown, 'test sample')}.")
    if train is None:
        notes.append(
            "There are no baselines beside this: the training study is not at hand. Give it: `model.evaluate(test, train=train)`."
        )
    if len(all_targets.targets) > 1:
        notes.append(
            f"The model predicts {', '.join(all_targets.targets)}, and this judges {all_targets.target} alone. For another: "
            f"`model.evaluate(test, target={all_targets.targets[1]!r})` (`aam-nb evaluate --target`)."
        )
    return notes


def _one_value(truth: Array, target: str) -> list[str]:
    """That all samples have the same truth."""
    if len(truth) < 2 or len(set(truth.tolist())) > 1:
        return []
    return [
        f"{target!r} is {cut_repr(truth[0])} in all {len(truth)} test samples: scores are not defined there, or say little. Judge by "
        "samples that differ."
    ]


def _few_units(num_groups: int, group: str | None) -> list[str]:
    """That there is too little to resample."""
    if num_groups >= FEW_UNITS:
        return []
    units = f"{count_noun(num_groups, 'value')} of {group}" if group else count_noun(num_groups, "sample")
    return [f"The intervals rest on {units}: too few to trust them."]


def _settings(task: Task, group: str | None, config: EvaluateConfig) -> SharedSettings:
    """What the baselines are given: no covariates, though the model may have some."""
    classes = tuple(task.classes) if isinstance(task, Classification) else None
    return SharedSettings(target=task.target, classes=classes, group=group, covariates=(), config=config)


def _sizes(train: Study) -> dict[str, int]:
    """What a baseline that is not bounded sees."""
    return {"samples": train.num_samples, "asvs": train.num_asvs}


def _leaks(train: Study, test: Study, task: Task, seed: int, progress: bool) -> tuple[tuple[Leak, ...], list[str]]:
    """The leaks of the split, and notes: columns that no split can separate from the target, and where leaks were looked for in a part."""
    note = describe_confounding(pd.concat([train.metadata, test.metadata], join="inner"), task.target)
    notes = [*([note] if note else []), *tell_bounds_of_leaks(train.num_samples + test.num_samples, train.num_asvs)]
    return find_leaks(train, test, task, seed=seed, progress=progress), notes


def _metric_table(
    truth: Array, by_model: dict[str, pd.DataFrame], task: Task, unit: Ints, config: EvaluateConfig
) -> pd.DataFrame:
    """`Evaluation.metrics`."""
    rows = []
    for name, prediction in by_model.items():
        ends = bootstrap(truth, prediction, task, unit, config)
        rows += [
            {"model": name, "metric": m, "value": v, "low": ends[m][0], "high": ends[m][1]}
            for m, v in score(truth, prediction, task).items()
        ]
    return pd.DataFrame(rows)


def _prediction_table(truth: Array, by_model: dict[str, pd.DataFrame], task: Task) -> pd.DataFrame:
    """`Evaluation.predictions`."""
    own = by_model[MODEL].rename(columns={task.target: "prediction"})
    own.insert(0, "truth", truth)
    return own.assign(**{name: p[task.target] for name, p in by_model.items() if name != MODEL})
