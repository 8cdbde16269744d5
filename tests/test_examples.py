"""The examples of docstrings run, and print what they say; every public verb and result has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import warnings

import pytest

import aam_nb as aam

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
MODULES = sorted(m.name for m in pkgutil.walk_packages(aam.__path__, "aam_nb.") if "__main__" not in m.name)


def examples() -> list[doctest.DocTest]:
    """Every docstring of the package that holds an example."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    return [test for name in MODULES for test in finder.find(importlib.import_module(name)) if test.examples]


@pytest.mark.parametrize("example", examples(), ids=lambda test: test.name.removeprefix("aam_nb."))
def test_an_example_prints_what_it_says(
    example: doctest.DocTest, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("example"))  # files are written here
    report: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a tiny study is tiny
        result = doctest.DocTestRunner(optionflags=FLAGS).run(example, out=report.append)
    assert result.failed == 0, "".join(report)


def test_every_public_verb_and_result_has_an_example() -> None:
    """Settings and errors do without: they are used in the examples of the verbs."""
    public = {name: getattr(aam, name) for name in aam.__all__}
    for floor in (aam.explain, aam.widgets):
        public |= {f"{floor.__name__.split('.')[-1]}.{name}": getattr(floor, name) for name in floor.__all__}
    shown = {
        name: thing
        for name, thing in public.items()
        if (inspect.isclass(thing) or inspect.isfunction(thing))
        and not name.endswith(("Config", "Error", "Warning", "Explorer", "Monitor"))
    }
    assert len(shown) > 30
    without = [name for name, thing in shown.items() if ">>> " not in (inspect.getdoc(thing) or "")]
    assert not without
