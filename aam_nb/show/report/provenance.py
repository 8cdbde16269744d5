"""How a model was made, so that others can make it again: commands, code, seeds, and hashes of the data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pandas as pd

from aam_nb.config import ModelConfig, TrainConfig, from_dict
from aam_nb.train.estimator import AAM

LEFT_OUT = ("progress", "device")
"""Settings that do not change what is trained."""


def steps(model: AAM) -> pd.DataFrame:
    """A row per stage: samples, seed, split, hash of the training data, and the command, if it was run from the command line."""
    rows = {}
    for stage in ("pretrain", "fit"):
        if stage not in model.record:
            continue
        record, split = model.record[stage], model.record[stage]["split"] or {}
        num_validation = len(model.samples.get("validation", [])) if stage == "fit" else 0
        num_train = len(model.samples.get("train" if stage == "fit" else "pretrain", []))
        rows[stage] = {
            "training samples": f"{num_train:,}"
            + (f", and {num_validation:,} to choose the best epoch" if num_validation else ""),
            "seed": record["config"]["seed"],
            "split": ", ".join(f"{name} {value}" for name, value in split.items() if _is_plain(value)) or "none",
            "SHA-256 of the data": record["input_sha256"],
            "command": record.get("command", ""),
        }
    table = pd.DataFrame(rows).T.rename_axis("stage")
    return table.loc[:, (table != "").any()]


def code(model: AAM) -> str:
    """Python that trains the model again from its study: every setting that is not a default is written out."""
    fit, pretrain = model.record.get("fit"), model.record.get("pretrain")
    lines = [
        "import aam_nb as aam",
        "",
        "study = aam.read_study(...)  # the same files and filters: compare the hashes",
    ]
    if fit and fit["split"]:
        options = ("test_size", "target", "group", "seed")
        split = {k: v for k, v in fit["split"].items() if k in options and v is not None}
        lines.append(f"train, test = study.split({_arguments(split)})")
    else:
        lines.append("train = study")
    lines.append(f"model = aam.AAM(aam.ModelConfig({_arguments(_changed(model.config))}))")
    if pretrain:
        objectives = ", ".join(repr(o.get("name", o.get("type", "?"))) for o in pretrain.get("objectives", []))
        lines.append(f"model.pretrain(train, objectives=[{objectives}], config={_config(pretrain)})")
    if fit:
        lines.append(f"model.fit(train, target={model.require_task().target!r}, config={_config(fit)})")
    return "\n".join(lines)


def _config(record: Mapping[str, Any]) -> str:
    return f"aam.TrainConfig({_arguments(_changed(from_dict(TrainConfig, record['config'])))})"


def _changed(config: ModelConfig | TrainConfig) -> dict[str, Any]:
    """Fields of a config that are not at their defaults."""
    default = type(config)()
    names = [f.name for f in dataclasses.fields(config) if f.name not in LEFT_OUT]
    return {n: getattr(config, n) for n in names if getattr(config, n) != getattr(default, n)}


def _arguments(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items())


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)
