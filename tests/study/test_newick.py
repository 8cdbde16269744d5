"""Trees in and out of Newick."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skbio import TreeNode

from aam_nb.study.newick import Tree, TreeError


def read(text: str | bytes, folder: Path) -> Tree:
    path = folder / "tree.nwk"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Tree.read(path)


def test_nodes_of_a_small_tree(tmp_path: Path) -> None:
    tree = read("((ACGT:1,AC_GT:2.5)inner:0.5,GG:1e-3)root:7;", tmp_path)
    assert tree.tips == ("ACGT", "AC_GT", "GG")  # an underscore is not a space
    assert tree.names == ("root", "inner", "ACGT", "AC_GT", "GG")
    assert tree.parent.tolist() == [-1, 0, 1, 1, 0]
    assert tree.length.tolist() == [0, 0.5, 1, 2.5, 0.001]  # a branch above the root leads nowhere
    assert tree.missing(["TTTT", "GG", "inner"]) == ["TTTT", "inner"]
    assert repr(tree) == "Tree(3 tips, 5 nodes)"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1e6, allow_subnormal=True), min_size=4, max_size=4))
def test_lengths_come_back_to_the_last_bit(tmp_path_factory: pytest.TempPathFactory, lengths: list[float]) -> None:
    names = (None, None, "AA", "C_C", "GG")
    tree = Tree(parent=np.array([-1, 0, 1, 1, 0]), length=np.array([0.0, *lengths]), names=names)
    back = read(tree.to_newick(), tmp_path_factory.getbasetemp())
    assert back.length.tolist() == tree.length.tolist()
    assert back.parent.tolist() == tree.parent.tolist()
    assert back.names == tree.names


def test_scikit_bio_reads_the_same_tree(hand_study) -> None:  # type: ignore[no-untyped-def]
    tree = TreeNode.read([hand_study.tree.to_newick()])
    assert {t.name: t.distance(tree) for t in tree.tips()} == {"AAAA": 1.5, "AACC": 2.5, "GGGG": 1.75, "GGTT": 4.5}


@pytest.mark.parametrize(
    "label", ["k__Bacteria; p__Firmicutes", "0.95:g__Roseburia", "it's", "a b", "(x)", "[y]", "0.9"]
)
def test_any_label_of_an_inner_node_survives(label: str, tmp_path: Path) -> None:
    """Greengenes and SILVA trees carry lineages and support values as labels."""
    quoted = label.replace("'", "''")
    tree = read(f"((AA:1,CC:2)'{quoted}':0.5,GG:1);", tmp_path)
    assert tree.names[1] == label
    back = read(tree.to_newick(), tmp_path)
    assert (back.names, back.length.tolist()) == (tree.names, tree.length.tolist())


@pytest.mark.parametrize("text", ["A;", "(A:1);", "((A:1):2);", "((A:0,C:0):0,G:1);"])
def test_small_and_odd_trees_are_trees(text: str, tmp_path: Path) -> None:
    tree = read(text, tmp_path)
    assert tree.tips == tuple(re.findall("[ACG]", text))
    assert read(tree.to_newick(), tmp_path).length.tolist() == tree.length.tolist()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("(AA:1,CC:-0.25);", r"1 branches.*negative or missing \(first: -0\.25 above CC\).*FastTree"),
        ("(AA:1,CC);", r"negative or missing \(first: nan above CC\)"),
        ("(AA:1,CC:inf);", r"\(first: inf above CC\)"),
        ("(AA,CC);", r"2 branches"),
        ("((AA:1,CC:1),GG:1);", r"nan above an unnamed node"),
        ("(AA:1,(CC:1,AA:2):1);", r"1 tip names occur more than once \(first: AA\).*Remove"),
        ("(AA:1,:1);", r"1 tips have no name.*Export"),
        (";", r"no name"),
        ("", r"tree\.nwk cannot be read as Newick.*Export it again"),
        ("(AA:1,CC:1)", r"cannot be read as Newick.*semicolon"),
        ("((AA:1,CC:1);", r"cannot be read as Newick"),
        ("(AA:1,CC:1)x)y;", r"cannot be read as Newick"),
        ("(AA:1,CC:long);", r"cannot be read as Newick.*long"),
        ("<html><body>404</body></html>", r"cannot be read as Newick"),
        (bytes(range(256)), r"cannot be read as Newick"),
    ],
)
def test_what_is_not_a_rooted_tree_with_lengths_is_refused(text: str | bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(TreeError, match=f"(?s){said}"):
        read(text, tmp_path)


def test_a_second_tree_in_the_file_is_not_passed_over(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a user's session shows warnings, it does not stop at them
        with pytest.raises(TreeError, match="one rooted tree"):
            read("(AA:1,CC:1);\n(AA:1,GG:1);\n", tmp_path)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # scikit-bio's writer leaves its file open
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_unrooted_tree_is_rooted_by_the_call_in_the_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TreeError, match=r"3 branches leave the root.*unrooted") as error:
        read("((AA:1,CC:2):1,GG:1.5,TT:9);", tmp_path)
    call = re.search(r"`(skbio\.[^`]+)`", str(error.value))
    assert call is not None
    import skbio

    eval(call[1], {"skbio": skbio})
    rooted = Tree.read("rooted.nwk")
    assert sorted(rooted.tips) == ["AA", "CC", "GG", "TT"]
    assert rooted.length.sum() == pytest.approx(14.5)  # 1 + 2 + 1 + 1.5 + 9: rooting cuts a branch in two, adds nothing


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.nwk is not a file.*Newick"):
        Tree.read(tmp_path / "nowhere.nwk")
