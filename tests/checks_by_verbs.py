"""The verbs, and the hostile inputs that each of them refuses, tells or works with: what `test_checks.py` tries one by one.

The table of `docs/best_practices.md` is `make_table()`: `python tests/checks_by_verbs.py` prints it. Notebook templates are run here cell
by cell, in this process, with their parameters set: up to the refusal or the warning, so most of them end early.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch

import aam_nb as aam
from aam_nb.study.study import Study
from aam_nb.train.study_check import reverse_complement

NOTEBOOKS = Path(aam.__file__).parents[1] / "notebooks"
SHAPE: dict[str, Any] = {"width": 16, "num_layers": 1, "num_attn_heads": 2}
TRAINING: dict[str, Any] = {"epochs": 1, "batch_size": 16}
TINY, ONCE = aam.ModelConfig(**SHAPE), aam.TrainConfig(**TRAINING, progress=False)
JUDGED = aam.EvaluateConfig(num_resamples=20, num_trees=2)
RECIPE = aam.Recipe(model=TINY, pretrain=None, fit=ONCE)
CONTEST: dict[str, Any] = {"folds": 2, "tune": False, "num_resamples": 20, "num_permutations": 99}
TORCH = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."


@dataclass(frozen=True, kw_only=True)
class World:
    """What is made once: a study, models of it that were evaluated, their run folders, a comparison and an error analysis."""

    study: Study
    models: dict[str, aam.AAM]
    runs: Path
    comparison: aam.Comparison
    analysis: aam.ErrorAnalysis

    @classmethod
    def of(cls, study: Study, sides: tuple[Study, Study], runs: Path) -> World:
        models = {}
        for target in ("age", "diet"):
            model = aam.AAM(TINY).fit(sides[0], target=target, covariates=["season"], config=ONCE)
            model.evaluate(sides[1], baselines=["dummy"], find_leaks=False, config=JUDGED)
            model.save(runs / target)
            models[target] = model
        models["nothing"] = aam.AAM(TINY).pretrain(sides[0], objectives=["nucleotides"], config=ONCE)
        models["nothing"].save(runs / "nothing")
        comparison = aam.compare(["dummy"], study, target="age", progress=False, **CONTEST)
        judged = models["age"].evaluation
        assert judged is not None
        analysis = aam.errors(judged, study, attributions=False, num_permutations=99, num_resamples=20)
        return cls(study=study, models=models, runs=runs, comparison=comparison, analysis=analysis)


@dataclass(frozen=True, kw_only=True)
class Case:
    """What a verb is given."""

    world: World
    study: Study
    model: aam.AAM
    run: Path
    place: Path
    out: Path
    target: str = "age"
    group: str | None = None
    covariates: tuple[str, ...] = ()


# -- the verbs --------------------------------------------------------------------------------------------------------


def training_side(case: Case) -> Study:
    """What `pretrain` and `fit` get of a study that is split by its group."""
    split = case.study.split(target=case.target, group=case.group, test_size=0.25) if case.group else None
    return case.study if split is None else split[0]


def find_rate(case: Case) -> Any:
    how: dict[str, Any] = {"target": case.target, "covariates": case.covariates}
    return aam.AAM(TINY).find_learning_rate(case.study, config=ONCE, num_steps=10, **how)


def compare(case: Case) -> Any:
    """Of a model without an evaluation, which `compare` of saved runs has."""
    how = {"target": case.target, "group": case.group, "covariates": case.covariates, "out": case.out}
    return aam.compare(["aam", "dummy"], case.study, recipe=RECIPE, progress=False, **how, **CONTEST)


def compare_runs(case: Case) -> Any:
    given = {"mine": aam.load(case.run), "dummy": "dummy"}
    how: dict[str, Any] = {"target": case.target, "covariates": case.covariates, "out": case.out}
    return aam.compare(given, case.study, progress=False, **how, **CONTEST)


def evaluate(case: Case) -> Any:
    model = case.model.with_network(case.model.network) if case.model.is_trained else case.model
    return model.evaluate(case.study, baselines=["dummy"], find_leaks=False, config=JUDGED)


def errors(case: Case) -> Any:
    result = case.model.evaluation or evaluate(case)
    how = {"attributions": False, "num_permutations": 99, "num_resamples": 20}
    return aam.errors(result, case.study, model=case.model, **how)


def in_notebook(name: str) -> Callable[[Case], Any]:
    """A template, run cell by cell with its parameters set, in the folder of the case."""

    def run(case: Case) -> None:
        if not (case.place / "files").exists():
            case.study.save(case.place / "files")
        given: dict[str, Any] = {"table": "files/table.biom", "metadata": "files/metadata.tsv", "out": str(case.out)}
        given |= {"target": case.target, "group": case.group, "covariates": case.covariates, "run": str(case.run)}
        given |= {"tree": "files/tree.nwk"} if case.study.tree is not None else {}
        given |= SHAPE | TRAINING | CONTEST | {"contenders": ("aam", "dummy"), "all": True, "check": False}
        given |= {"num_trees": 2, "attributions": False, "min_slice": 3}
        names: dict[str, Any] = {"__name__": "__main__"}
        with contextlib.chdir(case.place), contextlib.redirect_stdout(io.StringIO()):
            for cell in json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())["cells"]:
                if cell["cell_type"] == "code":
                    exec(compile("".join(cell["source"]), f"{name}.ipynb, cell {cell['id']}", "exec"), names)
                if "parameters" in cell["metadata"].get("tags", []):
                    names |= {key: value for key, value in given.items() if key in names}

    return run


def exported(explorer: Any, case: Case) -> Any:
    """The explorer, written as a page where the case is about writing."""
    return explorer.export(case.out / "page.html") if case.out.parent.is_file() else explorer


VERBS: dict[str, Callable[[Case], Any]] = {
    "split": lambda c: c.study.split(target=c.target, group=c.group, test_size=0.25),
    "folds": lambda c: c.study.folds(2, target=c.target, group=c.group),
    "pretrain": lambda c: aam.AAM(TINY).pretrain(training_side(c), config=ONCE, out=c.out),
    "fit": lambda c: aam.AAM(TINY).fit(
        training_side(c), target=c.target, covariates=c.covariates, config=ONCE, out=c.out
    ),
    "find_learning_rate": find_rate,
    "compare": compare,
    "compare of runs": compare_runs,
    "predict": lambda c: c.model.predict(c.study),
    "embed": lambda c: c.model.embed(c.study),
    "evaluate": evaluate,
    "explain": lambda c: aam.explain.attribute(c.model, c.study),
    "errors": errors,
    "report": lambda c: aam.report(c.model, c.study, c.out / "report.html"),
    "save": lambda c: c.model.save(c.out),
    "write_unifrac": lambda c: aam.write_unifrac(c.study, c.out / "distances.h5"),
    **{f"notebook {n}": in_notebook(n) for n in ("explore", "pretrain", "fit", "explain", "errors", "compare")},
    "explorer of a study": lambda c: exported(aam.widgets.explore(c.study), c),
    "explorer of a training": lambda c: exported(aam.widgets.training(), c),
    "explorer of attention": lambda c: exported(aam.widgets.attention(c.model, c.study), c),
    "explorer of attributions": lambda c: exported(
        aam.widgets.attributions(aam.explain.attribute(c.model, c.study)), c
    ),
    "explorer of errors": lambda c: exported(aam.widgets.errors(c.world.analysis, study=c.study), c),
    "explorer of a comparison": lambda c: exported(aam.widgets.compare(c.world.comparison, c.study), c),
}
NOTEBOOK_NAMES = tuple(verb for verb in VERBS if verb.startswith("notebook"))
LEARN = ("fit", "find_learning_rate", "compare", "notebook fit", "notebook compare")
SPLIT = ("split", "folds", "compare", "notebook pretrain", "notebook fit", "notebook compare")
GROUPED = (*SPLIT, "pretrain", "fit")
USE = ("predict", "embed", "evaluate", "explain", "errors", "report")
TRUTH = ("evaluate", "errors", "report", "notebook errors")
SHOW = ("explorer of attention", "explorer of attributions")
NO_TRUTH = ("predict", "embed", "explain", "explorer of a study", *SHOW)
NETWORK = ("pretrain", "fit", "find_learning_rate", "compare", "compare of runs", *USE, *SHOW)


# -- the checks -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Check:
    """A hostile input, and what each verb makes of it.

    Parameters
    ----------
    make
        Fields of the case, from what is made once.
    refuses, tells, works
        Verbs that end with one sentence of ours, that warn, and that need nothing of it and so say nothing. Others have no such input.
    words
        What the sentence or the warning says; of some verbs another.
    around
        What is in force while the verb runs.
    """

    make: Callable[[World], dict[str, Any]] = lambda world: {}
    refuses: tuple[str, ...] = ()
    tells: tuple[str, ...] = ()
    works: tuple[str, ...] = ()
    words: str = ""
    others: dict[str, str] = field(default_factory=dict)
    around: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext


def with_columns(world: World, **columns: Any) -> Study:
    return replace(world.study, metadata=world.study.metadata.assign(**columns))


def column(world: World, name: str) -> pd.Series:
    return world.study.metadata[name]


def first(world: World, number: int) -> Study:
    return world.study.keep_samples(world.study.sample_ids[:number])


def reversed_asvs(world: World) -> Study:
    return replace(world.study, asv_ids=[reverse_complement(asv) for asv in world.study.asv_ids], tree=None)


def broken(world: World) -> aam.AAM:
    """A model whose predictions are not finite."""
    model = world.models["age"]
    network = copy.deepcopy(model.network)
    with torch.no_grad():
        for weights in network.parameters():
            weights.fill_(float("nan"))
    return model.with_network(network)


@contextlib.contextmanager
def no_memory() -> Iterator[None]:
    """No memory for a layer of a network, nor for an explorer: torch and Python say so in their own words."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise RuntimeError(TORCH)

    with (
        patch("torch.nn.functional.linear", refuse),
        patch("gc.collect"),  # again and again, as parts are made smaller: of the whole test run it takes long
        patch("anywidget.AnyWidget.__init__", side_effect=MemoryError("Unable to allocate 9. GiB")),
    ):
        yield


UNSEEN = (*USE[:2], "evaluate", "explain", "errors", *SHOW)
CHECKS: dict[str, Check] = {
    "target that is no column": Check(
        make=lambda w: {"target": "ages"},
        refuses=(*LEARN, "split", "folds", "notebook explore", "notebook pretrain"),
        words="'ages' is not a metadata column",
    ),
    "target without a value": Check(
        make=lambda w: {"study": with_columns(w, age=np.nan)},
        refuses=(*LEARN, *TRUTH, "split", "folds", "notebook pretrain"),
        works=NO_TRUTH,
        words="'age' is missing in all|'age' of sample .* is missing in the study",
    ),
    "one class, or one number": Check(
        make=lambda w: {"study": with_columns(w, diet="plant"), "target": "diet"},
        refuses=(*LEARN, "split", "folds", "notebook pretrain"),
        tells=("evaluate",),
        works=NO_TRUTH,
        words="'diet' is 'plant' in all",
    ),
    "class of one sample": Check(
        make=lambda w: {"study": with_columns(w, diet=["rare", *column(w, "diet")[1:]]), "target": "diet"},
        refuses=(*LEARN, "split", "folds", "notebook pretrain"),
        words=r"`?--min-class-size",
    ),
    "target among the covariates": Check(
        make=lambda w: {"covariates": ("age",)},
        refuses=LEARN,
        words="'age' is both target and covariate",
    ),
    "covariate that is the target in other words": Check(
        make=lambda w: {"study": with_columns(w, months=column(w, "age") * 12), "covariates": ("months",)},
        tells=LEARN,
        words="The covariate 'months' is, up to its unit, 'age'",
    ),
    "group that is the target": Check(
        make=lambda w: {"target": "diet", "group": "diet"}, refuses=GROUPED, words="The group is the target, 'diet'"
    ),
    "group that is the target in other words": Check(
        make=lambda w: {
            "study": with_columns(w, code=column(w, "diet").map({"plant": 1, "animal": 0})),
            "target": "diet",
            "group": "code",
        },
        refuses=GROUPED,
        words="each value of 'code' has one of 'diet'",
    ),
    "samples without a group": Check(
        make=lambda w: {
            "study": with_columns(w, host_id=column(w, "host_id").where(np.arange(48) > 2)),
            "group": "host_id",
        },
        refuses=GROUPED,
        words=r"3 samples have no 'host_id' .*`--drop-missing-group`",
    ),
    "one sample": Check(
        make=lambda w: {"study": first(w, 1)},
        refuses=(*LEARN, "pretrain", "split", "folds", "notebook pretrain"),
        tells=("evaluate",),
        works=NO_TRUTH,
        words="in all 1 samples|There is 1 sample|The intervals rest on 1 ",
    ),
    "three samples": Check(
        make=lambda w: {"study": first(w, 3)},
        refuses=("compare", "notebook compare"),
        tells=("pretrain", "fit", "find_learning_rate", "evaluate"),
        works=NO_TRUTH,
        words="There are 3 samples to learn from|'age' is constant on the training side of a fold|The intervals rest on 1 ",
    ),
    "two numbers that may be classes": Check(
        make=lambda w: {"study": with_columns(w, age=(column(w, "age") > 45) * 1.0)},
        tells=LEARN,
        words="'age' holds two numbers alone, 0 and 1",
    ),
    "classes that differ in spelling": Check(
        make=lambda w: {
            "study": with_columns(
                w, diet=column(w, "diet").where(np.arange(48) % 3 > 0, column(w, "diet").str.upper())
            ),
            "target": "diet",
        },
        tells=LEARN,
        words="Classes of 'diet' differ in spelling alone",
    ),
    "classes that the model does not know": Check(
        make=lambda w: {"study": with_columns(w, diet=column(w, "diet").str.upper()), "target": "diet"},
        refuses=(*TRUTH, "compare of runs"),
        works=NO_TRUTH,
        words="'ANIMAL': 'animal'",
        others={"compare of runs": "is 'ANIMAL' in the study and 'animal' in the evaluation of 'mine'"},
    ),
    "text where the model predicts numbers": Check(
        make=lambda w: {"study": with_columns(w, age=column(w, "age").astype(str) + " yr")},
        refuses=(*TRUTH, "explorer of errors", "explorer of a comparison"),
        works=NO_TRUTH,
        words="'age' holds text such as",
        others=dict.fromkeys(("explorer of errors", "explorer of a comparison"), r"is '[\d.]+ yr' in the study and "),
    ),
    "truth in another unit than was judged": Check(
        make=lambda w: {"study": with_columns(w, age=column(w, "age") * 12)},
        refuses=("compare of runs", "errors", "report", "explorer of errors", "explorer of a comparison"),
        words=r"'age' of sample S\d+ is [\d.]+ in the study and [\d.]+ in .*, all by a factor of 12: another unit",
    ),
    "classes that are not those judged": Check(
        make=lambda w: {
            "study": with_columns(w, diet=column(w, "diet").map({"plant": "animal", "animal": "plant"})),
            "target": "diet",
        },
        refuses=("compare of runs", "errors", "report"),
        words=r"'diet' of sample S\d+ is '(animal|plant)' in the study and '(animal|plant)' in the evaluation",
    ),
    "another target than was judged": Check(
        make=lambda w: {"target": "diet", "run": w.runs / "age"},
        refuses=("compare of runs",),
        words=r"The truth of sample S\d+ is '\w+', its 'diet', in the study and [\d.]+, its 'age', in the evaluation of 'mine'",
    ),
    "covariate whose column is absent": Check(
        make=lambda w: {
            "study": replace(w.study, metadata=w.study.metadata.drop(columns="season")),
            "covariates": ("season",),
        },
        refuses=(*LEARN, *USE, *SHOW, "notebook explain", "notebook errors"),
        works=("split", "folds", "explorer of a study"),
        words=r"covariates \(season\)|'season' is not a metadata column",
    ),
    "covariate values never seen": Check(
        make=lambda w: {"study": with_columns(w, season=column(w, "season").str.upper())},
        tells=(*UNSEEN, "notebook explain", "notebook errors"),
        words="'SUMMER': 'summer'",
    ),
    "reverse complements of known ASVs": Check(
        make=lambda w: {"study": reversed_asvs(w)},
        tells=(*UNSEEN, "notebook explain", "notebook errors"),
        words="reverse complement",
    ),
    "prediction that is not finite": Check(
        make=lambda w: {"model": broken(w)},
        refuses=USE[:-1],
        words="are NaN or infinite|not finite",
    ),
    "model without a target": Check(
        make=lambda w: {"model": w.models["nothing"], "run": w.runs / "nothing"},
        refuses=("predict", "evaluate", "explain", "report", "notebook explain", "notebook errors"),
        works=("embed", "explorer of attention"),
        words="has no target yet",
    ),
    "memory that runs out": Check(
        make=lambda w: {},
        refuses=(
            *NETWORK,
            *NOTEBOOK_NAMES[1:],
            "explorer of a study",
            "explorer of errors",
            "explorer of a comparison",
        ),
        works=("split", "folds"),
        words="Memory ran out .* Use ",
        around=no_memory,
    ),
    "place that cannot be written, found before the work": Check(
        make=lambda w: {"out": "file/sub"},
        refuses=("pretrain", "fit", "compare", "compare of runs", "report", "save", "write_unifrac", *NOTEBOOK_NAMES),
        words=r"cannot be written \(Not a directory\)",
        around=no_memory,
    ),
    "page of an explorer that cannot be written": Check(
        make=lambda w: {"out": "file/sub"},
        refuses=tuple(v for v in VERBS if v.startswith("explorer") and v != "explorer of a training"),
        words=r"cannot be written \(Not a directory\)",
    ),
}


def make_table() -> str:
    """The table of `docs/best_practices.md`."""
    lines = ["| check | refuse | tell | work without |", "|---|---|---|---|"]
    for name, check in CHECKS.items():
        lines.append("| " + " | ".join([name, *map(name_verbs, (check.refuses, check.tells, check.works))]) + " |")
    return "\n".join(lines)


def name_verbs(verbs: tuple[str, ...]) -> str:
    """Verbs in the order of `VERBS`, those of a kind together."""
    kinds: dict[str, list[str]] = {"": [], "notebook": [], "explorer": []}
    for verb in VERBS:
        if verb in verbs:
            kind = verb.split(" ")[0]
            kind = kind if kind in kinds else ""
            short = verb if not kind else verb.removeprefix(f"{kind} ").removeprefix("of a ").removeprefix("of ")
            kinds[kind].append(f"`{short}`" if kind != "explorer" and "of runs" not in short else short)
    notebooks = f"notebooks {', '.join(kinds['notebook'])}" if kinds["notebook"] else ""
    explorers = f"explorers of {', '.join(kinds['explorer'])}" if kinds["explorer"] else ""
    return "; ".join(filter(None, [", ".join(kinds[""]), notebooks, explorers]))


if __name__ == "__main__":
    print(make_table())
