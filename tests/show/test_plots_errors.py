"""Figures of an error analysis say what its tables say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from conftest import QUICK, TINY
from matplotlib.collections import PathCollection

import aam_nb as aam
from aam_nb.config import ErrorsConfig
from aam_nb.error_analysis.analysis import ErrorAnalysis, errors
from aam_nb.error_analysis.samples import ErrorsError
from aam_nb.show import plots
from aam_nb.study.study import Study

FAST = ErrorsConfig(num_permutations=199, num_resamples=50, min_slice=3, attributions=False)
EVALUATION = aam.EvaluateConfig(num_resamples=20, num_trees=10)


@pytest.fixture(scope="module")
def numbers(fitted: aam.AAM, study: Study, sides: tuple[Study, Study]) -> ErrorAnalysis:
    return errors(aam.Evaluation.of(fitted, sides[1], find_leaks=False, config=EVALUATION), study, config=FAST)


@pytest.fixture(scope="module")
def classes(study: Study, sides: tuple[Study, Study]) -> ErrorAnalysis:
    model = aam.AAM(TINY).fit(sides[0], target="diet", config=QUICK)
    return errors(aam.Evaluation.of(model, sides[1], find_leaks=False, config=EVALUATION), study, config=FAST)


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


def test_overview_of_numbers(numbers: ErrorAnalysis) -> None:
    figure = plots.errors(numbers)
    titles = [ax.get_title() for ax in figure.axes]
    assert titles[0] == "Residuals"
    assert titles[1].startswith("Slices")
    assert titles[2] == "Intervals"
    assert titles[3].startswith("Error by distance")
    dots = next(c for c in figure.axes[0].collections if isinstance(c, PathCollection))
    assert np.sort(np.asarray(dots.get_offsets())[:, 1]) == pytest.approx(np.sort(numbers.samples["residual"]))
    assert figure.get_suptitle() == "Errors of age: 12 test samples, 3 host_id"
    assert "true - predicted age" in figure.axes[0].get_ylabel()


def test_overview_of_classes(classes: ErrorAnalysis) -> None:
    figure = plots.errors(classes)
    assert figure.axes[0].get_title() == "Confusion matrix"
    assert classes.confusion is not None
    counts = [int(t.get_text()) for t in figure.axes[0].texts]
    assert counts == classes.confusion.to_numpy().ravel().tolist()
    labels = [t.get_text() for t in figure.axes[2].get_legend().get_texts()]
    assert labels[1] == f"raw: ECE {classes.calibration.scores.loc['raw', 'ece']:.3f}"


def test_slices_are_drawn_from_the_table(numbers: ErrorAnalysis) -> None:
    ax = plots.slices(numbers, top=5)
    names = [t.get_text() for t in ax.get_yticklabels()]
    for name, (_, row) in zip(names, numbers.slices.head(5).iterrows(), strict=True):
        assert name.startswith(row["slice"][:20])
        assert name.endswith(f"({row['n']}, {row['groups']})")
    assert "|true - predicted| age" in ax.get_xlabel()


def test_long_names_of_slices_keep_both_ends(numbers: ErrorAnalysis) -> None:
    """Two pairs that begin alike are distinguished by their ends."""
    text = "a_column_with_quite_a_long_name_$1$ = a value that is long as well, {} <= some_other_column_of_numbers < {}"
    table = numbers.slices.head(2).assign(slice=[text.format(1, 2), text.format(3, 4)])
    ax = plots.slices(replace(numbers, slices=table))
    ax.figure.canvas.draw()
    above, below = (t.get_text() for t in ax.get_yticklabels())
    assert above.startswith(r"a_column_with_quite_a_long_name_\$1\$")
    assert "< 2 " in above
    assert "< 4 " in below
    assert max(len(line) for name in (above, below) for line in name.split("\n")) <= 60


def test_what_is_empty_says_so(numbers: ErrorAnalysis) -> None:
    bare = replace(
        numbers,
        slices=numbers.slices.head(0),
        calibration=replace(numbers.calibration, reliability=pd.DataFrame()),
        samples=numbers.samples.drop(columns=["distance", "distance_percentile", "outside"]),
    )
    texts = {t.get_text() for ax in plots.errors(bare).axes for t in ax.texts}
    assert texts == {"no slice is large enough", "no validation samples available", "no training samples available"}


def test_outside_and_suspects_are_marked(numbers: ErrorAnalysis) -> None:
    samples = numbers.samples.assign(outside=[True] + [False] * 11)
    suspects = numbers.samples[["truth"]].iloc[1:3]
    ax = plots.errors(replace(numbers, samples=samples, suspects=suspects)).axes[0]
    labels = [t.get_text() for t in ax.get_legend().get_texts()]
    assert labels == ["test sample", "outside the training data", "label suspect"]


def test_numbers_have_no_confusion(numbers: ErrorAnalysis) -> None:
    with pytest.raises(ErrorsError, match="'age' is a number and has no confusion matrix"):
        plots.confusion(numbers)


def test_names_from_files_are_not_taken_as_mathematics(classes: ErrorAnalysis) -> None:
    assert classes.confusion is not None
    odd = classes.confusion.rename(index={"plant": "$x$"}, columns={"plant": "$x$"})
    ax = plots.confusion(replace(classes, confusion=odd, target="$\\frac$"))
    ax.figure.canvas.draw()
    assert r"\$x\$" in [t.get_text() for t in ax.get_xticklabels()]
