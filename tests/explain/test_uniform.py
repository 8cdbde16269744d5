"""The control of even attention, against a forward pass by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from by_hand import ByHand
from conftest import QUICK, TINY
from scipy.stats import pearsonr
from sklearn.metrics import balanced_accuracy_score, mean_absolute_error, r2_score

import aam_nb as aam
from aam_nb.explain.attention.heads import NOT_IMPORTANCE
from aam_nb.explain.attention.uniform import LEVELS, UniformControl, select_modules, uniform_control
from aam_nb.model import layers
from aam_nb.model.encoder import Maps
from aam_nb.model.layers import Attention, evenly
from aam_nb.study.study import Study
from aam_nb.train.estimator import NotFittedError

EVIL = "<img src=x onerror=alert(1)>"
EVEN = {name: (name,) for name in LEVELS} | {"all": LEVELS[:-1], "none": ()}


@pytest.fixture(scope="module")
def control(fitted: aam.AAM, sides: tuple[Study, Study]) -> UniformControl:
    return uniform_control(fitted, sides[1])


@pytest.mark.parametrize("level", ["none", *LEVELS])
def test_predictions_are_those_of_even_weights_by_hand(
    level: str, fitted: aam.AAM, control: UniformControl, sides: tuple[Study, Study]
) -> None:
    oracle, test, task = ByHand(fitted, EVEN[level]), sides[1], fitted.require_task()
    for sample in test.sample_ids[[0, 5]]:
        vector = torch.from_numpy(oracle.sample(sample, test).vector)[None].float()
        with torch.no_grad():
            right = float(task._to_units(task._to_bounds(task.head(vector).double(), None), None))  # type: ignore[union-attr]
        assert control.predictions[level].at[sample, "age"] == pytest.approx(right, abs=1e-3)


def test_changes_and_scores_by_scipy_and_scikit_learn(
    fitted: aam.AAM, control: UniformControl, sides: tuple[Study, Study]
) -> None:
    test = sides[1]
    own, truth = fitted.predict(test)["age"], test.metadata["age"]
    np.testing.assert_allclose(control.predictions["none"]["age"], own, rtol=1e-6)
    changes, scores = control.changes.set_index("level"), control.scores.set_index("level")
    assert changes.index.tolist() == list(LEVELS)
    assert (changes["unit"] == "units of age").all()
    for level in LEVELS:
        even = control.predictions[level]["age"]
        row = changes.loc[level]
        assert row["change"] == pytest.approx(mean_absolute_error(own, even), rel=1e-5)
        assert row["correlation"] == pytest.approx(pearsonr(own, even).statistic, abs=1e-5)
        assert row["relative"] == pytest.approx(row["change"] / own.std(ddof=0), rel=1e-5)
        assert scores.at[level, "r2"] == pytest.approx(r2_score(truth, even))
    frame = control.to_frame().set_index("level")
    assert frame.at["pooling", "mae"] == pytest.approx(
        mean_absolute_error(truth, control.predictions["pooling"]["age"])
    )
    assert frame["mae_none"].tolist() == pytest.approx([mean_absolute_error(truth, own)] * 5)
    assert control.num_seen == 0


def test_the_model_stays_as_it_is(fitted: aam.AAM, sides: tuple[Study, Study]) -> None:
    before, vectors = fitted.predict(sides[1]), fitted.embed_asvs(sides[1].asv_ids[:4])
    uniform_control(fitted, sides[1])
    assert fitted.predict(sides[1]).equals(before)
    assert fitted.embed_asvs(sides[1].asv_ids[:4]).equals(vectors)
    assert not any(getattr(m, "even", False) for m in fitted.network.modules())
    with evenly(fitted.network):
        assert fitted.network.encoder.sample.pool.even
    with pytest.raises(ZeroDivisionError), evenly(fitted.network):
        1 / 0  # noqa: B018
    assert not fitted.network.encoder.sample.pool.even


@pytest.mark.parametrize("short", [0, 48])
def test_even_windows_see_what_may_be_seen(short: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "SHORT", short)
    torch.manual_seed(0)
    local, x = Attention(8, 2, reach=2), torch.randn(2, 7, 8)
    filled = torch.tensor([[True] * 7, [True] * 5 + [False] * 2])
    turn = layers.rotation(7, 8, 2, x)
    with torch.no_grad(), evenly(local):
        found = local(x, filled[:, None, None], turn, None)
        _, _, v = local.qkv(x).chunk(3, dim=-1)
        for b, position in ((0, 0), (0, 3), (0, 6), (1, 4), (1, 0)):
            seen = [k for k in range(7) if abs(k - position) <= 2 and bool(filled[b, k])]
            torch.testing.assert_close(found[b, position], local.out(v[b, seen].mean(0)))


def test_even_weights_are_one_over_the_keys_of_a_sample(fitted: aam.AAM, sides: tuple[Study, Study]) -> None:
    for batch, asv_ND in fitted.batches(sides[1]):
        maps, sizes = Maps(), batch.offsets_B1.diff() + 1
        with torch.no_grad(), evenly(*select_modules(fitted.network, "all")):
            fitted.network.encoder(batch, asv_ND=asv_ND, maps=maps)
        for weights in (*(maps.asv or []), *maps.pool):
            for b, size in enumerate(sizes.tolist()):
                expected = torch.zeros(weights.shape[-1])
                expected[:size] = 1 / size
                torch.testing.assert_close(weights[b], expected.expand_as(weights[b]))


def test_classes_quantiles_and_unknown_truth(sides: tuple[Study, Study]) -> None:
    train, test = sides
    model = aam.AAM(TINY).fit(train, target="diet", covariates=["season"], config=QUICK)
    found, truth = uniform_control(model, test), test.metadata["diet"]
    classes = model.require_task().output_names
    assert found.changes["output"].tolist() == classes * 5
    assert (found.changes["unit"] == "log-odds").all()
    guess = np.array(classes)[found.predictions["asv"].to_numpy().argmax(1)]
    row = found.to_frame().query("level == 'asv'").iloc[0]
    assert row["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, guess))
    bare = replace(test, metadata=test.metadata.drop(columns="diet"))
    silent = uniform_control(model, bare)
    assert silent.scores.empty
    pd.testing.assert_frame_equal(silent.changes, found.changes)
    assert "balanced_accuracy" not in silent.to_frame()
    spread = aam.AAM(TINY).fit(train, target=aam.Quantiles("age", quantiles=(0.1, 0.5, 0.9)), config=QUICK)
    frame = uniform_control(spread, train.keep_samples(train.sample_ids[:8])).to_frame()
    assert frame["output"].tolist() == ["age", "q(0.1)", "q(0.9)"] * 5
    assert frame["r2"].notna().all()


def test_every_view_says_what_attention_is_not_and_runs_nothing(
    fitted: aam.AAM, control: UniformControl, sides: tuple[Study, Study]
) -> None:
    for text in (control.caption, repr(control), control._repr_html_()):
        assert NOT_IMPORTANCE in text
    assert "\n" not in repr(control)
    assert control.verdict in repr(control)
    frames = (control.to_frame(), control.changes, control.scores, *control.predictions.values())
    assert all(frame.attrs["caption"] == NOT_IMPORTANCE for frame in frames)
    evil = replace(control, target=EVIL, changes=control.changes.assign(output=EVIL))
    assert EVIL not in evil._repr_html_()
    seen = uniform_control(fitted, sides[0].keep_samples(sides[0].sample_ids[:3]))
    assert "The model was trained on 3 of these samples." in repr(seen)
    flat = replace(control, changes=control.changes.assign(relative=np.nan))
    assert "predicts the same for all 12 samples" in flat.verdict


def test_without_a_target_there_is_no_control(sides: tuple[Study, Study]) -> None:
    with pytest.raises(NotFittedError):
        uniform_control(aam.AAM(), sides[1])


def test_of_one_sample_it_says_so(fitted: aam.AAM, sides: tuple[Study, Study]) -> None:
    one = sides[1].keep_samples(sides[1].sample_ids[:1])
    assert uniform_control(fitted, one).verdict.startswith("This is one sample, so nothing shows")
