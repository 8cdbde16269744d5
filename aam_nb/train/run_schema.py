"""What the JSON files and tables of a run folder must hold: checked before anything is built from them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from aam_nb.config import ModelConfig, TargetConfig, TrainConfig, UserError
from aam_nb.config.schema import (
    LACKS,
    Check,
    Mismatch,
    anything,
    choice,
    either,
    fields,
    many,
    mapping,
    number,
    optional,
    settings,
    text,
    truth,
    whole,
)
from aam_nb.config.stored import StoredFile

# Settings that every run folder of format 2 has. One that lacks is refused, since its default would be another model; settings that came
# later have their defaults in runs from before them.
MODEL_SETTINGS = re.findall(
    r"\w+", "width num_layers num_attn_heads scales window positions learned_length abundance fusion dropout drop_path"
)
TRAIN_SETTINGS = re.findall(
    r"\w+",
    """epochs patience validation best batch_size max_tokens accumulation max_asvs asv_choice coverage weight_by asv_dropout rarefy mutation
    mixup covariate_dropout optimizer learning_rate encoder_rate covariate_rate head_rate weight_decay schedule warmup cycles decay clip
    clip_at loss_weighting ema freeze unfreeze_every cache device precision compile checkpointing seed save_every tensorboard progress""",
)
TARGET_SETTINGS = re.findall(
    r"\w+",
    """loss huber_delta over_cost transform transform_by output low high quantiles class_weights label_smoothing focal hidden
    head_dropout""",
)
IDS = many(text("a sample id"), once=True)
SPLIT = fields(
    {"group": optional(text())},
    {
        "part": choice("train", "test"),
        "target": optional(text()),
        "test_size": number(0, 1),
        "seed": whole(0),
        "fold": optional(text()),
    },
    others=anything,
)
STAGE = fields(
    {
        "config": settings(TrainConfig, TRAIN_SETTINGS, build=False),
        "input_sha256": text(),
        "provenance": many(text()),
        "split": optional(SPLIT),
    },
    {
        "left_out": optional(text()),
        "command": text(),
        "objectives": many(fields({"name": text()}, others=anything)),
    },
    others=anything,
)
FILTER = either(truth, whole(), text(), many(text()))
RECORD = fields({}, {"pretrain": STAGE, "fit": STAGE, "filters": mapping(FILTER)}, others=anything)
CONFIG = fields(
    {
        "format_version": whole(1),
        "model": settings(ModelConfig, MODEL_SETTINGS),
        "train": settings(TrainConfig, TRAIN_SETTINGS, build=False),
        "record": RECORD,
        "reference_asvs": many(text("the DNA of an ASV", most=2**16), least=1, most=1024),
        "covariates": optional(fields({}, others=anything)),
    },
    {"versions": mapping(text()), "trained_asvs": optional(mapping(mapping(anything)))},
    others=anything,
)
SPLITS = fields({"group": optional(text())}, dict.fromkeys(("pretrain", "train", "validation", "test"), IDS))
OBJECTIVE = fields({"name": text()}, {"config": settings(TargetConfig, TARGET_SETTINGS, build=False)}, others=anything)
TARGET = fields({"objectives": many(OBJECTIVE, least=1)})
CHECKS: dict[str, Check] = {"config.json": CONFIG, "target.json": TARGET, "splits.json": SPLITS}
"""What each JSON file of a run must hold."""
REQUIRED_NUMBERS = ("epoch", "train_loss", "valid_loss")
"""Columns of numbers that every history has, beside its stage."""


def read_history(stored: StoredFile) -> pd.DataFrame:
    """The table of epochs: whole numbers, numbers, truth values and texts by column, and an empty one where the file is empty.

    Raises
    ------
    stored.error
        It is no such table.
    """
    table = stored.read_table()
    if table.columns.empty:
        return pd.DataFrame()
    with stored.told():
        for name in ("stage", "epoch", "train_loss", "valid_loss"):
            if name not in table:
                raise Mismatch("one with stage, epoch, train_loss and valid_loss", list(table.columns), ("header",))
        unknown = table.loc[~table["stage"].isin(["pretrain", "fit"]), "stage"]
        if len(unknown):
            raise Mismatch("pretrain or fit", unknown.iloc[0], ("stage",))
    columns = {str(name): _typed(table[name]) for name in table if name not in REQUIRED_NUMBERS}
    for name in REQUIRED_NUMBERS:
        numbers = stored.numbers(table[name], missing=name != "epoch", infinite=name != "epoch")
        if name == "epoch" and not ((numbers >= 1) & (numbers <= 2**31) & (numbers % 1 == 0)).all():
            raise stored.damage("has an epoch that is not a whole number of at least 1")
        columns[name] = numbers.astype("int64") if name == "epoch" else numbers
    return pd.DataFrame({name: columns[str(name)] for name in table})


def _typed(column: pd.Series) -> pd.Series:
    """A column of a user's own or of ours, by what all of its cells are."""
    stored = StoredFile(path=Path())
    if column.isin(["True", "False"]).all():
        return column == "True"
    if column.str.fullmatch(r"-?[0-9]{1,18}").all():
        return column.astype("int64")
    try:
        return stored.numbers(column, infinite=True)
    except UserError:
        return column


def require_same_spec(saved: Mapping[str, Any], made: Mapping[str, Any]) -> None:
    """Refuse (`Mismatch`) what an objective was saved as where the objective made from it is another one."""
    for name, value in made.items():
        if name not in saved:
            raise Mismatch("which it needs", LACKS, (name,))
        if value != saved[name]:
            raise Mismatch("what the objective saves", saved[name], (name,))


def require_names_apart(objectives: Sequence[Any]) -> None:
    """Refuse (`Mismatch`) two objectives of one name."""
    names = [o.name for o in objectives]
    for k, name in enumerate(names):
        if name in names[:k]:
            raise Mismatch("an objective of its own name", name, ("objectives", k))
