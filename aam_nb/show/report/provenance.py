"""How a model was made, for whoever wants to make it again: commands, code, seeds, hashes of the data, versions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pandas as pd

from aam_nb.config import ModelConfig, TrainConfig, from_dict
from aam_nb.train.estimator import AAM

UNTOLD = ("progress", "device")
"""Settings that say where and how loudly a model was trained, not how."""


def steps(model: AAM) -> pd.DataFrame:
    """A row per stage: samples, seed, how it was split, the hash of what was learned from, and the command where one was typed."""
    rows = {}
    for stage in ("pretrain", "fit"):
        if stage not in model.record:
            continue
        record, split = model.record[stage], model.record[stage]["split"] or {}
        held = model.samples.get("validation", []) if stage == "fit" else []
        used = len(model.samples.get("train" if stage == "fit" else "pretrain", []))
        rows[stage] = {
            "samples learned from": f"{used:,}" + (f" and {len(held):,} to choose the best epoch" if held else ""),
            "seed": record["config"]["seed"],
            "split": ", ".join(f"{name} {value}" for name, value in split.items() if _short(value)) or "none",
            "sha256 of the data": record["input_sha256"],
            "command": record.get("command", ""),
        }
    table = pd.DataFrame(rows).T.rename_axis("stage")
    return table.loc[:, (table != "").any()]


def code(model: AAM) -> str:
    """Python that trains the model again from its study: every setting that is not a default is written out."""
    fit, pretrain = model.record.get("fit"), model.record.get("pretrain")
    lines = ["import aam_nb as aam", "", "study = aam.read_study(...)  # the same files: compare the hashes"]
    if fit and fit["split"]:
        asked = {
            k: v for k, v in fit["split"].items() if k in ("test_size", "target", "group", "seed") and v is not None
        }
        lines.append(f"train, test = study.split({_arguments(asked)})")
    else:
        lines.append("train = study")
    lines.append(f"model = aam.AAM(aam.ModelConfig({_arguments(_set(model.config))}))")
    if pretrain:
        named = pretrain.get("objectives", [])
        objectives = ", ".join(repr(o.get("name", o.get("type", "?"))) for o in named)
        lines.append(f"model.pretrain(train, objectives=[{objectives}], config={_config(pretrain)})")
    if fit:
        lines.append(f"model.fit(train, target={model.require_task().target!r}, config={_config(fit)})")
    return "\n".join(lines)


def _config(record: Mapping[str, Any]) -> str:
    return f"aam.TrainConfig({_arguments(_set(from_dict(TrainConfig, record['config'])))})"


def _set(config: ModelConfig | TrainConfig) -> dict[str, Any]:
    """Fields of a config that are not at their defaults."""
    plain = type(config)()
    names = [f.name for f in dataclasses.fields(config) if f.name not in UNTOLD]
    return {n: getattr(config, n) for n in names if getattr(config, n) != getattr(plain, n)}


def _arguments(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items())


def _short(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)
