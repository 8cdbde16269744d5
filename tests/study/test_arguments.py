"""What is no path is refused in one sentence by everything that reads or writes, and options of a file that is not given too."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import aam_nb as aam
from aam_nb.config import PathError
from aam_nb.evaluate.comparison.result import Comparison
from aam_nb.study.errors import StudyError
from aam_nb.study.info import what_is
from aam_nb.study.study import Study
from aam_nb.study.tree import Tree, TreeError

VERBS: dict[str, Callable[[Study, Any], Any]] = {
    "read_metadata": lambda s, bad: aam.read_metadata(bad),
    "read_sequences": lambda s, bad: aam.read_sequences(bad),
    "read_taxonomy": lambda s, bad: aam.read_taxonomy(bad),
    "Tree.read": lambda s, bad: Tree.read(bad),
    "load": lambda s, bad: aam.load(bad),
    "Study.load": lambda s, bad: Study.load(bad),
    "Comparison.load": lambda s, bad: Comparison.load(bad),
    "info": lambda s, bad: what_is(bad),
    "write_biom": lambda s, bad: aam.write_biom(s, bad),
    "write_metadata": lambda s, bad: aam.write_metadata(s.metadata, bad),
    "write_csv": lambda s, bad: aam.write_csv(s.metadata, bad),
    "write_unifrac": lambda s, bad: aam.write_unifrac(s, bad),
    "save": lambda s, bad: s.save(bad),
}


@pytest.fixture(scope="module")
def study() -> Study:
    return aam.simulate_study(n_samples=8, n_asvs=60, seed=0)


@pytest.mark.parametrize("bad", [5, 1.5, None, True, "", b"t.biom", ["t.biom"], {}], ids=repr)
@pytest.mark.parametrize("verb", VERBS)
def test_what_is_no_path_is_refused(verb: str, bad: object, study: Study) -> None:
    with pytest.raises(PathError, match=r"no path\. Expected the path \(text\) of .*\. Give it as"):
        VERBS[verb](study, bad)


@pytest.mark.parametrize("bad", [5, 1.5, True, "", b"x", ["x"]], ids=repr)
@pytest.mark.parametrize("argument", ["table", "metadata", "tree", "sequences", "taxonomy"])
def test_an_argument_that_is_no_path_is_named(argument: str, bad: Any, tmp_path: Path, study: Study) -> None:
    files = {"table": aam.write_biom(study, tmp_path / "t.biom"), argument: bad}
    with pytest.raises(PathError, match=rf"^{argument} is .*Expected the path \(text\) of .*Try `{argument}='"):
        aam.read_study(**files)


def test_frames_and_tables_in_memory_are_named_by_their_type(study: Study) -> None:
    with pytest.raises(PathError, match=r"^table is a DataFrame\. "):
        aam.read_study(study.metadata)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"root": "midpoint"}, r"root is 'midpoint', and no tree is given.*`root` \(`--root`\)"),
        ({"negative_lengths": "zero"}, r"negative_lengths is 'zero', and no tree.*\(`--negative-lengths`\)"),
        ({"types": {"age": "numeric"}}, r"types is given for age, and no metadata"),
        ({"root": "x"}, r"root is 'x'\. Expected 'given' or 'midpoint'"),
        ({"root": 5}, r"root is 5\. Expected 'given' or 'midpoint'"),
        ({"negative_lengths": "x"}, r"negative_lengths is 'x'\. Expected 'refuse' or 'zero'"),
        ({"negative_lengths": None}, r"negative_lengths is None\. Expected"),
    ],
)
def test_options_of_a_file_that_is_not_given_are_refused(
    options: dict[str, Any], words: str, tmp_path: Path, study: Study
) -> None:
    table = aam.write_biom(study, tmp_path / "t.biom")
    with pytest.raises((StudyError, TreeError), match=words):
        aam.read_study(table, **options)
