"""A rooted phylogenetic tree as arrays, read from and written to Newick."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aam_nb.config import UserError


class TreeError(UserError, ValueError):
    """A tree is not rooted, not readable, or has lengths that no tree can have."""


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
        A length is negative, missing or not finite; a tip has no name or two tips have the same; more than two branches
        leave the root, which is how Newick writes an unrooted tree.
    """

    parent: npt.NDArray[np.int64]
    length: npt.NDArray[np.float64]
    names: tuple[str | None, ...]

    def __post_init__(self) -> None:
        bad = np.flatnonzero(~(self.length >= 0) | np.isinf(self.length))
        if len(bad):
            raise TreeError(
                f"{len(bad)} branches have a length that is negative or missing (first: {self.length[bad[0]]:g} above "
                f"{_short(self.names[bad[0]])}). Every branch needs a length >= 0 in substitutions per site. Rebuild the "
                "tree with a program that gives branch lengths, such as FastTree or IQ-TREE."
            )
        at_root = int((self.parent == 0).sum())
        if at_root > 2:
            raise TreeError(
                f"{at_root} branches leave the root, so the tree is unrooted. UniFrac and Faith PD need a rooted tree. Root "
                "it first: `skbio.TreeNode.read('tree.nwk').root_at_midpoint().write('rooted.nwk')`."
            )
        nameless = [i for i in self.tip_nodes if not self.names[i]]
        if nameless:
            raise TreeError(
                f"{len(nameless)} tips have no name. Each tip is named by its ASV's DNA. Export it with names."
            )
        if len(set(self.tips)) < len(self.tips):
            twice = sorted({t for t in self.tips if self.tips.count(t) > 1})
            raise TreeError(
                f"{len(twice)} tip names occur more than once (first: {_short(twice[0])}). Each ASV is one tip. Remove the "
                "duplicates from the tree."
            )

    @cached_property
    def tip_nodes(self) -> npt.NDArray[np.int64]:
        """Node number of each tip, in the order of `tips`."""
        inner = np.zeros(len(self.parent), dtype=bool)
        inner[self.parent[1:]] = True
        return np.flatnonzero(~inner)

    @cached_property
    def tips(self) -> tuple[str, ...]:
        """Names of the tips."""
        return tuple(self.names[i] or "" for i in self.tip_nodes)

    @classmethod
    def read(cls, path: str | Path) -> Tree:
        """Read a Newick file (parsed by scikit-bio).

        Raises
        ------
        FileNotFoundError
            There is no such file.
        TreeError
            The file is not Newick, or the tree fails the checks of the class.
        """
        from skbio import TreeNode

        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"{path} is not a file. Expected a tree in Newick format. Check the path.")
        try:
            root = TreeNode.read(str(path), format="newick", convert_underscores=False, verify=False)
            if len(re.sub(r"'[^']*'|\[[^]]*\]", "", path.read_text()).strip().rstrip(";").split(";")) > 1:
                raise ValueError("it holds more than one tree")
        except Exception as error:  # scikit-bio raises many kinds for a malformed file
            raise TreeError(
                f"{path} cannot be read as Newick ({str(error).splitlines()[0] if str(error) else type(error).__name__}). "
                "Expected one rooted tree that ends with a semicolon. Export it again."
            ) from error
        nodes = list(root.preorder())
        number = {id(node): i for i, node in enumerate(nodes)}
        return cls(
            parent=np.array([-1 if n.parent is None else number[id(n.parent)] for n in nodes], dtype=np.int64),
            length=np.array(
                [0.0] + [np.nan if n.length is None else float(n.length) for n in nodes[1:]], dtype=np.float64
            ),
            names=tuple(n.name for n in nodes),
        )

    def to_newick(self) -> str:
        """The tree as one line of Newick; lengths as `repr` writes them, so reading it back gives the same bits."""
        children: list[list[str]] = [[] for _ in self.parent]
        text = ""
        for i in range(len(self.parent) - 1, -1, -1):  # children come after parents, so this is bottom up
            inner = "(" + ",".join(reversed(children[i])) + ")" if children[i] else ""
            text = inner + _label(self.names[i])
            if i:
                children[self.parent[i]].append(f"{text}:{float(self.length[i])!r}")
        return text + ";"

    def missing(self, asv_ids: Iterable[str]) -> list[str]:
        """The ASVs that are not tips of the tree, in their order."""
        tips = set(self.tips)
        return [a for a in asv_ids if a not in tips]

    def __repr__(self) -> str:
        return f"Tree({len(self.tips)} tips, {len(self.parent)} nodes)"


def _label(name: str | None) -> str:
    """A name as Newick writes it: in quotes where it holds more than letters, digits, dots, underscores or dashes."""
    return name if name and re.fullmatch(r"[\w.-]+", name) else "'" + name.replace("'", "''") + "'" if name else ""


def _short(name: str | None) -> str:
    """A DNA id cut to a length a message can hold."""
    name = name or "an unnamed node"
    return name if len(name) <= 20 else name[:12] + "…"
