"""Trees in and out of Newick."""

from __future__ import annotations

import hashlib
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skbio import TreeNode

from aam_nb.study.read import read_study
from aam_nb.study.tree import NegativeLengthError, Tree, TreeError, UnrootedError, parse_tree


def read(text: str | bytes, folder: Path, **how: Any) -> Tree:
    path = folder / "tree.nwk"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Tree.read(path, **how)


def distance_to_root(tree: Tree, tip: str) -> float:
    node, way = tree.tip_node[tip], 0.0
    while node:
        way, node = way + tree.length[node], int(tree.parent[node])
    return way


def random_newick(rng: np.random.Generator, names: list[str]) -> str:
    """Branches joined at random, one (a node with one child) to four at a time; two leave the root."""

    def length() -> float:
        return 0.0 if rng.random() < 0.1 else round(float(rng.exponential()), 4)

    parts = [f"{name}:{length()}" for name in names]
    while len(parts) > 2:
        rng.shuffle(parts)
        k = int(rng.integers(1, min(4, len(parts) - 1) + 1))
        parts = [*parts[k:], f"({','.join(parts[:k])}):{length()}"]
    return f"({','.join(parts)});"


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
        (
            "(AA:1,CC:-0.25);",
            r"1 of 2 branches has a negative length \(the lowest: -0\.25 above CC\).*FastTree.*--negative-lengths zero",
        ),
        ("((AA:1,CC):1,GG:1);", r"1 of 4 branches has no length \(first: above CC\).*FastTree"),
        ("(AA:1,CC:inf);", r"a length that is not finite \(first: above CC\)"),
        ("(AA:1,CC:1e308);", r"1 of 2 branches has a length beyond 1e\+30 \(first: 1e\+308 above CC\)"),
        ("(AA:1,CC:nan);", r"no length \(first: above CC\)"),
        ("(AA,CC);", r"2 of 2 branches have no length"),
        ("((AA,CC),(GG,TT));", r"6 of 6 branches have no length"),
        ("(((AA:1,CC:1),TT:1):1,GG:1);", r"above an unnamed node"),
        ("#NEXUS\nbegin trees;\n", r"is a NEXUS file\. Expected one rooted tree in Newick.*write\.tree"),
        ('<?xml version="1.0"?>\n<phyloxml></phyloxml>', r"is a tree in XML \(phyloXML or NeXML\)"),
        ('<?xml version="1.0"?><nex:nexml version="0.9"/>', r"is a tree in XML"),
        ('{"tree": "((A:1{0},B:1{1}));"}', r"placement file"),
        (">A\nACGT\n", r"sequences in FASTA"),
        ("(AA:1,(CC:1,AA:2):1);", r"1 tip name occurs more than once \(first: AA\).*Remove"),
        ("(AA:1,:1);", r"1 of 2 tips have no name.*Export"),
        (";", r"no name"),
        ("", r"tree\.nwk cannot be read as Newick \(it is empty\).*Export it again"),
        ("\n \n", r"it is empty"),
        ("((a b:1,CC:1):1,GG:1);", r"cannot be read as Newick.*whitespace"),
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


def test_a_file_that_holds_more_than_a_tree_is_refused_and_one_with_a_comment_is_not(tmp_path: Path) -> None:
    assert read("[first; 'tree] (AA:1,'C;[C':1);\n;\n", tmp_path).tips == ("AA", "C;[C")
    with pytest.raises(TreeError, match="more than one tree"):
        read("(AA:1,CC:1); and more", tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.nwk is not a file.*Newick"):
        Tree.read(tmp_path / "nowhere.nwk")


def test_messages_name_the_file_as_told(tmp_path: Path) -> None:
    (tmp_path / "unpacked").write_text("no tree")
    with pytest.raises(TreeError, match=r"^rep\.qza cannot be read"):
        Tree.read(tmp_path / "unpacked", name="rep.qza")


# -- rooting ----------------------------------------------------------------------------------------------------------


def test_an_unrooted_tree_is_rooted_as_the_message_says(tmp_path: Path) -> None:
    with pytest.raises(UnrootedError, match=r"3 branches leave the root.*unrooted.*root='midpoint'.*--root midpoint"):
        read("((AA:1,CC:2):1,GG:1.5,TT:9);", tmp_path)
    # The farthest are TT and CC, 12 apart: the root is 6 from either, on the branch of TT.
    tree = read("((AA:1,CC:2):1,GG:1.5,TT:9);", tmp_path, root="midpoint")
    assert {t: distance_to_root(tree, t) for t in tree.tips} == {"AA": 5, "CC": 6, "GG": 4.5, "TT": 6}
    with pytest.raises(TreeError, match=r"root is 'outgroup'.*'given' or 'midpoint'"):
        read("(AA:1,CC:2);", tmp_path, root="outgroup")


@pytest.mark.parametrize(
    ("text", "heights"),
    [
        ("(AA:1);", {"AA": 1}),
        ("AA;", {"AA": 0}),
        ("(AA:1,CC:3);", {"AA": 2, "CC": 2}),  # scikit-bio alone makes a tip the root and loses it
        ("((AA:1,CC:3):7);", {"AA": 2, "CC": 2}),  # a stem is between no two tips
        ("((AA:1,CC:0.5):1,GG:2);", {"AA": 2, "CC": 1.5, "GG": 2}),  # rooted there already
        ("(AA:2,CC:2,GG:2);", {"AA": 2, "CC": 2, "GG": 2}),  # the midpoint is a node that three branches leave
        ("(AA:0,CC:0,GG:0);", {"AA": 0, "CC": 0, "GG": 0}),
        ("(AA:1,(CC:1,GG:1,TT:1):0);", {"AA": 1, "CC": 1, "GG": 1, "TT": 1}),
    ],
)
def test_midpoints_by_hand(text: str, heights: dict[str, float], tmp_path: Path) -> None:
    tree = read(text, tmp_path, root="midpoint")
    assert {t: distance_to_root(tree, t) for t in tree.tips} == heights


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_midpoint_rooting_keeps_all_distances_and_halves_the_longest(
    tmp_path_factory: pytest.TempPathFactory, seed: int, whole: bool
) -> None:
    rng = np.random.default_rng(seed)
    names = [f"N{i}" for i in range(int(rng.integers(2, 12)))]
    newick = random_newick(rng, names)
    if whole:  # ties: many pairs are the farthest
        newick = re.sub(r":([\d.]+)", lambda m: f":{round(float(m[1]))}", newick)
    rooted = read(newick, tmp_path_factory.getbasetemp(), root="midpoint")
    expected = TreeNode.read([newick]).cophenet()
    found = TreeNode.read([rooted.to_newick()]).cophenet().filter(expected.ids)
    np.testing.assert_allclose(found.data, expected.data, atol=1e-9)
    assert max(distance_to_root(rooted, t) for t in rooted.tips) == pytest.approx(expected.data.max() / 2)


# -- size and damage --------------------------------------------------------------------------------------------------


def test_deep_trees_neither_crash_nor_recurse(tmp_path: Path) -> None:
    n = 20_000
    comb = "(" * n + "T:1" + "".join(f",N{i}:1):1" for i in range(n))
    tree = read(comb[: comb.rindex(":")] + ";", tmp_path)
    assert len(tree.tips) == n + 1
    assert read(tree.to_newick(), tmp_path).digest() == tree.digest()


@pytest.mark.parametrize("text", ["(" * 100_000, ")" * 100_000, "[" * 100_000, "'" * 99_999, "(A:1" + "[" * 100_000])
def test_nesting_that_never_ends_is_refused_in_no_time(text: str, tmp_path: Path) -> None:
    with pytest.raises(TreeError, match="cannot be read as Newick"):
        read(text, tmp_path)


GOOD = b"((ACGT:1,'AC_G''T':2.5)'k__B; p__X':0.5,GG:1e-3)root:7;"


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_files_give_a_tree_or_our_error(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    damaged = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(damaged)))
        damaged[place : place + data.draw(st.integers(0, 3))] = data.draw(
            st.one_of(
                st.binary(max_size=3),
                st.sampled_from([b"(", b")", b",", b":", b";", b"'", b"[", b"-", b"nan", b"1e999"]),
            )
        )
    root = data.draw(st.sampled_from(["given", "midpoint"]))
    try:
        tree = read(bytes(damaged), tmp_path_factory.getbasetemp(), root=root)
    except TreeError:
        return
    assert len(tree.parent) == len(tree.length) == len(tree.names)
    assert (tree.length >= 0).all()
    assert np.isfinite(tree.length).all()


# -- other names ------------------------------------------------------------------------------------------------------


def test_tips_are_renamed(tmp_path: Path) -> None:
    tree = read("((acgu:1,CC:2)inner:0.5,GG:1);", tmp_path)
    new = tree.renamed({"acgu": "ACGT", "GG": "CC", "CC": "GG", "nobody": "TT", "inner": "AA"})
    assert new.tips == ("ACGT", "GG", "CC")
    assert new.names[1] == "inner"
    assert tree.tips == ("acgu", "CC", "GG")
    with pytest.raises(TreeError, match=r"1 tip name occurs more than once \(first: CC\)"):
        tree.renamed({"GG": "CC"})


def test_the_digest_tells_trees_apart(tmp_path: Path) -> None:
    texts = [
        "((AC:1,GT:1):1,A:1);",
        "((ACG:1,T:1):1,A:1);",
        "((AC:1,GT:1):2,A:1);",
        "(AC:1,(GT:1,A:1):1);",
        "((AC:1,GT:1)x:1,A:1);",
    ]
    digests = [read(text, tmp_path).digest() for text in texts]
    assert len(set(digests)) == len(texts)
    assert read(texts[0].replace(":1", ":1.0").replace(",", " ,\n"), tmp_path).digest() == digests[0]
    assert digests[3] == hashlib.sha256(b"(AC:1.0,(GT:1.0,A:1.0):1.0);").hexdigest()


def test_the_digest_does_not_see_how_nodes_are_numbered() -> None:
    lengths = np.array([0.0, 1, 2, 3, 4])
    depth_first = Tree(parent=np.array([-1, 0, 1, 1, 0]), length=lengths, names=(None, None, "AA", "CC", "GG"))
    by_level = Tree(
        parent=np.array([-1, 0, 0, 1, 1]), length=lengths[[0, 1, 4, 2, 3]], names=(None, None, "GG", "AA", "CC")
    )
    assert depth_first.digest() == by_level.digest()


# -- pruning ----------------------------------------------------------------------------------------------------------


def test_a_pruned_tree_is_worked_out_by_hand(hand_study) -> None:  # type: ignore[no-untyped-def]
    tree = hand_study.tree  # AAAA is node 2, AACC 3, GGGG 5, GGTT 6
    for nodes, kept, parent, length in (
        ([2, 3, 5], [0, 1, 2, 3, 5], [-1, 0, 1, 1, 0], [0.0, 0.5, 1.0, 2.0, 1.75]),
        ([5, 6], [4, 5, 6], [-1, 0, 0], [0.0, 0.25, 3.0]),
        ([3], [3], [-1], [0.0]),
    ):
        assert [values.tolist() for values in tree.prune_nodes(nodes)] == [kept, parent, length]
    assert tree.pruned(["GGGG", "AAAA", "AACC", "AAAA"]).to_newick() == "((AAAA:1.0,AACC:2.0):0.5,GGGG:1.75);"
    assert tree.pruned(["GGGG"]).to_newick() == "GGGG;"


@pytest.mark.parametrize("seed", range(12))
def test_pruning_is_that_of_scikit_bio(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    names = [f"t{k}" for k in range(20)]
    tree = read(random_newick(rng, names), tmp_path)
    wanted = rng.choice(names, size=int(rng.integers(2, 15)), replace=False).tolist()
    expected = TreeNode.read([tree.to_newick()]).shear(wanted)
    pruned = tree.pruned(wanted)
    ours = TreeNode.read([pruned.to_newick()])
    assert set(pruned.tips) == set(wanted)
    split = len(expected.children) > 2  # then our root has a node of its own for all branches but the first
    assert ours.count() == expected.count() + split
    assert ours.compare_rfd(expected, rooted=True, proportion=False) == split  # the same clades otherwise
    a, b = ours.cophenet(), expected.cophenet()
    np.testing.assert_allclose(a.data, b.filter(a.ids).data, rtol=1e-12, atol=1e-12)
    root_distances = ({t.name: t.distance(node) for t in node.tips()} for node in (ours, expected))
    assert next(root_distances) == pytest.approx(next(root_distances))


def test_names_that_are_no_tips_are_ignored_and_none_at_all_is_refused(hand_study) -> None:  # type: ignore[no-untyped-def]
    tree = hand_study.tree
    assert tree.pruned([*tree.tips, "CCCC"]).to_newick() == tree.to_newick()
    with pytest.raises(
        TreeError, match=r"No tip of the tree is named \(2 names given: CCCC, TTTT\).*study\.tree\.tips"
    ):
        tree.pruned(["CCCC", "TTTT"])
    with pytest.raises(
        TreeError, match=r"tips is 'CCCC'\. Expected a list of names\. Use `tree\.pruned\(\['CCCC'\]\)`"
    ):
        tree.pruned("CCCC")


# -- trees as programs write them -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "lengths", "said"),
    [
        ("((AA:1,CC:2),GG:3);", [0, 0, 1, 2, 3], "the branch below the root has no length"),
        ("((AA:1,CC:2),(GG:3,TT:4));", [0, 0, 1, 2, 0, 3, 4], "2 branches below the root have no length"),
        ("((AA:1,CC:2));", [0, 0, 1, 2], "the branch below the root has no length"),
        ("(AA:1,CC);", [0, 1, 0], "the branch below the root has no length"),
        ("((AA:0,CC:0):0,GG:0);", [0, 0, 0, 0, 0], "all 4 branches of the tree have length 0"),
    ],
)
def test_lengths_that_are_taken_or_odd_are_told(text: str, lengths: list[float], said: str, tmp_path: Path) -> None:
    path = tmp_path / "tree.nwk"
    path.write_text(text)
    tree, notes = parse_tree(path)
    assert tree.length.tolist() == lengths
    assert len(notes) == 1
    assert said in notes[0]


@pytest.mark.parametrize("root", ["given", "midpoint"])
def test_negative_lengths_are_set_to_zero_as_the_message_says(root: Any, tmp_path: Path) -> None:
    path = tmp_path / "tree.nwk"
    path.write_text("((AA:1,CC:-0.25):-1e-09,GG:3);")
    with pytest.raises(NegativeLengthError, match=r"2 of 4 branches have a negative length .*negative_lengths='zero'"):
        Tree.read(path, root=root)
    tree, notes = parse_tree(path, root=root, negative_lengths="zero")
    assert notes == ["set 2 negative branch lengths to 0 (from -0.25 to -1e-09)"]
    assert tree.length.sum() == pytest.approx(4)
    path.write_text("((AA:1,CC:-0.0):0,GG:3);")
    assert parse_tree(path)[1] == [], "minus zero is zero"
    with pytest.raises(TreeError, match=r"negative_lengths is 'drop'. Expected 'refuse' or 'zero'"):
        Tree.read(path, negative_lengths="drop")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "((AA:1,CC:2)0.95:1,GG:3)root;",
        "((AA:1,CC:2)95/100:1,GG:3);",
        "((AA:1,CC:2)[95]:1,GG:3);",
        "((AA:1[&rate=0.1],CC:2)'0.95:p__Firmicutes':1,GG:3);",
        "[&R] ((AA:1,CC:2):1,GG:3);",
        "((('AA':1,\"CC\":2):0.5):0.5,GG:3);",
        "(\n (AA:1,\n CC:2):1,\n GG:3):0.5;\n",
    ],
)
def test_trees_of_many_programs_say_the_same(text: str, tmp_path: Path) -> None:
    tree = read(text, tmp_path).renamed({'"CC"': "CC"})
    assert tree.tips == ("AA", "CC", "GG")
    ways = []
    for tip in tree.tips:
        node, way = tree.tip_node[tip], 0.0
        while node > 0:
            way, node = way + tree.length[node], int(tree.parent[node])
        ways.append(way)
    assert ways == [2, 3, 3]


def test_a_study_tells_what_its_tree_lacked(tmp_path: Path) -> None:
    (tmp_path / "table.tsv").write_text("#OTU ID\ts1\ts2\nAA\t1\t2\nCC\t3\t4\nGG\t5\t6\n")
    (tmp_path / "tree.nwk").write_text("((aa:1,CC:-2e-8),'G_G':3);")
    study = read_study(tmp_path / "table.tsv", tree=tmp_path / "tree.nwk", negative_lengths="zero")
    assert study.provenance[-2:] == (
        "the branch below the root has no length in the tree: taken as 0",
        "set 1 negative branch length to 0 (-2e-08)",
    )
    assert "2 tips were renamed" in study.provenance[-3]
    assert not study.tree.missing(study.asv_ids)  # type: ignore[union-attr]


@pytest.mark.parametrize("tips", [None, 3, 2.5, True])
def test_tips_that_are_no_list_are_refused(tips: Any, tmp_path: Path) -> None:
    with pytest.raises(TreeError, match=r"tips is .*Expected a list of names"):
        read("(AA:1,CC:1);", tmp_path).pruned(tips)
