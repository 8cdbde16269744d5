"""Checks by verbs: what one verb refuses or tells, its siblings do too. The table is in docs/best_practices.md."""

from __future__ import annotations

import ast
import dataclasses
import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from conftest import QUICK, TINY

import aam_nb as aam
from aam_nb.cli.program import COMMANDS
from aam_nb.study.errors import TargetError, UnknownIdError
from aam_nb.study.splits import SplitError
from aam_nb.study.study import Study
from aam_nb.study.target_checks import TargetWarning
from aam_nb.train.study_check import StudyWarning, reverse_complement

ONCE = replace(QUICK, epochs=1)
PACKAGE = Path(aam.__file__).parent


@pytest.fixture(scope="module")
def models(sides: tuple[Study, Study]) -> dict[str, aam.AAM]:
    """A model of numbers and one of classes, both with a covariate, evaluated."""
    made = {}
    for target in ("age", "diet"):
        model = aam.AAM(TINY).fit(sides[0], target=target, covariates=["season"], config=ONCE)
        model.evaluate(sides[1], baselines=["dummy"], find_leaks=False)
        made[target] = model
    return made


def retyped(study: Study) -> Study:
    """Ages with their unit, and diets in capitals."""
    ages = study.metadata["age"].astype(str) + " yr"
    return replace(study, metadata=study.metadata.assign(age=ages, diet=study.metadata["diet"].str.upper()))


# -- verbs that use a model -------------------------------------------------------------------------------------------

USES: dict[str, Callable[[aam.AAM, Study, Path], Any]] = {
    "predict": lambda m, s, _: m.predict(s),
    "embed": lambda m, s, _: m.embed(s),
    "evaluate": lambda m, s, _: m.evaluate(s, baselines=["dummy"], find_leaks=False),
    "explain": lambda m, s, _: aam.explain.attribute(m, s),
    "errors": lambda m, s, _: aam.errors(m.evaluation, s, model=m, attributions=False, num_permutations=99),
    "report": lambda m, s, out: aam.report(m, s, out / "report.html"),
    "attention explorer": lambda m, s, _: aam.widgets.attention(m, s, samples=[s.sample_ids[0]]),
}
NEED_TRUTH = ("evaluate", "errors", "report")


@pytest.mark.parametrize("verb", NEED_TRUTH)
@pytest.mark.parametrize(("target", "told"), [("age", "'age' holds text such as"), ("diet", "'ANIMAL': 'animal'")])
def test_a_truth_that_the_model_does_not_know_is_refused(
    models: dict[str, aam.AAM], sides: tuple[Study, Study], tmp_path: Path, verb: str, target: str, told: str
) -> None:
    with pytest.raises(TargetError, match=told):
        USES[verb](models[target], retyped(sides[1]), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("verb", [v for v in USES if v not in NEED_TRUTH])
def test_verbs_that_need_no_truth_work_without(
    models: dict[str, aam.AAM], sides: tuple[Study, Study], tmp_path: Path, verb: str
) -> None:
    USES[verb](models["age"], retyped(sides[1]).keep_samples(sides[1].sample_ids[:2]), tmp_path)


@pytest.mark.parametrize("verb", [v for v in USES if v != "report"])
def test_what_training_did_not_see_is_told(
    models: dict[str, aam.AAM], sides: tuple[Study, Study], tmp_path: Path, verb: str
) -> None:
    model = models["age"].with_network(models["age"].network)
    model._told = []
    shouting = sides[1].metadata.assign(season=sides[1].metadata["season"].str.upper())
    turned = [reverse_complement(asv) for asv in sides[1].asv_ids]
    other = replace(sides[1], metadata=shouting, asv_ids=turned, tree=None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        USES[verb](model, other, tmp_path)
    texts = [str(w.message) for w in caught if issubclass(w.category, StudyWarning)]
    assert any("reverse complement" in t for t in texts)
    assert any("'SUMMER': 'summer'" in t for t in texts)


# -- verbs that learn -------------------------------------------------------------------------------------------------

LEARNS: dict[str, Callable[..., Any]] = {
    "fit": lambda s, **how: aam.AAM(TINY).fit(s, config=ONCE, **how),
    "find_learning_rate": lambda s, **how: aam.AAM(TINY).find_learning_rate(s, config=ONCE, num_steps=10, **how),
    "compare": lambda s, **how: aam.compare(["dummy"], s, folds=2, tune=False, progress=False, num_resamples=20, **how),
}


@pytest.mark.parametrize("verb", LEARNS)
def test_a_covariate_that_is_the_target(sides: tuple[Study, Study], verb: str) -> None:
    with pytest.raises(TargetError, match="'age' is both target and covariate"):
        LEARNS[verb](sides[0], target="age", covariates=["season", "age"])
    with pytest.raises(TargetError, match="covariates is 5"):
        LEARNS[verb](sides[0], target="age", covariates=5)
    months = replace(sides[0], metadata=sides[0].metadata.assign(months=sides[0].metadata["age"] * 12))
    with pytest.warns(TargetWarning, match="The covariate 'months' is, up to its unit, 'age'"):
        LEARNS[verb](months, target="age", covariates=["months"])


@pytest.mark.parametrize("verb", LEARNS)
def test_a_target_that_cannot_be_learned(sides: tuple[Study, Study], verb: str) -> None:
    with pytest.raises(UnknownIdError, match="'ages' is not a metadata column"):
        LEARNS[verb](sides[0], target="ages")
    for values, told in ((7, "in all 36 samples"), (None, "is missing in all")):
        with pytest.raises(TargetError, match=told):
            LEARNS[verb](replace(sides[0], metadata=sides[0].metadata.assign(x=values)), target="x")


@pytest.mark.parametrize("verb", ["split", "folds", "leave_one_group_out", "compare"])
def test_a_group_that_is_the_target(study: Study, verb: str) -> None:
    calls: dict[str, Callable[[Study, str], Any]] = {
        "split": lambda s, g: s.split(target="diet", group=g),
        "folds": lambda s, g: s.folds(2, target="diet", group=g),
        "leave_one_group_out": lambda s, g: s.leave_one_group_out(g, target="diet"),
        "compare": lambda s, g: LEARNS["compare"](s, target="diet", group=g),
    }
    coded = replace(study, metadata=study.metadata.assign(code=study.metadata["diet"].map({"plant": 1, "animal": 0})))
    for group in ("diet", "code"):
        with pytest.raises(SplitError, match="The group is the target, 'diet'"):
            calls[verb](coded, group)


# -- flags in messages ------------------------------------------------------------------------------------------------


def flags_of(kind: type[Any], prefix: str = "") -> set[str]:
    """Flags of a command, with and without the names of the settings they belong to."""
    flags = set()
    hints: dict[str, Any] = get_type_hints(kind)
    for item in dataclasses.fields(kind):
        name = item.name.replace("_", "-")
        if dataclasses.is_dataclass(hints[item.name]):
            flags |= flags_of(hints[item.name]) | flags_of(hints[item.name], f"{name}.")
        else:
            flags |= {f"--{prefix}{name}", f"--no-{prefix}{name}"}
    return flags


FLAGS = {verb: flags_of(kind) for verb, kind in COMMANDS.items() if dataclasses.is_dataclass(kind)}
FOREIGN = {
    "--to-hdf5",
    "--no-deps",
    "--orient",
    "--version",
    "--help",
    "--list",
    "--no-browser",
    "--NAME",
    "--otutabout",
    "--pcoa",
    "--format",
}
"""Flags of other programs, and those that every command has."""
SHARED = {  # modules whose messages several verbs print, and the verbs
    "study/splits.py": ("pretrain", "fit", "compare"),
    "study/target_checks.py": ("fit", "compare"),
    "study/confounding.py": ("pretrain", "fit", "compare"),
    "study/base.py": ("pretrain", "fit", "compare", "predict", "evaluate", "explain", "errors", "report"),
}


def flags_in(path: Path) -> set[str]:
    """Flags that the texts of a module name."""
    texts = [
        n.value
        for n in ast.walk(ast.parse(path.read_text()))
        if isinstance(n, ast.Constant) and isinstance(n.value, str)
    ]
    return {flag for text in texts for flag in re.findall(r"(?<![\w-])--[a-zA-Z][\w.-]*\w", text)} - FOREIGN


def test_every_flag_that_a_message_names_exists() -> None:
    known = set().union(*FLAGS.values())
    modules = [p for p in PACKAGE.rglob("*.py") if "notebook" not in p.name]
    named = {(str(p.relative_to(PACKAGE)), flag) for p in modules for flag in flags_in(p)}
    assert ("study/splits.py", "--drop-missing-group") in named
    assert {(where, flag) for where, flag in named if flag not in known} == set()


@pytest.mark.parametrize("module", SHARED)
def test_shared_messages_name_flags_that_each_verb_has(module: str) -> None:
    named = flags_in(PACKAGE / module)
    assert named
    for verb in SHARED[module]:
        assert named - FLAGS[verb] - {"--contenders"} == set(), verb
