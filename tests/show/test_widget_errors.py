"""The explorer of errors: its numbers are those of the analysis, a slice or a cell selects its samples, and nothing of a file runs."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import QUICK, TINY

import aam_nb as aam
from aam_nb.config import ErrorsConfig
from aam_nb.error_analysis.analysis import ErrorAnalysis
from aam_nb.error_analysis.calibration import Calibration
from aam_nb.show.widgets.errors import ErrorsExplorer, errors
from aam_nb.show.widgets.errors_payload import conformal_band, label_asvs, summary
from aam_nb.show.widgets.twin import ExplorerError
from aam_nb.study.errors import UnknownIdError
from aam_nb.study.study import Study

HOSTILE = '<img src=x onerror="alert(1)"></script><script>alert(2)</script>'
FAST = ErrorsConfig(num_permutations=199, num_resamples=50, min_slice=2, num_worst=3, num_neighbours=2)
JUDGED = aam.EvaluateConfig(num_resamples=20, num_trees=10)
Sides = tuple[Study, Study]


@pytest.fixture(scope="module")
def numbers(fitted: aam.AAM, study: Study, sides: Sides) -> ErrorAnalysis:
    return aam.errors(aam.Evaluation.of(fitted, sides[1], find_leaks=False, config=JUDGED), study, config=FAST)


@pytest.fixture(scope="module")
def classes(study: Study, sides: Sides) -> ErrorAnalysis:
    model = aam.AAM(TINY).fit(sides[0], target="season", config=QUICK)
    return aam.errors(aam.Evaluation.of(model, sides[1], find_leaks=False, config=JUDGED), study, config=FAST)


@pytest.fixture
def explorer(numbers: ErrorAnalysis, study: Study) -> ErrorsExplorer:
    return errors(numbers, study=study)


@pytest.fixture
def of_classes(classes: ErrorAnalysis, study: Study) -> ErrorsExplorer:
    return errors(classes, study=study)


def unpacked(coded: str, n: int) -> list[int]:
    """Places of the bits that are set, the first the highest of its byte."""
    return [i for i in range(n) if base64.b64decode(coded)[i // 8] >> (7 - i % 8) & 1]


# -- what is chosen -----------------------------------------------------------------------------------------------------


def test_it_opens_with_the_worst_sample(explorer: ErrorsExplorer, numbers: ErrorAnalysis) -> None:
    assert explorer.sample == numbers.samples["error"].idxmax()
    assert explorer.selected == ()
    assert (explorer.show, explorer.against, explorer.color) == ("predictions", "distance", "status")


def test_a_slice_selects_its_samples(explorer: ErrorsExplorer, study: Study) -> None:
    chosen = next(s for s in explorer.members if re.fullmatch(r"diet = \w+", s))
    explorer.slice = chosen
    diet = study.metadata["diet"].loc[explorer.sample_ids]
    assert list(explorer.selected) == list(diet.index[diet == chosen.removeprefix("diet = ")])
    assert study.keep_samples(explorer.selected).num_samples == len(explorer.selected)


def test_every_slice_can_be_opened_and_holds_what_the_table_says(
    explorer: ErrorsExplorer, numbers: ErrorAnalysis
) -> None:
    assert set(explorer.members) == set(numbers.slices["slice"])
    assert any(len(c) == 2 for c in numbers.slices["columns"])
    n = len(numbers.samples)
    for row, sent in zip(numbers.slices.itertuples(), explorer.data["slices"], strict=True):
        ids = explorer.sample_ids[unpacked(sent["members"], n)]
        assert len(ids) == row.n == sent["n"]
        assert numbers.samples["error"].loc[ids].mean() == pytest.approx(row.error)


def test_without_a_study_only_slices_by_facts_open(numbers: ErrorAnalysis) -> None:
    explorer = errors(numbers)
    closed = [row["slice"] for row in explorer.data["slices"] if row["members"] is None]
    assert closed
    assert all(re.search("age|diet|season|host_id", s) for s in closed)
    assert any(s.startswith("depth") for s in explorer.members)
    with pytest.raises(ExplorerError, match=r"slice is .* Expected one of the slices with known samples"):
        explorer.slice = closed[0]


def test_slices_of_another_study_are_not_opened_wrongly(numbers: ErrorAnalysis, study: Study) -> None:
    shuffled = study.metadata.copy()
    shuffled["diet"] = np.roll(shuffled["diet"].to_numpy(), 1)
    other = Study(study.table, study.sample_ids, study.asv_ids, shuffled)
    own, error = errors(numbers, study=other), numbers.samples["error"]
    for text, mask in own.members.items():
        row = numbers.slices.set_index("slice").loc[text]
        assert (mask.sum(), error[mask].mean()) == (row["n"], pytest.approx(row["error"]))
    assert not [s for s in own.members if s.startswith("diet = ") and "," not in s]


def test_a_cell_selects_its_samples(of_classes: ErrorsExplorer, classes: ErrorAnalysis) -> None:
    table = classes.samples
    for truth, guess in {*zip(table["truth"], table["prediction"], strict=True)}:
        of_classes.cell = (truth, guess)
        want = [i for i in table.index if table.loc[i, "truth"] == truth and table.loc[i, "prediction"] == guess]
        assert list(of_classes.selected) == want
        assert classes.confusion is not None
        assert len(want) == classes.confusion.loc[truth, guess]


def test_another_selection_unnames_slice_and_cell(of_classes: ErrorsExplorer, classes: ErrorAnalysis) -> None:
    table, first = classes.samples, classes.samples.iloc[0]
    of_cell = ((table["truth"] == first["truth"]) & (table["prediction"] == first["prediction"])).to_numpy()
    of_classes.slice = next(s for s, mask in of_classes.members.items() if not (mask == of_cell).all())
    of_classes.cell = (first["truth"], first["prediction"])
    assert of_classes.slice == ""
    of_classes.selected = []
    assert of_classes.cell == ()


def test_what_the_browser_sets_together_stays_together(explorer: ErrorsExplorer) -> None:
    text, mask = next(iter(explorer.members.items()))
    ids = list(explorer.sample_ids[mask])
    explorer.set_state({"selected": ids, "slice": text, "cell": []})
    assert (explorer.slice, list(explorer.selected), explorer.error) == (text, ids, "")
    explorer.set_state({"selected": ids[:1], "slice": "", "cell": []})
    assert (explorer.slice, list(explorer.selected)) == ("", ids[:1])


# -- what is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trait", "value", "message"),
    [
        ("sample", "nobody", "sample is 'nobody'. Expected one of the samples"),
        ("slice", "x = y", "slice is 'x = y'. Expected one of the slices"),
        ("cell", ("a", "b"), "age is a number"),
        ("color", "ph", "color is 'ph'. Expected one of the columns"),
        ("against", "diet", "against is 'diet'. Expected one of the columns of numbers"),
        ("show", "counts", "show is 'counts'. Expected one of the views of a regression: predictions, residuals"),
    ],
)
def test_a_bad_value_is_an_error_in_python_and_shown_in_the_browser(
    explorer: ErrorsExplorer, trait: str, value: object, message: str
) -> None:
    explorer.selected = explorer.sample_ids[:2]
    before = getattr(explorer, trait)
    with pytest.raises(ExplorerError, match=re.escape(message)):
        setattr(explorer, trait, value)
    assert getattr(explorer, trait) == before
    explorer.set_state({trait: list(value) if isinstance(value, tuple) else value})
    assert message in explorer.error
    assert getattr(explorer, trait) == before
    assert explorer.selected == tuple(explorer.sample_ids[:2])


def test_a_cell_is_two_known_classes(of_classes: ErrorsExplorer) -> None:
    for cell in (("spring",), ("spring", "nowhen")):
        with pytest.raises(ExplorerError, match="Expected a true and a predicted class"):
            of_classes.cell = cell


def test_unknown_samples_are_not_selected(explorer: ErrorsExplorer) -> None:
    with pytest.raises(UnknownIdError, match="nobody"):
        explorer.selected = ["nobody"]


def test_a_study_without_the_evaluated_samples_is_refused(numbers: ErrorAnalysis, sides: Sides) -> None:
    n = len(numbers.samples)
    with pytest.raises(ExplorerError, match=f"{n} of {n} evaluated samples are not in the study"):
        errors(numbers, study=sides[0])


# -- what is drawn --------------------------------------------------------------------------------------------------------


def test_dots_are_the_predictions(explorer: ErrorsExplorer, fitted: aam.AAM, study: Study) -> None:
    data, ids = explorer.data, explorer.data["samples"]
    truth = study.metadata["age"].loc[ids].to_numpy()
    guess = fitted.predict(study.keep_samples(ids)).loc[ids, "age"].to_numpy()
    assert data["truth"] == pytest.approx(list(truth), rel=1e-4)
    assert data["prediction"] == pytest.approx(list(guess), rel=1e-4)
    assert data["residual"] == pytest.approx(list(truth - guess), rel=1e-3, abs=1e-3)
    order = np.argsort(-np.abs(truth - guess), kind="stable")
    assert data["order"] == list(order)
    assert data["looked"] == list(order[:3])


def test_the_worst_have_neighbours_and_reasons(explorer: ErrorsExplorer, numbers: ErrorAnalysis, sides: Sides) -> None:
    data = explorer.data
    for space in ("embedding", "unifrac"):
        rows = [r for r in data["neighbours"] if r["i"] == data["order"][0] and r["space"] == space]
        assert [r["rank"] for r in rows] == [1, 2]
        for row in rows:
            assert row["neighbour_truth"] == pytest.approx(sides[0].metadata["age"][row["neighbour"]], rel=1e-4)
    assert {r["i"] for r in data["reasons"]} == set(data["looked"])
    sent = [(data["samples"][r["i"]], r["asv"]) for r in data["reasons"]]
    assert sent == list(zip(numbers.attributions.index, numbers.attributions["asv_id"], strict=True))


def test_asvs_go_by_their_taxa_where_there_is_taxonomy(study: Study) -> None:
    taxonomy = pd.DataFrame({"domain": "Bacteria", "genus": "Blautia"}, index=study.asv_ids)
    named = replace(study, taxonomy=taxonomy)
    asv = str(study.asv_ids[4])
    assert label_asvs([asv], named) == (["Blautia #5"], ["Bacteria; Blautia"])
    assert label_asvs([asv], study) == ([f"{asv[:9]}…{asv[-9:]} #5"], [""])
    assert label_asvs([asv], None) == ([f"{asv[:9]}…{asv[-9:]}"], [""])


def test_status_tells_who_lies_outside_and_whose_label_is_suspect(numbers: ErrorAnalysis) -> None:
    ids = numbers.samples.index
    samples = numbers.samples.assign(outside=ids.isin(ids[[0, 1]]))
    suspects = pd.DataFrame({"truth": 1.0, "model": 2.0, "forest": 2.0, "score": 3.0}, index=ids[[1, 2]])
    column = errors(replace(numbers, samples=samples, suspects=suspects)).data["columns"][0]
    told = [column["levels"][k] for k in column["values"][:4]]
    assert told == ["outside", "outside, label suspect", "label suspect", "inside"]


def test_the_band_is_the_widest_up_to_ninety_per_cent(numbers: ErrorAnalysis) -> None:
    table = pd.DataFrame({"level": [0.5, 0.8, 0.9, 0.95], "threshold": [1.0, 2.0, np.nan, np.nan], "coverage": 0.5})
    assert errors(replace(numbers, conformal=table)).data["band"]["threshold"] == 2.0
    assert errors(replace(numbers, conformal=table.assign(threshold=np.nan))).data["band"] is None


def test_confusions_are_counted(of_classes: ErrorsExplorer, classes: ErrorAnalysis) -> None:
    data, pairs = of_classes.data, list(zip(classes.samples["truth"], classes.samples["prediction"], strict=True))
    for r, truth in enumerate(data["classes"]):
        for c, guess in enumerate(data["classes"]):
            assert data["counts"][r][c] == pairs.count((truth, guess))


def test_all_samples_are_in_the_table_the_worst_first(explorer: ErrorsExplorer, numbers: ErrorAnalysis) -> None:
    table = explorer.to_frame()
    assert len(table) == len(numbers.samples)
    assert table["error"].is_monotonic_decreasing
    assert table["pushed_by"].notna().sum() == 3


def test_an_analysis_that_lacks_parts_is_shown(numbers: ErrorAnalysis, classes: ErrorAnalysis) -> None:
    none = pd.DataFrame()
    for full in (numbers, classes):
        bare = replace(
            full,
            samples=full.samples.drop(columns=["distance", "distance_percentile", "outside", "faith_pd"]),
            associations=full.associations.head(0),
            slices=full.slices.head(0),
            neighbours=full.neighbours.head(0),
            attributions=full.attributions.head(0),
            calibration=Calibration(none, full.calibration.scores),
            conformal=none,
            suspects=full.suspects.head(0),
            notes=(),
        )
        explorer = errors(bare)
        assert explorer.against == "depth"
        assert "outside" not in explorer.sentence()
        assert explorer.data["slices"] == explorer.data["reasons"] == explorer.data["conformal"] == []
        assert "<!doctype html>" in explorer.page()
        assert len(explorer.figure().axes) >= 4


def test_the_sentence_says_how_large_and_what_to_beware_of(explorer: ErrorsExplorer, numbers: ErrorAnalysis) -> None:
    first, *notes = explorer.sentence().split("\n")
    assert f"mean {numbers.samples['error'].mean():.3g} over 12 samples in 3 groups (host_id)" in first
    assert str(numbers.samples["error"].idxmax()) in first
    assert tuple(notes) == numbers.notes


@pytest.mark.parametrize(("num", "words"), [(1, "1 sample lies outside"), (2, "2 samples lie outside")])
def test_numbers_have_their_words_in_the_singular_or_plural(numbers: ErrorAnalysis, num: int, words: str) -> None:
    outside = np.arange(len(numbers.samples)) < num
    assert words in summary(replace(numbers, samples=numbers.samples.assign(outside=outside)))


def test_the_band_is_the_widest_up_to_nine_tenths(numbers: ErrorAnalysis) -> None:
    def band(*rows: tuple[float, float]) -> float | None:
        interval = conformal_band(replace(numbers, conformal=pd.DataFrame(rows, columns=["level", "threshold"])))
        return None if interval is None else float(interval["level"])

    assert band((0.5, 1.0), (0.95, 3.0), (0.8, 2.0)) == 0.8
    assert band((0.5, np.nan), (0.95, 3.0)) == 0.95
    assert band((0.8, np.nan)) is None
    assert band() is None
    assert conformal_band(replace(numbers, kind="classification")) is None


# -- twin and files -------------------------------------------------------------------------------------------------------


def test_viewers_without_widgets_see_a_figure(of_classes: ErrorsExplorer) -> None:
    bundle, _ = of_classes._repr_mimebundle_()
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")
    assert "Errors of season" in bundle["text/html"]


@pytest.mark.parametrize(("kind", "start"), [("png", b"\x89PNG"), ("csv", b"sample_id,"), ("html", b"<!doctype html>")])
def test_it_is_written_to_files(explorer: ErrorsExplorer, tmp_path: Path, kind: str, start: bytes) -> None:
    assert explorer.export(tmp_path / f"errors.{kind}").read_bytes().startswith(start)


def test_names_from_files_are_text(classes: ErrorAnalysis, study: Study) -> None:
    ids = {i: f"{HOSTILE}{k}" for k, i in enumerate(study.sample_ids)}
    names = {c: f"{HOSTILE}{c}" for c in ("spring", "summer", "autumn", "winter")}
    metadata = study.metadata.rename(index=ids, columns={"diet": f"{HOSTILE}diet"})
    taxonomy = pd.DataFrame({"domain": HOSTILE, "genus": HOSTILE}, index=study.asv_ids)
    hostile_study = Study(study.table, pd.Index(metadata.index), study.asv_ids, metadata, taxonomy=taxonomy)
    assert classes.confusion is not None
    assert classes.per_class is not None
    hostile = replace(
        classes,
        target=HOSTILE,
        group=HOSTILE,
        samples=classes.samples.rename(index=ids).replace({"truth": names, "prediction": names}),
        slices=classes.slices.assign(slice=classes.slices["slice"].str.replace("diet", f"{HOSTILE}diet")),
        neighbours=classes.neighbours.rename(index=ids).replace({"neighbour": ids, "neighbour_truth": names}),
        attributions=classes.attributions.rename(index=ids).replace({"output": names}),
        confusion=classes.confusion.rename(index=names, columns=names),
        per_class=classes.per_class.rename(index=names),
        suspects=classes.suspects.rename(index=ids),
        notes=(HOSTILE,),
    )
    explorer = errors(hostile, study=hostile_study)
    page = explorer.page()
    for text in (explorer._repr_html_(), page):
        assert "<img src=x" not in text
        assert "<script>alert" not in text
    state = re.search(r'<script type="application/json">(.*?)</script>', page, re.S)
    assert state is not None
    assert json.loads(state[1])["data"]["samples"] == list(hostile.samples.index)
