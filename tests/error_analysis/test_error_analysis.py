"""Error analysis: tables against scikit-learn and plain loops; planted label flips are found; what is missing is said."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import QUICK, TINY
from scipy.spatial.distance import cdist
from sklearn.metrics import confusion_matrix

import aam_nb as aam
from aam_nb.config import ErrorsConfig
from aam_nb.error_analysis.analysis import ErrorAnalysis, errors
from aam_nb.error_analysis.confusion import (
    count_confusions,
    find_suspect_classes,
    find_suspect_numbers,
    list_confused_pairs,
    robust_z,
    score_classes,
)
from aam_nb.error_analysis.learning_curve import _rank_samples
from aam_nb.error_analysis.neighbours import list_nearest, measure_own_distances, rank_as_percentile
from aam_nb.error_analysis.samples import ErrorsError
from aam_nb.evaluate.judged_truth import JudgedTruthError
from aam_nb.study.errors import UnknownIdError
from aam_nb.study.study import Study

FAST = ErrorsConfig(num_permutations=199, num_resamples=50, min_slice=3, num_worst=4, num_neighbours=3)
JUDGED = aam.EvaluateConfig(num_resamples=20, num_trees=20)
Sides = tuple[Study, Study]


@pytest.fixture(scope="module")
def result(fitted: aam.AAM, sides: Sides) -> aam.Evaluation:
    return aam.Evaluation.of(fitted, sides[1], find_leaks=False, config=JUDGED)


@pytest.fixture(scope="module")
def analysis(result: aam.Evaluation, study: Study) -> ErrorAnalysis:
    return errors(result, study, config=FAST)


@pytest.fixture(scope="module")
def classes(sides: Sides) -> tuple[aam.AAM, aam.Evaluation]:
    model = aam.AAM(TINY).fit(sides[0], target="season", config=QUICK)
    return model, aam.Evaluation.of(model, sides[1], find_leaks=False, config=JUDGED)


# -- samples ----------------------------------------------------------------------------------------------------------


def test_samples_are_described(analysis: ErrorAnalysis, result: aam.Evaluation, study: Study, sides: Sides) -> None:
    table, test = analysis.samples, sides[1]
    assert table.index.equals(result.predictions.index)
    residual = test.metadata["age"] - result.predictions["prediction"]
    assert table["residual"].tolist() == pytest.approx(residual.tolist())
    assert table["error"].tolist() == pytest.approx(residual.abs().tolist())
    dense = test.table.toarray()
    assert table["depth"].tolist() == dense.sum(1).tolist()
    assert table["richness"].tolist() == (dense > 0).sum(1).tolist()
    assert table["dominance"].tolist() == pytest.approx((dense.max(1) / dense.sum(1)).tolist())
    pd.testing.assert_series_equal(table["faith_pd"], aam.faith_pd(study)[table.index], check_names=False)


def test_distances_are_those_of_a_plain_loop(
    analysis: ErrorAnalysis, fitted: aam.AAM, study: Study, sides: Sides
) -> None:
    train = sides[0]
    x, t = fitted.embed(sides[1]).to_numpy(float), fitted.embed(train).to_numpy(float)
    host = train.metadata["host_id"].to_numpy()
    own = [np.sort(cdist(t[[k]], t[host != host[k]])[0])[:3].mean() for k in range(len(t))]
    far = np.sort(cdist(x, t), axis=1)[:, :3].mean(1)
    assert analysis.samples["distance"].to_numpy() == pytest.approx(far, rel=1e-5)
    want = [100 * np.mean([o < f for o in own]) for f in far]
    assert analysis.samples["distance_percentile"].to_numpy() == pytest.approx(want, abs=3)
    assert (analysis.samples["outside"] == (analysis.samples["distance_percentile"] >= 99)).all()


def test_percentile_by_hand() -> None:
    train = pd.DataFrame({"x": [0.0, 1.0, 3.0, 7.0]})
    own = measure_own_distances(train, np.arange(4), 1)
    assert own.tolist() == [1, 1, 2, 4]
    assert measure_own_distances(train, np.array([0, 0, 1, 1]), 1).tolist() == [3, 2, 2, 6], "its own group is left out"
    assert np.isnan(measure_own_distances(train, np.zeros(4, dtype=int), 1)).all()
    assert rank_as_percentile(np.array([0.5, 1.0, 1.5, 3.0, 9.0]), own).tolist() == [0, 0, 50, 75, 100]


def test_nearest_training_samples_are_those_of_brute_force(
    analysis: ErrorAnalysis, fitted: aam.AAM, study: Study, sides: Sides
) -> None:
    worst, train = analysis.samples["error"].nlargest(4).index, sides[0]
    whole = aam.unifrac(study, cache=False).to_data_frame()
    near = analysis.neighbours
    assert set(near.index) == set(worst)
    for sample in worst:
        mine = near.loc[[sample]]
        by_unifrac = whole.loc[sample, list(train.sample_ids)].sort_values(kind="stable").head(3)
        found = mine[mine["space"] == "unifrac"]
        assert found["distance"].to_numpy() == pytest.approx(by_unifrac.to_numpy(), abs=1e-6)
        assert found["neighbour_truth"].tolist() == train.metadata.loc[found["neighbour"], "age"].tolist()
        x = fitted.embed(study.keep_samples([sample])).to_numpy(float)
        far = np.sqrt(((fitted.embed(train).to_numpy(float) - x) ** 2).sum(1))
        found = mine[mine["space"] == "embedding"]
        assert found["neighbour"].tolist() == train.sample_ids[np.argsort(far)[:3]].tolist()
        assert found["rank"].tolist() == [1, 2, 3]


def test_nearest_takes_what_there_is() -> None:
    found = list_nearest(
        pd.DataFrame([[2.0, 1.0]], index=["q"], columns=["a", "b"]), pd.Series({"a": 5.0, "b": 6.0}), 9, "x"
    )
    assert found["neighbour"].tolist() == ["b", "a"]
    assert found["neighbour_truth"].tolist() == [6.0, 5.0]


def test_the_worst_are_looked_at(analysis: ErrorAnalysis, fitted: aam.AAM, sides: Sides) -> None:
    table = analysis.worst()
    assert len(table) == 4
    assert table["error"].is_monotonic_decreasing
    assert table["error"].iloc[0] == analysis.samples["error"].max()
    explained = aam.explain.attribute(fitted, sides[1].keep_samples(table.index))
    first = table.index[0]
    top = explained.of_sample(first).head(3)
    mine = analysis.attributions.loc[first]
    assert mine["asv_id"].tolist() == top.index.tolist()
    assert mine["attribution"].to_numpy() == pytest.approx(top.to_numpy(), rel=1e-3)
    assert set(mine["output"]) == {"age"}
    assert table.loc[first, "pushed_by"].startswith(f"{top.iloc[0]:+.3g} {top.index[0]}")
    near = analysis.neighbours.loc[first].iloc[0]
    assert table.loc[first, "near_embedding"].startswith(f"{near['neighbour']}: {near['neighbour_truth']:.4g} (")
    more = analysis.worst(6)
    assert more["pushed_by"].isna().tolist() == [False] * 4 + [True] * 2


# -- whole results ----------------------------------------------------------------------------------------------------


def test_an_analysis_of_numbers(analysis: ErrorAnalysis, sides: Sides) -> None:
    assert analysis.group == "host_id"
    assert analysis.num_groups == 3
    assert analysis.confusion is analysis.per_class is analysis.confused_pairs is None
    assert set(analysis.associations["outcome"]) == {"residual", "error"}
    assert {"truth", "prediction", "depth", "faith_pd", "dominance", "distance", "diet"} <= set(
        analysis.associations["column"]
    )
    assert analysis.to_frame() is analysis.slices
    assert list(analysis.calibration.scores.index) == ["slope", "intercept", "bias"]
    assert analysis.conformal["level"].tolist() == [0.5, 0.8, 0.9, 0.95]
    said = " ".join(analysis.notes)
    for words in (
        "by arithmetic alone",
        "4 validation samples",
        "come from 1 host_id",
        "too narrow",
        "bound is infinite",
    ):
        assert words in said
    assert "\n" not in repr(analysis)
    assert repr(analysis).startswith("ErrorAnalysis(age, 12 samples, 3 of host_id: mean error ")


def test_conformal_bounds_come_from_the_validation_samples(
    analysis: ErrorAnalysis, fitted: aam.AAM, study: Study
) -> None:
    valid = study.keep_samples(fitted.samples["validation"])
    off = (fitted.predict(valid)["age"] - valid.metadata["age"]).abs().sort_values().tolist()
    assert len(off) == 4
    bound = off[int(np.ceil(5 * 0.5)) - 1]
    row = analysis.conformal.iloc[0]
    assert row["threshold"] == pytest.approx(bound, rel=1e-5)
    assert row["coverage"] == pytest.approx((analysis.samples["error"] <= bound).mean())
    assert row["size"] == pytest.approx(2 * bound, rel=1e-5)


def test_an_analysis_of_classes(classes: tuple[aam.AAM, aam.Evaluation], study: Study) -> None:
    model, result = classes
    found = errors(result, study, config=FAST)
    truth, guess = result.predictions["truth"], result.predictions["prediction"]
    own = [result.predictions.loc[i, f"p({c})"] for i, c in truth.items()]
    assert found.samples["error"].to_numpy() == pytest.approx(1 - np.array(own))
    assert "residual" not in found.samples
    assert found.confusion is not None
    assert found.per_class is not None
    names = list(found.confusion.index)
    assert (found.confusion.to_numpy() == confusion_matrix(truth, guess, labels=names)).all()
    assert found.calibration.temperature is not None
    assert set(found.calibration.reliability["version"]) == {"raw", "temperature", "isotonic"}
    assert {"season = " + c for c in names} & set(found.slices["slice"])
    top = found.attributions["output"].groupby(level=0).first()
    assert (top == guess[top.index]).all(), "what is explained is the predicted class"
    assert model.task is not None


def test_confusions_are_those_of_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    names = np.array(["a", "b", "c", "d"], dtype=object)
    truth, guess = rng.choice(names, 80), rng.choice(names[:3], 80)
    counts, scores = count_confusions(truth, guess), score_classes(truth, guess)
    for a in names:
        own, named = int((truth == a).sum()), int((guess == a).sum())
        hits = int(((truth == a) & (guess == a)).sum())
        assert [counts.loc[a, b] for b in names] == [((truth == a) & (guess == b)).sum() for b in names]
        assert scores.loc[a, "support"] == own
        assert scores.loc[a, "recall"] == pytest.approx(hits / own)
        assert scores.loc[a, "precision"] == pytest.approx(hits / named if named else np.nan, nan_ok=True)
        assert scores.loc[a, "f1"] == pytest.approx(2 * hits / (own + named))  # 0 for "d", which is never predicted
    ids = pd.Index([f"S{k}" for k in range(80)], name="sample_id")
    pairs = list_confused_pairs(pd.Series(truth, ids), pd.Series(guess, ids))
    assert pairs["n"].sum() == (truth != guess).sum()
    assert pairs["n"].is_monotonic_decreasing
    row = pairs.iloc[0]
    of_pair = (truth == row["truth"]) & (guess == row["prediction"])
    assert row["samples"] == tuple(ids[of_pair])
    assert row["share"] == pytest.approx(of_pair.sum() / (truth == row["truth"]).sum())
    assert list_confused_pairs(pd.Series(truth, ids), pd.Series(truth, ids)).empty


# -- suspects ---------------------------------------------------------------------------------------------------------


def test_flipped_labels_are_among_the_suspects() -> None:
    rng = np.random.default_rng(0)
    right = rng.choice(["a", "b"], 100)
    p = np.clip(rng.beta(8, 2, 100), 0.02, 0.98)  # of the right class, by a fair model
    flipped = np.arange(100) < 6
    truth = np.where(flipped, np.where(right == "a", "b", "a"), right)
    model = np.where(p > 0.5, right, np.where(right == "a", "b", "a"))
    chance = np.where(model == truth, np.maximum(p, 1 - p), np.minimum(p, 1 - p))
    forest = np.where(rng.random(100) < 0.9, right, np.where(right == "a", "b", "a"))
    table = pd.DataFrame({"truth": truth, "prediction": model, "random_forest": forest})
    found = find_suspect_classes(table, pd.Series(chance), pd.Series(np.maximum(p, 1 - p)))
    assert set(found.index) <= set(table.index[(model != truth) & (forest == model)])
    both_right = flipped & (model == right) & (forest == right)
    assert set(np.flatnonzero(both_right)) <= set(found.index)
    assert found["score"].is_monotonic_decreasing
    assert len(found) < 12


def test_numbers_far_from_both_opinions_are_suspects() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(40, 10, 60)
    table = pd.DataFrame(
        {"truth": truth, "prediction": truth + rng.normal(0, 2, 60), "random_forest": truth + rng.normal(0, 2, 60)}
    )
    table.loc[7, "truth"] += 30
    table.loc[11, "prediction"] += 30  # one opinion alone
    table.loc[13, ["prediction", "random_forest"]] += [30, -30]  # far from both, which disagree
    found = find_suspect_numbers(table)
    assert found.index.tolist() == [7]
    z = [abs(robust_z(table["truth"] - table[c])[7]) for c in ("prediction", "random_forest")]
    assert found.loc[7, "score"] == pytest.approx(min(z))
    x = pd.Series([1.0, 2.0, 3.0, 4.0, 100.0])
    assert robust_z(x)[4] == pytest.approx(97 / 1.4826)
    assert robust_z(pd.Series([1.0, 1.0, 1.0, 5.0])).isna().all()


# -- what is missing, and what does not fit ---------------------------------------------------------------------------


def test_a_loaded_result_carries_no_model(result: aam.Evaluation, fitted: aam.AAM, study: Study) -> None:
    assert result.model is fitted
    assert "model" not in result.to_dict()
    assert "AAM" not in repr(result)
    loaded = aam.Evaluation.from_dict(result.to_dict(), result.predictions.astype(str))
    assert loaded.model is None
    found = errors(loaded, study, config=FAST)
    assert "distance" not in found.samples
    assert found.conformal.empty
    assert found.neighbours.empty
    assert "`aam.errors(result, study, model=aam.load(folder))`" in found.notes[0]
    assert "train=train" in found.notes[1]
    assert not found.slices.empty
    with_it = errors(loaded, study, model=fitted, config=FAST)
    assert "distance" in with_it.samples


def test_the_training_side_is_kept_found_or_given(
    result: aam.Evaluation, sides: Sides, study: Study, tmp_path: Path
) -> None:
    config = replace(FAST, attributions=False)
    whole = errors(result, study, config=config)
    kept = errors(result, sides[1], config=config)
    pd.testing.assert_frame_equal(whole.samples, kept.samples)
    pd.testing.assert_frame_equal(whole.conformal, kept.conformal)
    assert "The worst samples are not explained, as `attributions=False` asks." in kept.notes
    assert result.model is not None
    model = aam.load(result.model.save(tmp_path / "run"))
    alone = errors(result, sides[1], model=model, config=config)
    assert "distance" not in alone.samples
    assert any("No training samples are at hand" in n for n in alone.notes)
    given = errors(result, sides[1], model=model, train=sides[0], config=config)
    pd.testing.assert_frame_equal(whole.samples, given.samples, rtol=1e-4)


def test_without_a_tree_or_a_forest(fitted: aam.AAM, sides: Sides) -> None:
    bare = replace(sides[1], tree=None)
    result = aam.Evaluation.of(fitted, bare, baselines=("dummy",), find_leaks=False, config=JUDGED)
    found = errors(result, bare, config=replace(FAST, attributions=False))
    assert "faith_pd" not in found.samples
    assert set(found.neighbours["space"]) == {"embedding"}
    assert found.suspects.empty
    assert any("has no tree" in n for n in found.notes)
    assert any("second opinion" in n for n in found.notes)


def test_a_tree_that_lacks_tips_is_said(result: aam.Evaluation, study: Study, sides: Sides) -> None:
    odd = replace(sides[1], asv_ids=pd.Index(["A" * 40, *study.asv_ids[1:]]))
    found = errors(result, odd, config=replace(FAST, attributions=False))
    assert any("Faith PD is left out. 1 of 80 ASVs are not tips" in n for n in found.notes)
    assert any("Nearest samples in UniFrac are left out." in n for n in found.notes)


def test_another_study_is_refused(result: aam.Evaluation, sides: Sides) -> None:
    lost = sides[1].keep_samples(sides[1].sample_ids[2:])
    with pytest.raises(
        ErrorsError,
        match=r"^2 of 12 judged samples are not in the study \(S\d+, S\d+\)\..*`aam.errors\(result, test\)`",
    ):
        errors(result, lost)
    other = replace(sides[1], metadata=sides[1].metadata.assign(age=sides[1].metadata["age"] + np.eye(12)[0]))
    with pytest.raises(
        JudgedTruthError, match=r"'age' of sample S\d+ is \S+ in the study and \S+ in the evaluation \(1 sample of 12"
    ):
        errors(result, other)


def test_another_model_is_refused(
    result: aam.Evaluation, classes: tuple[aam.AAM, aam.Evaluation], study: Study
) -> None:
    with pytest.raises(UnknownIdError, match="'age' is not predicted"):
        errors(result, study, model=classes[0])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"min_slice": 1}, "min_slice is 1"),
        ({"learning_curve": (0.5, 0.25)}, "learning_curve is"),
        ({"levels": (1.0,)}, "levels is"),
        ({"bins": 3}, "'bins' is not a setting of ErrorsConfig"),
    ],
)
def test_settings_are_checked(settings: dict[str, object], words: str, result: aam.Evaluation, study: Study) -> None:
    with pytest.raises(aam.ConfigError, match=words):
        errors(result, study, **settings)


def test_what_files_say_is_escaped(sides: Sides, fitted: aam.AAM) -> None:
    evil = "<img src=x onerror=alert(1)>"
    test = sides[1]
    metadata = test.metadata.assign(**{evil: [evil, "b", "c"] * 4})
    ids = pd.Index([evil, *test.sample_ids[1:]], name="sample_id")
    test = replace(test, sample_ids=ids, metadata=metadata.set_axis(ids))
    result = aam.Evaluation.of(fitted, test, find_leaks=False, config=JUDGED)
    found = errors(result, test, config=replace(FAST, attributions=False, num_worst=12))
    assert any(evil in text for text in found.slices["slice"])
    shown = found._repr_html_()
    assert "<img" not in shown
    assert "&lt;img" in shown


def test_metadata_named_like_a_fact_is_told_apart(result: aam.Evaluation, sides: Sides) -> None:
    test = replace(sides[1], metadata=sides[1].metadata.assign(depth=range(12), error=["x", "y"] * 6))
    found = errors(result, test, config=replace(FAST, attributions=False))
    assert {"depth", "depth (metadata)", "error (metadata)"} <= set(found.associations["column"])


def test_quantiles_bring_their_own_interval(sides: Sides, study: Study) -> None:
    model = aam.AAM(TINY).fit(sides[0], target=aam.Quantiles("age"), config=QUICK)
    result = aam.Evaluation.of(model, sides[1], find_leaks=False, config=JUDGED)
    found = errors(result, study, config=replace(FAST, attributions=False))
    p = result.predictions
    inside = [p.loc[i, "q(0.05)"] <= p.loc[i, "truth"] <= p.loc[i, "q(0.95)"] for i in p.index]
    assert found.calibration.scores.loc["coverage", "value"] == pytest.approx(np.mean(inside))


# -- learning curve ---------------------------------------------------------------------------------------------------


def test_learning_curve(result: aam.Evaluation, study: Study) -> None:
    found = errors(result, study, config=replace(FAST, attributions=False), learning_curve=(0.5, 1.0)).learning_curve
    assert found["share"].tolist() == [0.5, 1.0]
    assert found["n_train"].iloc[1] == 36
    assert 12 <= found["n_train"].iloc[0] <= 24
    assert found["metric"].tolist() == ["r2", "r2"]
    assert found["value"].iloc[1] == pytest.approx(result.value("r2")), "all of them is the model itself"


@pytest.mark.parametrize("target", ["age", "diet"])
def test_shares_are_nested_whole_groups(target: str, sides: Sides) -> None:
    task = aam.Regression(target) if target == "age" else aam.Classification(target)
    rank = _rank_samples(sides[0], task, "host_id", 0)
    assert (pd.Series(rank).groupby(sides[0].metadata["host_id"].to_numpy()).nunique() == 1).all()
    assert ((rank > 0) & (rank < 1)).all()
    for share in (0.25, 0.5, 0.75):
        assert (rank < share).mean() == pytest.approx(share, abs=0.1)
    assert (_rank_samples(sides[0], task, None, 0) < 0.5).mean() == pytest.approx(0.5, abs=0.03)
    alone = sides[0].metadata[target]
    half = alone[_rank_samples(sides[0], task, None, 0) < 0.5]
    if target == "diet":
        assert half.value_counts(normalize=True).to_numpy() == pytest.approx(
            alone.value_counts(normalize=True)[half.value_counts().index].to_numpy(), abs=0.08
        )
    else:
        assert half.mean() == pytest.approx(alone.mean(), abs=alone.std() / 3)


# -- real -------------------------------------------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.slow
def test_sleep_apnea_by_mouse(real_data: Path) -> None:
    """Pulled to the mean, as every weak model: residuals follow age; mice are counted, not samples."""
    folder = real_data / "sleep_apnea"
    study = aam.read_study(
        folder / "sleep_apnea.biom", metadata=folder / "sleep_apnea.tsv", tree=folder / "sleep_apnea.nwk"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", aam.SplitWarning)
        train, test = study.split(test_size=0.3, target="age", group="host_subject_id", seed=0)
    config = aam.TrainConfig(epochs=6, progress=False, validation=0.3)
    result = aam.Evaluation.of(
        aam.AAM(TINY).fit(train, target="age", config=config), test, find_leaks=False, config=JUDGED
    )
    found = errors(result, study, attributions=False)
    assert found.num_groups == 5
    row = found.associations.set_index(["outcome", "column"]).loc[("residual", "truth")]
    assert row["effect"] > 0.5
    assert row["p_adjusted"] < 0.01
    assert found.samples["distance_percentile"].between(0, 100).all()
    assert any("5 host_subject_id" in n for n in found.notes)


def test_what_is_no_result_and_too_small_a_share_are_refused(sides: tuple[Study, Study], fitted: aam.AAM) -> None:
    with pytest.raises(ErrorsError, match=r"The result is AAM\. Expected an `Evaluation`"):
        errors(fitted, sides[1])  # type: ignore[arg-type]
    result = fitted.evaluate(sides[1], train=sides[0], find_leaks=False)
    with pytest.raises(ErrorsError, match=r"A share of 0\.01 of the training samples is 0"):
        errors(result, sides[1], train=sides[0], learning_curve=(0.01,), attributions=False)


def test_a_model_that_may_be_guessing_is_told(sides: tuple[Study, Study], fitted: aam.AAM) -> None:
    result = fitted.evaluate(sides[1], train=sides[0], find_leaks=False)
    metrics = result.metrics
    for low, told in ((-0.1, True), (0.0, True), (float("nan"), True), (0.2, False)):
        ours = (metrics["model"] == "aam") & (metrics["metric"] == "r2")
        made = replace(result, metrics=metrics.assign(low=metrics["low"].where(~ours, low)))
        notes = errors(made, sides[1], train=sides[0], attributions=False, num_permutations=99, num_resamples=20).notes
        assert any("not shown to do better than guessing" in n for n in notes) == told
