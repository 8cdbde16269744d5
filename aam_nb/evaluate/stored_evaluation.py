"""An evaluation from its files, `evaluation.json` and `predictions.csv`, which are checked before anything is built from them."""

from __future__ import annotations

from dataclasses import fields as fields_of
from typing import Any

import pandas as pd

from aam_nb.config import EvaluateConfig
from aam_nb.config.schema import Mismatch, choice, fields, many, mapping, number, optional, settings, text, whole
from aam_nb.config.stored import StoredFile
from aam_nb.evaluate.metrics import BEFORE_TUNING, METRICS, MODEL, NO_BOUND, Evaluation
from aam_nb.model.objectives import Classification, Task

LEAK = fields(
    {"column": text(), "shared": number(0, 1), "metric": choice("r2", "balanced_accuracy")}
    | {name: optional(number()) for name in ("guessing", "lookup", "forest_mixed", "forest_apart")}
)
SETTINGS = [f.name for f in fields_of(EvaluateConfig) if f.name not in (*BEFORE_TUNING, *NO_BOUND)]
"""Settings that every saved evaluation has."""
METRIC = fields(
    {"model": text("the name of a model"), "metric": text("the name of a metric")}
    | {name: optional(number()) for name in ("value", "low", "high")}
)
EVALUATION = fields(
    {
        "target": text(),
        "kind": choice(*METRICS),
        "num_train": whole(0),
        "group": optional(text()),
        "num_groups": whole(0),
        "metrics": many(METRIC, least=1),
        "leaks": many(LEAK),
        "notes": many(text()),
        "config": settings(EvaluateConfig, SETTINGS, build=False),
    },
    {
        "num_test": whole(0),
        "num_seen": whole(0),
        "baseline_fits": mapping(fields({"samples": whole(0), "asvs": whole(0)})),
    },
)
"""What evaluation.json must hold."""


def read_evaluation(file: StoredFile, table: StoredFile, task: Task | None) -> Evaluation:
    """The evaluation of a run.

    Parameters
    ----------
    file, table
        Its `evaluation.json` and `predictions.csv`.
    task
        What the run predicts, None where it was not fitted.

    Raises
    ------
    file.error, table.error
        A file is damaged, or it is not of this task, or the two do not fit together.
    """
    values = file.read_json(EVALUATION)
    with file.told():
        _require_task(values, task)
        models = _require_metrics(values)
    frame = table.read_table(["sample_id", "truth", "prediction", *models[1:]]).set_index("sample_id")
    num_test = values.get("num_test", len(frame))
    if not frame.index.is_unique or len(frame) != num_test:
        unlike = "the same sample twice" if not frame.index.is_unique else f"{len(frame):,} samples"
        raise table.damage(f"has {unlike}, and evaluation.json tells of {num_test:,} samples")
    return Evaluation.from_dict(values, _typed(frame, table, task, models))


def _require_task(values: dict[str, Any], task: Task | None) -> None:
    targets = [] if task is None else task.targets
    if values["target"] not in targets:
        raise Mismatch(f"a target of the model ({', '.join(targets) or 'it has none'})", values["target"], ("target",))
    if task is not None and values["kind"] != task.kind:
        raise Mismatch(f"{task.kind}, as the model's target is", values["kind"], ("kind",))


def _require_metrics(values: dict[str, Any]) -> list[str]:
    """The models, the judged one first, after a check that each has every metric once."""
    wanted = METRICS[values["kind"]]
    models = list(dict.fromkeys(row["model"] for row in values["metrics"]))
    seen: set[tuple[str, str]] = set()
    for k, row in enumerate(values["metrics"]):
        if row["metric"] not in wanted:
            raise Mismatch(f"one of {', '.join(wanted)}", row["metric"], ("metrics", k, "metric"))
        pair = (row["model"], row["metric"])
        if pair in seen:
            raise Mismatch(f"there once for {row['model']!r}", row["metric"], ("metrics", k, "metric"))
        seen.add(pair)
    lacking = [(m, name) for m in models for name in wanted if (m, name) not in seen]
    if lacking or models[0] != MODEL:
        model, name = (lacking or [(MODEL, wanted[0])])[0]
        raise Mismatch(
            f"rows with every metric of each model, {MODEL} first ({name} of {model!r})", len(seen), ("metrics",)
        )
    return models


def _typed(frame: pd.DataFrame, table: StoredFile, task: Task | None, models: list[str]) -> pd.DataFrame:
    """The predictions, refused where a class is not one of the task's, or a number is missing or not finite."""
    names = ["truth", "prediction", *models[1:]]
    if isinstance(task, Classification):
        for name in names:
            unknown = frame.loc[~frame[name].isin(task.classes), name]
            if len(unknown):
                raise table.damage(f"has {unknown.iloc[0]!r} in column {name!r}, not one of the model's classes")
        lacking = [f"p({c})" for c in task.classes if f"p({c})" not in frame]
        if lacking:
            raise table.damage(f"has no column {lacking[0]!r}")
    for name in frame.columns:
        if not (isinstance(task, Classification) and name in names):
            frame[name] = table.numbers(frame[name], missing=False)
    return frame
