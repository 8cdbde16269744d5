"""Files of a run, a checkpoint, a comparison, the caches and the command line: valid ones, and what is right of what is read."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import load_file

import aam_nb as aam
from aam_nb.study.study import Study
from aam_nb.train.callbacks import Callback

SHAPE = aam.ModelConfig(width=8, num_layers=1, num_attn_heads=2)
QUICK = aam.TrainConfig(epochs=1, batch_size=8, progress=False, device="cpu")
RESUMED = aam.TrainConfig(epochs=2, batch_size=8, progress=False, device="cpu", save_every=1)
COMPARE: dict[str, Any] = {
    "target": "age",
    "group": "host_id",
    "folds": 2,
    "tune": False,
    "num_resamples": 20,
    "num_permutations": 19,
}
CONTENDERS = ["svm", "dummy"]


@cache
def make_study() -> Study:
    """24 samples of 6 hosts, 60 ASVs of 24 nucleotides."""
    config = aam.SimulateConfig(length=24, min_depth=100, max_depth=200)
    return aam.simulate_study(24, 60, seed=1, config=config)


@cache
def sides() -> tuple[Study, Study]:
    """The training and the test side."""
    return make_study().split(target="age", group="host_id", test_size=0.3, seed=0)


class Stop(Callback):
    """Ends a training in its fifth step, as a kill would."""

    def on_step_end(self, trainer: Any) -> None:
        """Raise after the checkpoint of the step before."""
        if trainer.step == 5:
            raise InterruptedError


def make_folders(base: Path) -> None:
    """Everything that is damaged: two runs, an unfinished training, a comparison, a saved study, both caches."""
    train, test = sides()
    pretrained = aam.AAM(SHAPE).pretrain(train, config=QUICK)
    age = pretrained.fit(train, target="age", config=QUICK)
    age.evaluate(test, train=train, baselines=("dummy",))
    age.save(base / "runs" / "age")
    diet = aam.AAM(SHAPE).fit(train, target="diet", covariates=["age", "season"], config=QUICK)
    diet.evaluate(test, train=train, baselines=("dummy",))
    diet.save(base / "runs" / "diet")
    shutil.copytree(base / "runs", base / "runs_with_digests")
    for sums in (base / "runs").glob("*/SHA256SUMS"):  # they would refuse all damage before it is looked at
        sums.unlink()
    with suppress(InterruptedError):
        aam.AAM(SHAPE).fit(train, target="age", config=RESUMED, out=base / "unfinished", callbacks=[Stop()])
    aam.compare(CONTENDERS, make_study(), progress=False, out=base / "compare", **COMPARE)
    make_study().save(base / "study")
    with cache_in(base / "cache"):
        model = aam.load(base / "runs" / "age", device="cpu")
        model.vectors.disk = True
        model.predict(test)
        aam.unifrac(test)


def read_bytes(folder: Path, *patterns: str) -> dict[str, bytes]:
    """Files of a folder by their path in it."""
    paths = sorted(p for pattern in patterns for p in folder.glob(pattern) if p.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths}


def in_copy_of(source: Path) -> Callable[[Path, str], Path]:
    """Puts a file into its place in a copy of a folder."""

    def place(folder: Path, name: str) -> Path:
        first = Path(name).parts[0] if source.name.startswith("runs") else ""
        shutil.copytree(source / first, folder / "copy" / first)
        return folder / "copy" / name

    return place


@contextmanager
def cache_in(folder: Path) -> Iterator[None]:
    """Another cache folder."""
    before = os.environ.get("AAM_NB_CACHE")
    os.environ["AAM_NB_CACHE"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["AAM_NB_CACHE"]
        else:
            os.environ["AAM_NB_CACHE"] = before


# -- runs -----------------------------------------------------------------------------------------------------------------

KNOWN: dict[str, pd.DataFrame] = {}
"""Predictions of the runs as they were saved."""


def read_run(path: Path) -> None:
    """A run predicts finite numbers, and the same as before unless what it predicts by was changed; its parts can be shown."""
    run = path.parent
    model = aam.load(run, device="cpu")
    assert repr(model)
    assert model.summary() is not None
    predictions = model.predict(sides()[1])
    numbers = predictions.select_dtypes("number").to_numpy(dtype=float)
    assert np.isfinite(numbers).all(), "predictions that are not finite"
    assert list(predictions.index) == list(sides()[1].sample_ids)
    if path.name in ("history.csv", "splits.json", "evaluation.json", "predictions.csv"):
        pd.testing.assert_frame_equal(predictions, KNOWN[run.name])
    if path.name == "model.safetensors":
        saved = load_file(path)
        for name, tensor in model.network.state_dict().items():
            array = tensor.numpy()
            assert saved[name].dtype == array.dtype, f"{name} is {saved[name].dtype} in the file"
            assert np.array_equal(saved[name], array), f"{name} is another"
    _show(model, run)


def read_run_with_digests(path: Path) -> None:
    """A run that still has its digests is refused, or predicts the same as before."""
    pd.testing.assert_frame_equal(aam.load(path.parent, device="cpu").predict(sides()[1]), KNOWN[path.parent.name])


def _show(model: Any, run: Path) -> None:
    """What the report and the explorers take of a run."""
    if model.evaluation is not None:
        evaluation = model.evaluation
        assert repr(evaluation)
        assert evaluation._repr_html_()
        evaluation.to_frame()
        evaluation.warnings()
        json.dumps(evaluation.to_dict(), default=str)
    if len(model.history):
        import matplotlib.pyplot as plt

        for stage in dict.fromkeys(model.history["stage"]):
            plt.close(aam.plots.history(model.history, stage=stage).figure)
    model.save(run.parent / "again")


# -- checkpoints ----------------------------------------------------------------------------------------------------------


def read_checkpoint(path: Path) -> None:
    """A training that goes on ends finite, and with the weights of one that did not stop where the tensors are its own."""
    run = path.parent.parent.parent
    model = aam.AAM(SHAPE).fit(sides()[0], target="age", config=RESUMED, out=run, resume=True)
    weights = {k: v.numpy() for k, v in model.network.state_dict().items()}
    assert all(np.isfinite(w).all() for w in weights.values()), "weights that are not finite"
    assert np.isfinite(model.predict(sides()[1]).to_numpy()).all()
    assert len(model.history) == RESUMED.epochs


# -- comparisons ----------------------------------------------------------------------------------------------------------


def read_comparison(path: Path) -> None:
    """A comparison that loads can be shown."""
    from aam_nb.evaluate.comparison.result import Comparison

    result = Comparison.load(path.parent)
    assert repr(result)
    assert result._repr_html_()
    result.to_frame()
    result.sentence()
    result.warnings()


def read_folds(path: Path) -> None:
    """Finished folds that are damaged are fitted again: the same predictions as before."""
    out = path.parent.parent
    result = aam.compare(CONTENDERS, make_study(), progress=False, out=out, **COMPARE)
    pd.testing.assert_frame_equal(result.predictions, _compared())
    assert repr(result)
    result.to_frame()


@cache
def _compared() -> pd.DataFrame:
    return aam.compare(CONTENDERS, make_study(), progress=False, **COMPARE).predictions


# -- studies and caches -----------------------------------------------------------------------------------------------------


def read_saved_study(path: Path) -> None:
    """A saved study is whole, or refused."""
    from study_files import check_study

    study = check_study(aam.Study.load(path.parent))
    assert repr(study)
    if path.name == "study.json":
        assert (study.table != make_study().table).nnz == 0


def read_vectors(path: Path) -> None:
    """The same predictions as without a cache, whatever is in it."""
    with cache_in(path.parent.parent):
        model = aam.load(BASE["runs"] / "age", device="cpu")
        model.vectors.disk = True
        pd.testing.assert_frame_equal(model.predict(sides()[1]), KNOWN["age"])


def read_distances(path: Path) -> None:
    """The same distances as without a cache, whatever is in it."""
    with cache_in(path.parent):
        assert np.array_equal(aam.unifrac(sides()[1]).data, _distances())


@cache
def _distances() -> Any:
    return aam.unifrac(sides()[1], cache=False).data


# -- the command line -------------------------------------------------------------------------------------------------------

CONFIG = {
    "model": {"width": 16, "num_layers": 1, "num_attn_heads": 2, "dropout": 0.1},
    "train": {"epochs": 2, "batch_size": 8, "learning_rate": 1e-3, "progress": False, "schedule": "cosine"},
    "head": {"quantiles": [0.1, 0.5, 0.9]},
}
COMMAND = {
    "command": [
        "fit",
        "--table",
        "t.tsv",
        "--metadata",
        "m.tsv",
        "--target",
        "age",
        "--out",
        "o",
        "--epochs",
        "1",
        "--group",
        "host",
    ],
    "folder": "/",
}


def as_bytes(value: object) -> bytes:
    """JSON as bytes."""
    return json.dumps(value, indent=1).encode()


def read_config(path: Path) -> None:
    """A file for --config gives settings that are in range."""
    from aam_nb.cli.parsing import read_defaults
    from aam_nb.cli.training import Fit

    command = read_defaults(Fit, ["--config", str(path)])
    type(command.model)(**{f: getattr(command.model, f) for f in command.model.__dataclass_fields__})


def read_command(path: Path) -> None:
    """`aam-nb resume` of a command whose table does not exist: a sentence."""
    from aam_nb.cli.training import Resume

    here = Path.cwd()
    try:
        Resume(run=path.parent)()
    finally:
        os.chdir(here)


def read_notebook(path: Path) -> None:
    """A notebook of a stranger: its parameters become flags, or it is refused."""
    from aam_nb.cli.notebook import Notebook

    Notebook.parse([str(path), "--out", str(path.parent / "out")])


def make_notebook() -> bytes:
    """A notebook with parameters of every type."""
    import nbformat

    source = 'table: str | None = None  # the table\nfolds: int = 3  # folds\nshare: float = 0.5\nnames: list = ["a", "b"]\non: bool = True'
    cells = [nbformat.v4.new_markdown_cell("# A question", id="a"), nbformat.v4.new_code_cell(source, id="b")]
    cells[1].metadata["tags"] = ["parameters"]
    book = nbformat.v4.new_notebook(cells=cells)
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.writes(book).encode()


BASE: dict[str, Path] = {}
"""Where the folders of `make_folders` are."""
