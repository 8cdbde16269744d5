"""The report and the figures in it."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import QUICK, TINY

import aam_nb as aam
from aam_nb.show.report import sections

EVIL = "<img src=x onerror=alert(1)>"


class Page(HTMLParser):
    """Tags and addresses of a page, as a browser would find them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.handlers: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [v or "" for k, v in attrs if k in ("src", "href", "action", "data")]
        self.handlers += [k for k, _ in attrs if k.startswith("on")]


@pytest.fixture(scope="module")
def model(sides: tuple[aam.Study, aam.Study]) -> aam.AAM:
    """A class model; the shared fixture predicts a number."""
    return aam.AAM(TINY).fit(sides[0], target="diet", config=QUICK)


def test_the_page_is_self_contained_and_says_how_well(
    fitted: aam.AAM, model: aam.AAM, study: aam.Study, tmp_path: Path
) -> None:
    path = aam.report([fitted, model], study, tmp_path / "deep" / "report.html")
    text = path.read_text()
    page = Page(text)
    assert all(s.startswith(("data:image/png;base64,", "#")) for s in page.sources)
    assert not {"link", "iframe"} & set(page.tags)
    data, scripts = text.count('<script type="application/json">'), text.count("<script")
    assert (data, scripts) == (7, 8)  # the study, three explorers of each model, and what draws them
    assert page.tags.count("img") >= 12
    assert "random forest" in text
    assert "Planted ASVs recovered" in text
    assert "not an importance" in text  # what attention is not
    for m in (fitted, model):
        assert m.evaluation is not None
        for row in m.evaluation.metrics.query("model == 'aam'").itertuples():
            assert f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}]" in text


def test_names_from_files_run_nothing(sides: tuple[aam.Study, aam.Study], tmp_path: Path) -> None:
    train, test = sides
    evil = {"age": f"age {EVIL}", "diet": EVIL}
    renamed = []
    for part in (train, test):
        ids = pd.Index([f"{i}{EVIL}" for i in part.sample_ids], name="sample_id")
        metadata = part.metadata.rename(columns=evil).set_axis(ids).replace({"plant": EVIL, "animal": "$x_1$ <b>"})
        renamed.append(replace(part, sample_ids=ids, metadata=metadata, truth=None, provenance=(EVIL,), tree=None))
    model = aam.AAM(TINY).fit(renamed[0], target=EVIL, config=QUICK)
    model.evaluate(renamed[1])
    page = Page(aam.report(model, renamed[1], tmp_path / "report.html", title=EVIL).read_text())
    assert not page.handlers
    assert "b" not in [t for t, s in zip(page.tags, page.tags[1:], strict=False) if s == "b"]
    assert all(s.startswith(("data:image/png;base64,", "#")) for s in page.sources)


def test_a_leak_is_on_the_page(sides: tuple[aam.Study, aam.Study], fitted: aam.AAM, tmp_path: Path) -> None:
    from aam_nb.evaluate.leaks import Leak

    _, test = sides
    leak = Leak(column="cage", shared=1, metric="r2", guessing=0, lookup=0.7, forest_mixed=0.8, forest_apart=-0.2)
    model = aam.AAM(TINY).fit(sides[0], target="age", config=QUICK)
    model.evaluation = replace(model.evaluate(test), leaks=(leak,))
    text = aam.report(model, test, tmp_path / "report.html").read_text()
    warned = re.findall(r'<p class="warn" role="alert">(.*?)</p>', text)
    assert any("cage" in w and "0.80" in w and "-0.20" in w for w in warned)


def test_a_report_needs_samples_that_were_not_seen(
    fitted: aam.AAM, sides: tuple[aam.Study, aam.Study], tmp_path: Path
) -> None:
    fresh = aam.AAM(TINY).fit(sides[0], target="age", config=QUICK)
    with pytest.raises(KeyError, match="it has seen them all"):
        aam.report(fresh, sides[0], tmp_path / "report.html")


def test_figures_show_the_tables_they_are_drawn_from(
    fitted: aam.AAM, model: aam.AAM, sides: tuple[aam.Study, aam.Study]
) -> None:
    import matplotlib.pyplot as plt

    _, test = sides
    age, diet = fitted.evaluate(test), model.evaluate(test)
    dots = age.plot().collections[0].get_offsets()
    np.testing.assert_allclose(np.asarray(dots), age.predictions[["truth", "prediction"]].to_numpy(float))
    cells = [int(t.get_text()) for t in diet.plot().texts]
    assert sum(cells) == test.num_samples
    assert cells[0] == ((diet.predictions["truth"] == "animal") & (diet.predictions["prediction"] == "animal")).sum()

    attributions = aam.explain.attribute(fitted, test)
    bars = [bar.get_width() for bar in aam.plots.attributions(attributions, top=5).patches]
    np.testing.assert_allclose(bars, attributions.by_asv()["mean"].head(5).iloc[::-1])

    ordination = aam.pcoa(aam.unifrac(test))
    axes = aam.plots.pcoa(ordination, color=test.metadata["diet"])
    share = ordination.proportion_explained
    assert f"{share.iloc[0]:.1%}" in axes.get_xlabel()
    assert sum(len(c.get_offsets()) for c in axes.collections) == test.num_samples
    assert len(aam.plots.metrics(age).axes) == 3
    plt.close("all")


@pytest.mark.slow
def test_a_report_of_five_hundred_samples_can_be_mailed(tmp_path: Path) -> None:
    study = aam.simulate_study(500, 400, seed=0, config=aam.SimulateConfig(length=60))
    train, _ = study.split(test_size=0.25, target="age", group="host_id", seed=0)
    model = aam.AAM(TINY).fit(train, target="age", config=aam.TrainConfig(epochs=1, progress=False))
    assert aam.report(model, study, tmp_path / "report.html").stat().st_size < 8_000_000


@pytest.mark.parametrize(
    ("fits", "told"),
    [
        ({}, "The model and each baseline were trained on 1 sample."),
        ({"a": 9000, "b": 9000}, "The model and each baseline were trained on 9,000 samples."),
        ({"a": 9000, "b": 3000}, "The model was trained on 9,000 samples, baselines on 3,000 of them or more."),
    ],
)
def test_baselines_that_saw_less_than_the_model_are_told(fits: dict[str, int], told: str) -> None:
    result = SimpleNamespace(num_train=fits.get("a", 1), baseline_fits={k: {"samples": n} for k, n in fits.items()})
    assert sections._trained_on(result) == told  # type: ignore[arg-type]
