"""The figure of faithfulness holds what the tables hold, also where checks are missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from aam_nb.config import FaithfulnessConfig
from aam_nb.explain.faithfulness.checks import FAILED, NOT_MEASURED, PASSED, TOLD, make_row
from aam_nb.explain.faithfulness.faithfulness import Faithfulness
from aam_nb.show.plots.faithfulness import ORDERS, faithfulness

CHECKS = [
    make_row("completeness", PASSED, "", 0.001, 0, 0.001),
    make_row("deletion against random", PASSED, "", 0.4, 0.3, 0.5),
    make_row("sensitivity", PASSED, "", 0.1, 0.05, 0.2, "1.41 of unrelated ones"),
    make_row("seeds (sizes)", FAILED, "", 0.3, 0.2, 0.4, "0.00 by chance"),
    make_row("random labels", NOT_MEASURED, ""),
    make_row("recovery", PASSED, "", 0.6, 0.5, 0.7, "0.08 by chance"),
    make_row("recovery against forest", TOLD, "", -0.1, -0.2, 0.02, "0.7 of forest"),
]


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture
def result() -> Faithfulness:
    rng = np.random.default_rng(0)
    fraction = np.linspace(0, 1, 5)
    curves = [
        pd.DataFrame({"fraction": fraction, "mean": mean, "low": mean - 1, "high": mean + 1, "kind": kind, "order": order})
        for kind in ("deletion", "insertion")
        for order, mean in (
            ("attribution", 5 * fraction**0.3), ("sign only", 5 * fraction**0.5), ("abundance", 5 * fraction),
            ("random", 5 * fraction**2),
        )
    ]  # fmt: skip
    left = rng.random((4, 2))
    weights = pd.DataFrame({"stage": ["none", "head", "pooling of ASVs", "letters"]})
    for k, what in enumerate(("signed", "size")):
        weights[what], weights[f"{what}_low"], weights[f"{what}_high"] = left[:, k], left[:, k] - 0.1, left[:, k] + 0.1
    return Faithfulness(
        target="age $x$",
        unit="units of age",
        level="asv",
        method="integrated_gradients",
        num_samples=9,
        group=None,
        table=pd.DataFrame(CHECKS).set_index("check"),
        curves=pd.concat(curves),
        areas=pd.DataFrame(),
        weights=weights,
        refits=pd.DataFrame(),
        config=FaithfulnessConfig(),
    )


def test_curves_bars_and_points_are_the_tables(result: Faithfulness) -> None:
    figure = faithfulness(result)
    deletion, insertion, weights, checks = figure.axes
    for ax, kind in ((deletion, "deletion"), (insertion, "insertion")):
        assert "units of age" in ax.get_ylabel()
        lines = {line.get_label(): line for line in ax.get_lines()}
        for order, (_, _, name) in ORDERS.items():
            rows = result.curves[(result.curves["kind"] == kind) & (result.curves["order"] == order)]
            np.testing.assert_allclose(lines[name].get_xydata(), rows[["fraction", "mean"]].to_numpy())
        styles = {lines[name].get_linestyle() for _, _, name in ORDERS.values()}
        assert len(styles) == 4, "distinguished without colour"
    widths = sorted(patch.get_width() for patch in weights.patches)
    np.testing.assert_allclose(widths, sorted(result.weights[["signed", "size"]].to_numpy().ravel()))
    assert weights.get_yticklabels()[0].get_text() == "none"
    labels = [t.get_text().split("\n")[0] for t in checks.get_yticklabels()]
    assert labels == ["sensitivity", "seeds (sizes)", "recovery", "recovery against forest"]
    assert {t.get_text() for t in checks.get_legend().get_texts()} == {"passed", "failed", "for information"}


def test_what_is_off_the_axis_stands_at_its_edge(result: Faithfulness) -> None:
    far = pd.DataFrame([make_row("infidelity", FAILED, "", 5.0, 1.0, 9.5, "5.76 of shuffled ones")]).set_index("check")
    checks = faithfulness(replace(result, table=pd.concat([result.table, far]))).axes[-1]
    assert [t.get_text() for t in checks.texts] == ["5 →"]
    assert checks.get_xlim()[1] < 2


def test_the_verdict_stands_above_and_no_name_is_mathematics(result: Faithfulness) -> None:
    figure = faithfulness(result)
    title = figure.get_suptitle()
    assert r"age \$x\$" in title
    assert " ".join(title.split("\n")[1:]) == result.verdict()
    figure.canvas.draw()


def test_what_is_missing_is_said(result: Faithfulness) -> None:
    none = pd.DataFrame()
    table = result.table.assign(value=np.nan)
    figure = faithfulness(replace(result, curves=none, weights=none, table=table))
    for ax in figure.axes:
        assert [t.get_text() for t in ax.texts] == ["not measured, or does not apply"]
