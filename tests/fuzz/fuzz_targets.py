"""The targets by name: every file that is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import mutations as m
import run_files as runs
import study_files as studies
from fuzzing import Target

import aam_nb as aam

STUDY_READERS: dict[str, tuple[tuple[m.Mutator, ...], Callable[[Path], None]]] = {
    "table_text": (m.TEXT, studies.read_table_text),
    "table_biom1": (m.JSON, studies.read_biom),
    "table_biom2": (m.HDF, studies.read_biom),
    "table_biom2_lazy": (m.HDF, studies.read_lazily),
    "table_anndata": (m.HDF, studies.read_anndata),
    "table_mothur": (m.TEXT, studies.read_mothur),
    "metadata": (m.TEXT, studies.read_metadata),
    "tree": ((), studies.read_tree),
    "taxonomy": (m.TEXT, studies.read_taxonomy),
    "sequences": (m.TEXT, studies.read_sequences),
    "archive": (m.ZIP, studies.read_archive),
    "gzip": (m.GZIP, studies.read_archive),
    "info": ((), studies.read_info),
}
RUN_READERS: dict[str, tuple[str, tuple[str, ...], tuple[m.Mutator, ...], Callable[[Path], None]]] = {
    "run_config": ("runs", ("*/config.json",), m.JSON, runs.read_run),
    "run_target": ("runs", ("*/target.json",), m.JSON, runs.read_run),
    "run_splits": ("runs", ("*/splits.json",), m.JSON, runs.read_run),
    "run_history": ("runs", ("*/history.csv",), m.TEXT, runs.read_run),
    "run_evaluation": ("runs", ("*/evaluation.json",), m.JSON, runs.read_run),
    "run_predictions": ("runs", ("*/predictions.csv",), m.TEXT, runs.read_run),
    "run_weights": ("runs", ("*/model.safetensors",), m.TENSORS, runs.read_run),
    "run_digests": (
        "runs_with_digests",
        ("*/SHA256SUMS", "*/*.json", "*/model.safetensors"),
        m.TEXT,
        runs.read_run_with_digests,
    ),
    "checkpoint_state": ("unfinished", ("checkpoints/last/state.json",), m.JSON, runs.read_checkpoint),
    "checkpoint_tensors": ("unfinished", ("checkpoints/last/state.safetensors",), m.TENSORS, runs.read_checkpoint),
    "comparison": ("compare", ("comparison.json",), m.JSON, runs.read_comparison),
    "comparison_tables": ("compare", ("*.csv",), m.TEXT, runs.read_comparison),
    "comparison_folds": ("compare", ("folds/*.csv", "folds/*.json"), (*m.TEXT, *m.JSON), runs.read_folds),
    "saved_study": ("study", ("*.tsv", "*.nwk", "*.biom"), (*m.TEXT, *m.HDF), runs.read_saved_study),
    "saved_study_record": ("study", ("study.json",), m.JSON, runs.read_saved_study),
    "cache_vectors": ("cache", ("asvs/*.safetensors",), m.TENSORS, runs.read_vectors),
    "cache_distances": ("cache", ("*.h5",), m.HDF, runs.read_distances),
}
COMMAND_READERS: dict[str, tuple[Callable[[], dict[str, bytes]], Callable[[Path], None]]] = {
    "config_file": (lambda: {"settings.json": runs.as_bytes(runs.CONFIG)}, runs.read_config),
    "command": (lambda: {"command.json": runs.as_bytes(runs.COMMAND)}, runs.read_command),
    "notebook": (lambda: {"mine.ipynb": runs.make_notebook()}, runs.read_notebook),
}
FEW = {
    **dict.fromkeys(("archive", "gzip", "cache_vectors", "run_history", "run_predictions", "run_evaluation"), 15),
    **dict.fromkeys(("checkpoint_state", "checkpoint_tensors", "comparison_folds", "notebook"), 10),
    **dict.fromkeys(("comparison", "comparison_tables", "saved_study"), 20),
}
"""Cases in the sample of `make test` where one takes long; of others, 30."""
NEEDS = {"table_anndata": "anndata"}
"""Packages without which a target is left out."""
TARGETS = (*STUDY_READERS, *RUN_READERS, *COMMAND_READERS)


def make_base(base: Path) -> None:
    """The valid files, made once for all processes."""
    if not (base / "made").is_file():
        (base / "studies").mkdir(parents=True, exist_ok=True)
        runs.make_folders(base)
        (base / "made").touch()


def make_target(name: str, base: Path) -> Target:
    """A target; its valid files are in `base`, and are made where they are not."""
    sample = FEW.get(name, 30)
    if name in STUDY_READERS:
        mutators, read = STUDY_READERS[name]
        base.mkdir(parents=True, exist_ok=True)
        files = studies.make_study_files(base)["table_biom2" if name == "table_biom2_lazy" else name]
        return Target(name, files, mutators, read, sample)
    if name in COMMAND_READERS:
        make, read = COMMAND_READERS[name]
        return Target(name, make(), m.JSON, read, sample)
    make_base(base)
    folder, patterns, mutators, read = RUN_READERS[name]
    runs.BASE["runs"] = base / "runs"
    for run in sorted((base / "runs").iterdir()):
        runs.KNOWN.setdefault(run.name, aam.load(run, device="cpu").predict(runs.sides()[1]))
    return Target(
        name, runs.read_bytes(base / folder, *patterns), mutators, read, sample, runs.in_copy_of(base / folder)
    )
