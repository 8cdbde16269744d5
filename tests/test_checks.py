"""Checks by verbs: what one verb refuses or tells, its siblings do too. The table in docs/best_practices.md is the same dict."""

from __future__ import annotations

import ast
import dataclasses
import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_type_hints

import matplotlib
import matplotlib.pyplot
import pandas as pd
import pytest
from checks_by_verbs import CHECKS, NOTEBOOKS, VERBS, Case, World, make_table

import aam_nb as aam
from aam_nb.cli import main, templates
from aam_nb.cli.program import COMMANDS, WRITES
from aam_nb.config import Notice, UserError
from aam_nb.config.stored import StoredError
from aam_nb.evaluate.comparison.result import Comparison
from aam_nb.study.errors import TargetError
from aam_nb.study.study import Study

PACKAGE = Path(aam.__file__).parent
CELLS = [
    (name, verb, outcome)
    for name, check in CHECKS.items()
    for outcome in ("refuses", "tells", "works")
    for verb in getattr(check, outcome)
]


@pytest.fixture(scope="module")
def world(study: Study, sides: tuple[Study, Study], tmp_path_factory: pytest.TempPathFactory) -> World:
    return World.of(study, sides, tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder for each check, where the files of its study are written once."""
    return {name: tmp_path_factory.mktemp("place") for name in CHECKS}


@pytest.fixture(autouse=True)
def without_windows() -> Iterator[None]:
    before = matplotlib.get_backend()
    matplotlib.use("Agg")
    yield
    matplotlib.pyplot.close("all")
    matplotlib.use(before)


def make_case(world: World, name: str, place: Path, verb: str) -> Case:
    given = {"study": world.study} | CHECKS[name].make(world)
    target = given.get("target", "age")
    fitted = target if target in world.models else "age"
    out = place / verb.replace(" ", "_")
    if given.pop("out", None):
        (place / "file").write_text("in the way")
        out = place / "file" / "sub"
    model = given.pop("model", None) or world.models[fitted]
    model._told = []
    return Case(world=world, model=model, out=out, place=place, **({"run": world.runs / fitted} | given))


@pytest.mark.filterwarnings("ignore:FigureCanvasAgg", "ignore:More than 20 figures")
@pytest.mark.parametrize(("name", "verb", "outcome"), CELLS)
def test_every_verb_makes_the_checks_of_its_kind(
    world: World, places: dict[str, Path], name: str, verb: str, outcome: str
) -> None:
    check, case = CHECKS[name], make_case(world, name, places[name], verb)
    words = check.others.get(verb, check.words)
    with warnings.catch_warnings(), check.around():
        warnings.simplefilter("ignore", Notice)
        if outcome == "refuses":
            with pytest.raises(UserError, match=f"(?s){words}"):
                VERBS[verb](case)
            begun = name == "memory that runs out"  # a training keeps its checkpoint
            assert begun or not case.out.exists() or not any(case.out.iterdir())
            return
        warnings.filterwarnings("error", message=f"(?s).*({words})", category=Notice)
        try:
            result = VERBS[verb](case)
        except Notice:
            assert outcome == "tells"
        else:
            told = result.warnings() if hasattr(result, "warnings") else []
            assert any(re.search(words, text) for text in told) == (outcome == "tells")


def test_the_table_of_the_docs_is_this_one() -> None:
    page = (PACKAGE.parent / "docs" / "best_practices.md").read_text(encoding="utf-8")
    assert make_table() in page, "put what `python tests/checks_by_verbs.py` prints into docs/best_practices.md"


def test_every_cell_names_a_verb() -> None:
    assert {verb for _, verb, _ in CELLS} <= VERBS.keys()
    assert len(CELLS) == len({(name, verb) for name, verb, _ in CELLS})
    assert {path.stem for path in NOTEBOOKS.glob("*.ipynb")} == {
        v.split()[1] for v in VERBS if v.startswith("notebook")
    }


TABLE = ["--table", "t"]
STUDY = [*TABLE, "--metadata", "m"]
COMMAND_LINES = {
    **{verb: ["--run", "r", *STUDY] for verb in ("evaluate", "explain", "errors", "report")},
    **{verb: [*STUDY, "--target", "x"] for verb in ("fit", "compare")},
    "predict": ["--run", "r", *TABLE],
    "pretrain": TABLE,
    "unifrac": TABLE,
    "demo": [],
    "notebook": ["explore", "--table", __file__],
}


@pytest.mark.parametrize("verb", sorted(WRITES.keys() - {"resume"}))
def test_a_command_finds_an_unwritable_place_before_it_reads(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert main([verb, *COMMAND_LINES[verb], "--out", str(tmp_path / "file" / "sub.h5")]) == 2
    assert "sub.h5 cannot be written (Not a directory)" in capsys.readouterr().err


# -- the truth of saved comparisons -----------------------------------------------------------------------------------


def test_a_saved_comparison_has_one_truth_of_each_sample(world: World, tmp_path: Path) -> None:
    twice = world.comparison.predictions.assign(repeat=2)
    sample = str(twice.index[4])
    twice.loc[sample, "truth"] += 1
    joined = replace(world.comparison, predictions=pd.concat([world.comparison.predictions, twice]))
    joined.save(tmp_path / "c")
    with pytest.raises(
        StoredError, match=rf"truth is .*{sample} as [\d.]+ and as [\d.]+.*, not one 'age' of each sample"
    ):
        Comparison.load(tmp_path / "c")


def test_a_corrected_label_is_named_with_both_values(world: World) -> None:
    judged = world.models["age"].evaluation
    assert judged is not None
    sample, before = judged.predictions.index[3], judged.predictions["truth"].iloc[3]
    ages = world.study.metadata["age"].copy()
    ages[sample] = before + 1
    corrected = replace(world.study, metadata=world.study.metadata.assign(age=ages))
    told = rf"^'age' of sample {sample} is {before + 1:.10g}\S* in the study and {before:.10g} .* \(1 sample of 12 differ\)"
    with pytest.raises(TargetError, match=told):
        aam.errors(judged, corrected)


# -- flags in messages ------------------------------------------------------------------------------------------------


def flags_of(kind: type[Any], prefix: str = "", *, prefixed: bool = False) -> set[str]:
    """Flags of a command; of settings with the name of their field before them where the command has them so."""
    flags = set()
    hints, extras = get_type_hints(kind), get_type_hints(kind, include_extras=True)
    for item in dataclasses.fields(kind):
        name = item.name.replace("_", "-")
        if dataclasses.is_dataclass(hints[item.name]):
            is_flat = not prefixed or extras[item.name] is not hints[item.name]
            flags |= flags_of(hints[item.name], "" if is_flat else f"{name}.")  # type: ignore[arg-type]
        else:
            flags |= {f"--{prefix}{name}", f"--no-{prefix}{name}"}
    return flags


FLAGS = {
    verb: flags_of(kind, prefixed=getattr(kind, "prefixed", False))
    for verb, kind in COMMANDS.items()
    if dataclasses.is_dataclass(kind)
}
FLAGS |= {
    f"notebook {path.stem}": {f"--{line.name.replace('_', '-')}" for line in templates.read_parameters(path)}
    for path in NOTEBOOKS.glob("*.ipynb")
}
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
READ = [v for v in FLAGS if v not in ("demo", "info", "resume", "lab", "notebook")]
LEARN = ["pretrain", "fit", "compare", "notebook pretrain", "notebook fit", "notebook compare"]
FIT = [v for v in LEARN if "pretrain" not in v]
USE = ["predict", "evaluate", "explain", "errors", "report", "notebook explain", "notebook errors"]
PRINTED_BY = {
    "study/splits.py": LEARN,
    "study/confounding.py": LEARN,
    "study/sample_choice.py": LEARN,
    "study/target_checks.py": FIT,
    "study/": READ,
    "model/objectives/classification.py": FIT,
    "model/objectives/community.py": LEARN,
    "model/encoder.py": [*LEARN, *USE],
    "train/memory.py": ["fit", "notebook fit", "notebook compare", *USE],
    "explain/attention/motifs.py": ["explain", "notebook explain"],
    "evaluate/comparison/": ["compare", "notebook compare"],
}
"""Modules whose messages several verbs print, and the verbs; of two that fit, the first. Those of `cli/` belong to one command each."""
ONE_VERB = {"--contenders": "compare"}
"""Flags that a shared module names in a message of one verb."""
DESCRIBES_OTHERS = {"study/info.py"}
"""Messages on what other commands would do."""
NAMED = re.compile(r"(?:`aam-nb (\w+) [^`]*?|(?<![\w-]))(--[a-zA-Z][\w.-]*\w)(?:[^`]*` of `aam-nb (\w+))?")


def flags_in(path: Path) -> set[tuple[str, str]]:
    """Flags that the texts of a module name, each with the verb that is named beside it, or with "" where there is none."""
    texts = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            texts.append("".join(v.value if isinstance(v, ast.Constant) else "{}" for v in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.append(node.value)
    found = {(m[2], m[1] or m[3] or "") for text in texts for m in NAMED.finditer(text)}
    whole = {
        flag for flag, verb in found if verb
    }  # the pieces of a text are met again, without what stands beside them
    return {(flag, verb) for flag, verb in found if flag not in FOREIGN and (verb or flag not in whole)}


MODULES = {str(p.relative_to(PACKAGE)): flags_in(p) for p in PACKAGE.rglob("*.py") if p.name != "notebook.py"}


def test_every_flag_that_a_message_names_exists() -> None:
    known = set().union(*FLAGS.values())
    assert ("--drop-missing-group", "") in MODULES["study/splits.py"]
    assert ("--scales", "fit") in MODULES["model/encoder.py"]
    named = {(where, flag, verb) for where, flags in MODULES.items() for flag, verb in flags}
    assert {n for n in named if n[1] not in (FLAGS[n[2]] if n[2] else known)} == set()


@pytest.mark.parametrize("module", [m for m, flags in MODULES.items() if any(not verb for _, verb in flags)])
def test_messages_name_flags_that_each_verb_has_that_prints_them(module: str) -> None:
    if module.startswith("cli/") or module in DESCRIBES_OTHERS:
        return
    verbs = next((verbs for start, verbs in PRINTED_BY.items() if module.startswith(start)), None)
    assert verbs is not None, f"{module} names flags: say in PRINTED_BY which verbs print its messages"
    for verb in verbs:
        bare = {flag for flag, named in MODULES[module] if not named and ONE_VERB.get(flag, verb) == verb}
        assert bare - FLAGS[verb] == set(), verb
