"""A rooted phylogenetic tree as arrays, read from and written to Newick."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from aam_nb.arrays import Floats, Ints
from aam_nb.config import NegativeLengths, TreeRoot, UserError, count_noun, cut_list, cut_repr, to_path
from aam_nb.study.readers.archives import first_line

if TYPE_CHECKING:
    from skbio import TreeNode


LONGEST = 1e30
"""Longest branch: sums over all branches of a tree stay finite in float32."""

Arrays: TypeAlias = tuple[Ints, Floats, tuple[str | None, ...]]


class TreeError(UserError, ValueError):
    """A tree is not rooted, not readable, or has lengths that no tree can have."""


class UnrootedError(TreeError):
    """More than two branches leave the root."""


class NegativeLengthError(TreeError):
    """Branches have lengths below zero."""


@dataclass(frozen=True, eq=False)
class Tree:
    """A rooted tree. Node 0 is the root and every parent comes before its children.

    Parameters
    ----------
    parent
        Parent of each node, shape (n_nodes,); -1 for the root.
    length
        Length of the branch above each node in substitutions per site, >= 0, shape (n_nodes,); 0 for the root.
    names
        Name of each node, None where it has none; tips are all named, each name once.

    Raises
    ------
    TreeError
        A length is negative, missing or not finite; a tip has no name or two tips have the same.
    UnrootedError
        More than two branches leave the root, which is how Newick writes an unrooted tree.
    """

    parent: Ints
    length: Floats
    names: tuple[str | None, ...]

    def __post_init__(self) -> None:
        _refuse_lengths(self.length, self.names)
        at_root = int((self.parent == 0).sum())
        if at_root > 2:
            raise UnrootedError(
                f"{at_root} branches leave the root, so the tree is unrooted. UniFrac and Faith PD need a rooted tree. Root "
                "it half way between its two farthest tips: `aam.read_study(..., root='midpoint')` (`--root midpoint`)."
            )
        nameless = sum(not tip for tip in self.tips)
        if nameless:
            raise TreeError(
                f"{nameless} of {len(self.tips)} tips have no name. Each tip is named by its ASV's DNA. Export it with names."
            )
        if len(self.tip_node) < len(self.tips):
            twice = sorted(tip for tip, count in Counter(self.tips).items() if count > 1)
            raise TreeError(
                f"{count_noun(len(twice), 'tip name occurs', 'tip names occur')} more than once (first: {_short(twice[0])}). Each ASV is "
                "one tip. Remove the duplicates from the tree."
            )

    @cached_property
    def tip_nodes(self) -> Ints:
        """Node number of each tip, in the order of `tips`."""
        inner = np.zeros(len(self.parent), dtype=bool)
        inner[self.parent[1:]] = True
        return np.flatnonzero(~inner)

    @cached_property
    def tips(self) -> tuple[str, ...]:
        """Names of the tips."""
        return tuple(self.names[i] or "" for i in self.tip_nodes)

    @cached_property
    def tip_node(self) -> dict[str, int]:
        """Node number of each tip by its name."""
        return dict(zip(self.tips, self.tip_nodes.tolist(), strict=True))

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        root: TreeRoot = "given",
        negative_lengths: NegativeLengths = "refuse",
        name: str = "",
    ) -> Tree:
        """Read a Newick file (parsed, and rooted if asked, by scikit-bio).

        Labels in quotes may hold blanks, brackets and quotes; underscores stay underscores. What is in square brackets is a
        comment. A length above the root leads nowhere and is dropped; one that lacks right below the root, as in Greengenes trees, is 0.

        Parameters
        ----------
        path
            Plain text, one tree.
        root
            "given" takes the tree as rooted where the file says so; "midpoint" roots it (anew) half way between the two tips that
            are farthest apart.
        negative_lengths
            "zero" sets lengths below 0 to 0; "refuse" takes none.
        name
            What messages call the file, if not by its path.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        TreeError
            The file is not Newick, or the tree fails the checks of the class.
        """
        return parse_tree(path, root=root, negative_lengths=negative_lengths, name=name)[0]

    def renamed(self, names: Mapping[str, str]) -> Tree:
        """The tree with some of its tips renamed; names that are not tips are passed over.

        Raises
        ------
        TreeError
            Two tips would have the same name.
        """
        new = list(self.names)
        for tip, node in self.tip_node.items():
            new[node] = names.get(tip, tip)
        return replace(self, names=tuple(new))

    def pruned(self, tips: Iterable[str]) -> Tree:
        """The tree of some of its tips alone, as scikit-bio's `TreeNode.shear` gives it.

        Branches that lead to none of the tips are removed, a node that is left with one child becomes part of that child's branch (their
        lengths are summed), and the last common ancestor of the tips becomes the root. One thing differs: where three or more branches
        leave that root, which Newick reads as unrooted, all but the first leave a new node at distance 0 from it.

        Parameters
        ----------
        tips
            Names of the tips to keep, in any order; names that are not tips are ignored.

        Raises
        ------
        TreeError
            None of the names is a tip.

        Examples
        --------
        >>> import aam_nb as aam
        >>> study = aam.simulate_study(n_samples=8, n_asvs=60, seed=0)
        >>> study.tree.pruned(study.asv_ids[:3])
        Tree(3 tips, 5 nodes)
        """
        if isinstance(tips, str) or not isinstance(tips, Iterable):
            example = cut_repr(tips, 60) if isinstance(tips, str) else "'ACGT…', 'ACGA…'"
            raise TreeError(f"tips is {cut_repr(tips, 60)}. Expected a list of names. Use `tree.pruned([{example}])`.")
        names = [str(tip) for tip in tips]
        nodes = np.array(sorted({self.tip_node[tip] for tip in names if tip in self.tip_node}), dtype=np.int64)
        if not len(nodes):
            raise TreeError(
                f"No tip of the tree is named ({count_noun(len(names), 'name')} given: {cut_list(names)}). Its {len(self.tips)} tips look "
                f"like {cut_list(self.tips[:1])}. Take names from `study.tree.tips`."
            )
        kept, parent, length = self.prune_nodes(nodes)
        return Tree(*_split_root(parent, length, tuple(self.names[node] for node in kept)))

    def prune_nodes(self, nodes: npt.ArrayLike) -> tuple[Ints, Ints, Floats]:
        """What `pruned` keeps, by node numbers: the nodes given, and the nodes where the ways to them part.

        Parameters
        ----------
        nodes
            Node numbers, shape (n,), usually of tips.

        Returns
        -------
        Numbers of the kept nodes, parents first; for each the position of its parent among them, -1 for the first; for each the summed
        length of the branches up to that parent, 0 for the first.
        """
        chosen = {int(node) for node in np.asarray(nodes)}
        # Walk up from each node until a way that was walked before; where two ways meet, the tree branches.
        seen, num_children = set(chosen), Counter[int]()
        for start in chosen:
            node = start
            while node > 0:
                node = int(self.parent[node])
                num_children[node] += 1
                if node in seen:
                    break
                seen.add(node)
        kept = sorted(chosen | {node for node, count in num_children.items() if count > 1})
        position = {node: k for k, node in enumerate(kept)}
        parent, length = np.full(len(kept), -1, dtype=np.int64), np.zeros(len(kept))
        # Sum each branch from the top down, up to the nearest node that is kept.
        for k, node in enumerate(kept):
            pieces, above = [float(self.length[node])], int(self.parent[node])
            while above >= 0 and above not in position:
                pieces.append(float(self.length[above]))
                above = int(self.parent[above])
            if above >= 0:
                parent[k], length[k] = position[above], reduce(add, reversed(pieces))
        return np.array(kept, dtype=np.int64), parent, length

    def digest(self) -> str:
        """SHA-256 of the tree as Newick: the same for the same tree on any machine, however its nodes are numbered."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        return hashlib.sha256(self.to_newick().encode("utf-8", "surrogatepass")).hexdigest()

    def to_newick(self) -> str:
        """The tree as one line of Newick; lengths as `repr` writes them, so reading it back gives the same bits."""
        # Depth first without recursion: trees are as deep as they have tips. Text is joined once, at the end.
        children: list[list[int]] = [[] for _ in self.parent]
        for node in range(len(self.parent) - 1, 0, -1):
            children[self.parent[node]].append(node)
        out: list[str] = []
        length = self.length.tolist()
        todo = [(0, False)]
        while todo:
            node, done = todo.pop()
            if children[node] and not done:
                out.append("(")
                todo.append((node, True))
                todo.extend((child, False) for child in children[node])
                continue
            out.append((")" if done else "") + _label(self.names[node]) + (f":{length[node]!r}" if node else ";"))
            if todo and not todo[-1][1]:
                out.append(",")
        return "".join(out)

    def missing(self, asv_ids: Iterable[str]) -> list[str]:
        """The ASVs that are not tips of the tree, in their order."""
        return [asv for asv in asv_ids if asv not in self.tip_node]

    def __repr__(self) -> str:
        return f"Tree({len(self.tips)} tips, {len(self.parent)} nodes)"


def parse_tree(
    path: str | Path, *, root: TreeRoot = "given", negative_lengths: NegativeLengths = "refuse", name: str = ""
) -> tuple[Tree, list[str]]:
    """As `Tree.read`, which has the same arguments; also tells which lengths were set or are odd, for `Study.provenance`."""
    path, name = to_path(path, "a tree in Newick format"), name or str(path)
    check_tree_options(root, negative_lengths)
    if not path.is_file():
        raise FileNotFoundError(f"{name} is not a file. Expected a tree in Newick format. Check the path.")
    try:
        node = _parse(path, name)
        notes = _set_lengths(node, negative_lengths)
        arrays = _arrays(node) if root == "given" else _at_midpoint(node)
    except TreeError:
        raise
    except Exception as error:  # scikit-bio raises many kinds for a malformed file
        raise TreeError(
            f"{name} cannot be read as Newick ({first_line(error)}). "
            "Expected one rooted tree that ends with a semicolon. Export it again."
        ) from error
    tree = Tree(*arrays)
    if len(tree.parent) > 1 and not tree.length.any():
        notes.append(
            f"all {len(tree.length) - 1} branches of the tree have length 0: no ASV differs from another by it, and UniFrac and Faith PD "
            "say nothing"
        )
    return tree, notes


def check_tree_options(root: object, negative_lengths: object) -> None:
    """Refuse (`TreeError`) options of reading a tree that have no such value."""
    if root not in get_args(TreeRoot):
        raise TreeError(
            f"root is {cut_repr(root, 60)}. Expected 'given' or 'midpoint'. Try `root='midpoint'` (`--root midpoint`)."
        )
    if negative_lengths not in get_args(NegativeLengths):
        raise TreeError(
            f"negative_lengths is {cut_repr(negative_lengths, 60)}. Expected 'refuse' or 'zero'. Try `negative_lengths='zero'` "
            "(`--negative-lengths zero`)."
        )


def _set_lengths(root: TreeNode, negative_lengths: NegativeLengths) -> list[str]:
    """Set the lengths of a parsed tree that can be known: of branches below the root that have none, and negative ones if asked."""
    notes = []
    lacking = [node for node in root.children if node.length is None]
    known = len(lacking) < len(root.children) or any(n.length is not None for child in lacking for n in child.children)
    if lacking and known and not any(node.is_tip() for node in lacking[1:]):
        for node in lacking:
            node.length = 0.0
        below = "the branch below the root has" if len(lacking) == 1 else f"{len(lacking)} branches below the root have"
        notes.append(f"{below} no length in the tree: taken as 0")
    if negative_lengths == "zero":
        below_zero = [node for node in root.preorder(include_self=False) if (node.length or 0.0) < 0]
        lowest = min((node.length for node in below_zero), default=0.0)
        highest = max((node.length for node in below_zero), default=0.0)
        for node in below_zero:
            node.length = 0.0
        if below_zero:
            extent = f"{lowest:g}" if lowest == highest else f"from {lowest:g} to {highest:g}"
            notes.append(f"set {count_noun(len(below_zero), 'negative branch length')} to 0 ({extent})")
    return notes


OTHER_FORMATS = {
    "a NEXUS file": re.compile(r"\s*#nexus", re.IGNORECASE),
    "a tree in XML (phyloXML or NeXML)": re.compile(
        r"\s*(?:<\?xml[^>]*\?>\s*)?(?:<!--.*?-->\s*)*<(?:\w+:)?(?:phyloxml|nexml)", re.I | re.S
    ),
    "a placement file (jplace)": re.compile(r"\s*\{"),
    "sequences in FASTA": re.compile(r"\s*>"),
    "a Stockholm alignment": re.compile(r"# STOCKHOLM"),
}
"""Other files that hold trees, or are taken for one, by how they start."""


def _parse(path: Path, name: str) -> TreeNode:
    from skbio import TreeNode

    text = path.read_text(encoding="utf-8-sig")
    if not text.strip():
        raise ValueError("it is empty")
    for kind, start in OTHER_FORMATS.items():
        if start.match(text[:4096]):
            raise TreeError(
                f"{name} is {kind}. Expected one rooted tree in Newick format, `((A:0.1,B:0.2):0.3,C:0.4);`. Export it so, in R with "
                "`ape::write.tree`."
            )
    root = TreeNode.read([text], format="newick", convert_underscores=False, verify=False)
    quoted, comment = False, 0
    for mark in re.finditer(r"['\[\];]", text):
        if mark[0] == "'" and not comment:
            quoted = not quoted
        elif not quoted and mark[0] in "[]":
            comment = max(0, comment + (1 if mark[0] == "[" else -1))
        elif not quoted and not comment:  # the semicolon at which scikit-bio stopped
            if text[mark.end() :].strip("; \t\r\n"):
                raise ValueError("it holds more than one tree")
            break
    return root


def _arrays(root: TreeNode) -> Arrays:
    """Parent, length and name of each node in preorder."""
    nodes = list(root.preorder())
    number = {id(node): i for i, node in enumerate(nodes)}
    parent = [-1, *(number[id(node.parent)] for node in nodes[1:])]
    length = [0.0, *(np.nan if node.length is None else float(node.length) for node in nodes[1:])]
    return np.array(parent, dtype=np.int64), np.array(length, dtype=np.float64), tuple(node.name for node in nodes)


def _at_midpoint(node: TreeNode) -> Arrays:
    """A parsed tree, rooted half way between its two farthest tips."""
    while len(node.children) == 1 and node.children[0].children:  # a stem is between no two tips
        node = node.children[0]
        node.parent = None
    parent, length, names = _arrays(node)
    _refuse_lengths(length, names)
    tips = [tip for tip in node.tips() if tip is not node]
    if len(tips) == 2:  # of which scikit-bio would make one the root
        half = sum(tip.distance(node) for tip in tips) / 2
        return np.array([-1, 0, 0]), np.array([0.0, half, half]), (None, tips[0].name, tips[1].name)
    depth, side = length.copy(), np.arange(len(parent))
    for i in np.flatnonzero(parent > 0):
        depth[i] += depth[parent[i]]
        side[i] = side[parent[i]]
    farthest = sorted(depth[side == child].max() for child in np.flatnonzero(parent == 0))
    if len(farthest) > 1 and not np.isclose(farthest[-1], farthest[-2], rtol=1e-12):
        # Where the root is the midpoint already, scikit-bio might lose a tip that hangs from it.
        parent, length, names = _arrays(node.root_at_midpoint(branch_attrs=[]))
    return _split_root(parent, length, names)


def _split_root(parent: Ints, length: Floats, names: tuple[str | None, ...]) -> Arrays:
    """A root that three or more branches leave, written as rooted: all but the first leave a new node at no distance from it."""
    at_root = np.flatnonzero(parent == 0)
    if len(at_root) <= 2:
        return parent, length, names
    parent = np.where(parent > 0, parent + 1, parent)
    parent[at_root[1:]] = 1
    return np.insert(parent, 1, 0), np.insert(length, 1, 0.0), (names[0], None, *names[1:])


def _refuse_lengths(length: Floats, names: tuple[str | None, ...]) -> None:
    def number(bad: Ints) -> str:
        return (
            f"{len(bad):,} of {count_noun(len(length) - 1, 'branch', 'branches')} {'has' if len(bad) == 1 else 'have'}"
        )

    missing = np.flatnonzero(~np.isfinite(length))
    huge = np.flatnonzero(np.abs(length) > LONGEST)
    if len(huge) and not len(missing):
        raise TreeError(
            f"{number(huge)} a length beyond {LONGEST:g} (first: {length[huge[0]]:g} above {_short(names[huge[0]])}). Every branch needs "
            "a length in substitutions per site, whose sums are finite. Export the tree again."
        )
    if len(missing):
        what = "a length that is not finite" if np.isinf(length[missing]).all() else "no length"
        raise TreeError(
            f"{number(missing)} {what} (first: above {_short(names[missing[0]])}). Every branch but the root's needs a length >= 0 in "
            "substitutions per site. Rebuild the tree with a program that gives branch lengths, such as FastTree or IQ-TREE."
        )
    negative = np.flatnonzero(length < 0)
    if len(negative):
        lowest = negative[length[negative].argmin()]
        raise NegativeLengthError(
            f"{number(negative)} a negative length (the lowest: {length[lowest]:g} above {_short(names[lowest])}). Every branch needs a "
            "length >= 0 in substitutions per site. FastTree, neighbour joining and minimum evolution write tiny negative ones for 0: set "
            "them to 0 with `aam.read_study(..., negative_lengths='zero')` (`--negative-lengths zero`)."
        )


def _label(name: str | None) -> str:
    """A name as Newick writes it: in quotes where it holds more than letters, digits, dots, underscores or dashes."""
    return name if name and re.fullmatch(r"[\w.-]+", name) else "'" + name.replace("'", "''") + "'" if name else ""


def _short(name: str | None) -> str:
    """A name cut to a length a message can hold."""
    return cut_list([name]) if name else "an unnamed node"
