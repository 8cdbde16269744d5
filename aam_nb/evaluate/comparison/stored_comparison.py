"""A comparison from its files, which are checked before anything is built from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from aam_nb.config import CompareConfig
from aam_nb.config.schema import Mismatch, anything, choice, fields, many, optional, settings, text, whole
from aam_nb.config.stored import StoredFile
from aam_nb.evaluate.judged_truth import find_two_truths
from aam_nb.evaluate.leaks import Leak
from aam_nb.evaluate.metrics import METRICS
from aam_nb.evaluate.stored_evaluation import LEAK

ROWS = many(fields({"contender": text("the name of a contender")}, others=anything), least=1)
COMPARISON = fields(
    {
        "target": text(),
        "kind": choice(*METRICS),
        "reference": text("the name of a contender"),
        "num_samples": whole(0),
        "group": optional(text()),
        "num_groups": whole(0),
        "null": ROWS,
        "leaks": many(LEAK),
        "notes": many(text()),
        "config": settings(CompareConfig),
    },
    others=anything,
)
"""What comparison.json must hold."""
VERDICTS = ("better", "worse", "tied", "undecided")
COLUMNS = {
    "scores": ("contender", "metric", "value", "low", "high", "fold_mean", "fold_sd", "seconds", "memory_mb"),
    "differences": ("contender", "metric", "difference", "low", "high", "p", "p_holm", "verdict"),
    "folds": ("contender", "repeat", "fold", "metric", "value", "num_train", "num_test", "fit_seconds", "predict_seconds", "memory_mb"),
    "null": ("contender", "exchanged", "p"),
    "predictions": ("sample_id", "repeat", "fold", "truth"),
    "probabilities": (),
}  # fmt: skip
"""Columns that each table must have."""
TEXT = {"contender", "metric", "verdict", "exchanged", "sample_id"}
"""Columns of text; the others hold numbers, but for the classes that are predicted and the names of folds."""


def read_comparison(folder: Path) -> dict[str, Any]:
    """The parts of the comparison that `Comparison.save` wrote, by their names in `Comparison`.

    Raises
    ------
    StoredError, ConfigError
        A file is missing, damaged, or does not fit the others.
    """
    expected, remedy = "what `aam.compare(..., out=folder)` wrote", "Restore it from a copy, or compare again."
    file = StoredFile(path=folder / "comparison.json", expected=expected, remedy=remedy)
    values = file.read_json(COMPARISON, nan=True)
    tables = {name: _read_table(replace(file, path=folder / f"{name}.csv"), name, values) for name in COLUMNS}
    with file.told():
        _require_fit(values, tables)
    parts = {k: values[k] for k in ("target", "kind", "reference", "num_samples", "group", "num_groups", "config")}
    known: list[dict[str, Any]] = [
        {k: float("nan") if v is None else v for k, v in leak.items()} for leak in values["leaks"]
    ]
    leaks = tuple(Leak(**leak) for leak in known)
    return parts | tables | {"leaks": leaks, "notes": tuple(values["notes"])}


def _read_table(file: StoredFile, name: str, values: dict[str, Any]) -> pd.DataFrame:
    """A table with its types."""
    table = file.read_table(COLUMNS[name])
    texts = TEXT | ({"fold"} if name in ("folds", "predictions") else set())
    if name == "predictions" and values["kind"] == "classification":
        texts |= {"truth", *(row["contender"] for row in values["null"])}
    for column in table.columns:
        if column not in texts:
            is_whole = bool(table[column].str.fullmatch(r"[+-]?\d{1,15}").all())
            numbers = file.numbers(table[column], infinite=True)
            table[column] = numbers.astype(int) if is_whole else numbers
    return table.set_index("sample_id") if "sample_id" in table else table


def _require_fit(values: dict[str, Any], tables: dict[str, pd.DataFrame]) -> None:
    """Refuse (`Mismatch`) tables that do not tell of the same contenders, each once."""
    scores, differences, null = (tables[name] for name in ("scores", "differences", "null"))
    contenders = list(dict.fromkeys(scores["contender"]))
    wanted = sorted((c, m) for c in contenders for m in METRICS[values["kind"]])
    if sorted(zip(scores["contender"], scores["metric"], strict=True)) != wanted:
        raise Mismatch(
            "each metric of each contender once",
            list(zip(scores["contender"], scores["metric"], strict=True)),
            ("scores.csv",),
        )
    if values["reference"] not in contenders:
        raise Mismatch(f"one of {', '.join(contenders)}", values["reference"], ("reference",))
    others = sorted(set(contenders) - {values["reference"]})
    for name, table, expected in (("differences", differences, others), ("null", null, sorted(contenders))):
        if sorted(table["contender"]) != expected:
            raise Mismatch(f"{', '.join(expected) or 'nobody'}, each once", list(table["contender"]), (f"{name}.csv",))
    if sorted(row["contender"] for row in values["null"]) != sorted(contenders):
        raise Mismatch("each contender once", [row["contender"] for row in values["null"]], ("null",))
    lost = [c for c in contenders if c not in tables["predictions"]]
    if lost:
        raise Mismatch(f"with a column for {', '.join(lost)}", list(tables["predictions"]), ("predictions.csv",))
    if twice := find_two_truths(tables["predictions"]["truth"]):
        raise Mismatch(f"one {values['target']!r} of each sample", twice, ("predictions.csv", "truth"))
    wrong = differences.loc[~differences["verdict"].isin(VERDICTS), "verdict"]
    if len(wrong):
        raise Mismatch(f"one of {', '.join(VERDICTS)}", wrong.iloc[0], ("differences.csv", "verdict"))
