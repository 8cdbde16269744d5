"""Tasks: metadata to the network's numbers and back, in units, within bounds, by group, and again from JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import TINY
from objective_cases import CASES, rich
from scipy.special import softmax
from scipy.stats import norm, zscore

import aam_nb as aam
from aam_nb.batch.batch import Batch
from aam_nb.config import ConfigError, UserError
from aam_nb.model.encoder import States
from aam_nb.model.objectives import OBJECTIVES, ObjectiveError, Task, make_objective, task_for
from aam_nb.model.objectives.transforms import KINDS
from aam_nb.study.errors import TargetError, UnknownIdError
from aam_nb.study.study import Study

RNG = np.random.default_rng(0)
TASKS = [name for name in CASES if name.startswith(("regression", "quantiles", "classification"))]


@pytest.fixture(scope="module")
def known(study: Study) -> Study:
    return rich(study)


def rows_of(study: Study, rows: list[int], *, partner: list[int] | None = None, share: float = 1.0) -> Batch:
    """A batch of some samples, of whose ASVs nothing is asked."""
    none, at = torch.zeros(0, dtype=torch.long), np.array(rows, dtype=np.int64)
    mixed: dict[str, Any] = {}
    if partner is not None:
        mixed = {"partner_B": np.array(partner), "share_B": np.full(len(rows), share)}
    return Batch(none, none, none, none, none, at, at[:0], tuple(study.sample_ids[at]), {}, **mixed)


def with_targets(task: Task, study: Study, rows: list[int], **how: Any) -> Batch:
    return task.maker(study)(rows_of(study, rows, **how), RNG)


def states(sample_BD: torch.Tensor) -> States:
    return States(nucleotide_NPD=None, asv_ND=sample_BD, entry_BSD=sample_BD[:, None], sample_BD=sample_BD)


# -- there and back ---------------------------------------------------------------------------------------------------


def test_regression_is_standardised_inside_and_in_units_outside(known: Study) -> None:
    task = aam.Regression("age")
    task.learn(known)
    age = known.metadata["age"].to_numpy()
    batch = with_targets(task, known, [3, 0, 40])
    np.testing.assert_allclose(batch.targets["target"][:, 0], zscore(age)[[3, 0, 40]], rtol=1e-5)
    outputs = task.outputs(batch.targets["target"], batch)
    np.testing.assert_allclose(outputs[:, 0], age[[3, 0, 40]], rtol=1e-6)
    frame = task.to_frame(outputs.numpy(), known.sample_ids[[3, 0, 40]])
    assert frame.index.equals(known.sample_ids[[3, 0, 40]])
    assert list(frame.columns) == ["age"] == task.output_names
    assert (task.target, task.targets, task.kind, task.unit("age")) == ("age", ["age"], "regression", "units of age")


@pytest.mark.parametrize("kind", KINDS)
def test_several_targets_come_back_each_in_its_units(kind: str, known: Study) -> None:
    task = aam.Regression(["age", "patchy"], transform=("standardise", kind if kind != "log" else "none"))
    task.learn(known)
    rows = list(range(known.num_samples))
    batch = with_targets(task, known, rows)
    truth = known.metadata[["age", "patchy"]].to_numpy()
    assert np.array_equal(np.isnan(batch.targets["target"].numpy()), np.isnan(truth))
    frame = task.to_frame(task.outputs(batch.targets["target"], batch).numpy(), known.sample_ids)
    held = frame["patchy"][known.metadata["patchy"].notna()]
    np.testing.assert_allclose(held, known.metadata["patchy"].dropna(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(frame["age"], known.metadata["age"], rtol=1e-5)


def test_groups_are_transformed_by_themselves_and_others_by_all(known: Study) -> None:
    metadata = known.metadata.copy()
    metadata["side"] = np.array(["left", "right"], dtype=object)[np.arange(48) % 2]
    metadata.loc[metadata.index[:4], "side"] = ["rare", "rare", "rare", None]
    metadata["age"] = metadata["age"] + 100.0 * (metadata["side"] == "left")
    study = replace(known, metadata=metadata)
    task = aam.Regression("age", transform_by="side")
    task.learn(study)
    age, side = metadata["age"].to_numpy(), metadata["side"].to_numpy()
    want = np.empty(48)
    for name in ("left", "right"):
        want[side == name] = zscore(age[side == name])
    want[:4] = (age[:4] - age.mean()) / age.std()  # three of a kind are too few, and one has no side
    batch = with_targets(task, study, list(range(48)))
    np.testing.assert_allclose(batch.targets["target"][:, 0], want, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(task.outputs(batch.targets["target"], batch)[:, 0], age, rtol=1e-5)

    # A study to predict has no ages, and a side that training had not.
    asked = replace(study, metadata=pd.DataFrame({"side": np.where(side == "left", "up", side)}, index=metadata.index))
    add = task.inputs(asked)
    assert add is not None
    plain = add(rows_of(asked, list(range(48))), RNG)
    found = task.outputs(torch.zeros(48, 1), plain)[:, 0].numpy()
    np.testing.assert_allclose(found[side == "left"], age.mean())
    np.testing.assert_allclose(found[side == "right"], age[side == "right"].mean())
    # Captum asks for several copies of a batch at once.
    twice = task.outputs(torch.zeros(96, 1), plain)[:, 0].numpy()
    assert np.array_equal(twice, np.tile(found, 2))
    with pytest.raises(UnknownIdError, match="'side' is not a metadata column"):
        task.inputs(replace(asked, metadata=asked.metadata.iloc[:, :0]))


def test_metrics_undo_the_transform_of_each_group(known: Study) -> None:
    task = aam.Regression("age", transform="power", transform_by="side")
    task.learn(known)
    batch = with_targets(task, known, list(range(48)))
    task.build(TINY)
    z, truth = task.compare(states(torch.randn(48, 16)), batch)
    found = task.metrics(z.detach().numpy(), truth.numpy())
    guess = task.outputs(z.detach(), batch)[:, 0].numpy()
    assert found["mae"] == pytest.approx(np.abs(guess - known.metadata["age"].to_numpy()).mean(), rel=1e-4)


# -- bounds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("by", ["", "side"])
@pytest.mark.parametrize(("output", "low", "high"), [("positive", 0.0, np.inf), ("bounded", -20.0, 120.0)])
@pytest.mark.parametrize("quantiles", [False, True])
def test_no_prediction_leaves_its_bounds(
    kind: str, by: str, output: str, low: float, high: float, quantiles: bool, known: Study
) -> None:
    if kind == "log" and low < 0:
        return
    settings: dict[str, Any] = {"output": output, "transform": kind, "transform_by": by}
    if output == "bounded":
        settings |= {"low": low, "high": high}
    task = (aam.Quantiles if quantiles else aam.Regression)("age", **settings)
    task.learn(known)
    batch = with_targets(task, known, list(range(48)))
    raw = torch.tensor(np.linspace(-60, 60, 48)[:, None] * np.ones((1, 3 if quantiles else 1)), requires_grad=True)
    found = task.outputs(raw, batch)
    values = found.detach().numpy()
    assert np.isfinite(values).all()
    assert low <= values.min() <= values.max() <= high
    assert np.ptp(values) > 10  # years: it does not say one thing
    found.sum().backward()
    assert raw.grad is not None
    assert torch.isfinite(raw.grad).all()


def test_training_values_outside_the_bounds_are_refused(known: Study) -> None:
    low = known.metadata["age"].min()
    sample = known.metadata["age"].idxmin()
    with pytest.raises(TargetError, match=rf"'age' is {low:g} in {sample}.*in 1 of 48 samples.*output='free'"):
        aam.Regression("age", output="bounded", low=low + 1e-9, high=999).learn(known)
    minus = replace(known, metadata=known.metadata.assign(age=-known.metadata["age"]))
    with pytest.raises(TargetError, match=r"in 48 of 48 samples\. Expected none below 0, as `output='positive'` says"):
        aam.Regression("age", output="positive").learn(minus)
    endless = replace(known, metadata=known.metadata.assign(age=known.metadata["age"].where(lambda a: a > low, np.inf)))
    with pytest.raises(TargetError, match=r"'age' is inf.*Expected finite numbers"):
        aam.Regression("age").learn(endless)


@pytest.mark.parametrize("name", [n for n in TASKS if not n.startswith("classification")])
def test_first_predictions_are_about_the_mean(name: str, known: Study) -> None:
    """Of a head that sees nothing, whatever the transform and the bounds."""
    task = CASES[name]()
    assert isinstance(task, Task)
    task.learn(known)
    task.build(TINY)
    batch = with_targets(task, known, list(range(48)))
    z, truth = task.compare(states(torch.zeros(48, 16)), batch)
    spread = np.nanstd(truth[:, 0].numpy())
    middle = z[:, z.shape[1] // 2 if name.startswith("quantiles") else 0]
    assert abs(float(middle.detach().mean()) - np.nanmean(truth[:, 0])) < 0.5 + 0.3 * spread


# -- quantiles and classes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_quantiles_never_cross(kind: str, known: Study) -> None:
    quantiles = (0.05, 0.2, 0.5, 0.9, 0.99)
    task = aam.Quantiles("age", quantiles=quantiles, transform=kind)
    task.learn(known)
    batch = with_targets(task, known, list(range(48)))
    found = task.outputs(3 * torch.randn(48, 5, dtype=torch.float64), batch).numpy()
    names = ["age", "q(0.05)", "q(0.2)", "q(0.9)", "q(0.99)"]
    assert task.output_names == names
    frame = task.to_frame(found, known.sample_ids)
    rising = frame[["q(0.05)", "q(0.2)", "age", "q(0.9)", "q(0.99)"]].to_numpy()
    assert (np.diff(rising, axis=1) >= 0).all()
    assert task.unit("q(0.05)") == "units of age"


def test_log_odds_of_classes_agree_with_softmax() -> None:
    task = aam.Classification("site", classes=["gut", "skin", "tongue"])
    logits = np.array([[0.0, 0, 0], [3, -1, 0.5], [40, -40, 0], [-2, -2.5, -9]])
    odds = task.outputs(torch.tensor(logits)).numpy()
    want = softmax(logits, axis=1)
    np.testing.assert_allclose(1 / (1 + np.exp(-odds)), want, atol=1e-12)
    np.testing.assert_allclose(odds[1], np.log(want[1] / (1 - want[1])))
    frame = task.to_frame(odds, pd.Index(list("abcd")))
    assert list(frame.columns) == ["site", "p(gut)", "p(skin)", "p(tongue)"]
    np.testing.assert_allclose(frame.filter(like="p(").sum(axis=1), 1)
    assert frame["site"].tolist()[1:] == ["gut", "gut", "gut"]
    assert (task.output_names, task.unit("gut")) == (["gut", "skin", "tongue"], "log-odds")


def test_whole_numbers_can_be_classes(study: Study) -> None:
    numbered = replace(study, metadata=study.metadata.assign(stage=np.tile([1.0, 2.0, 3.5], 16)))
    task = aam.Classification("stage")
    task.learn(numbered)
    assert task.classes == ["1", "2", "3.5"]


def test_classes_unknown_to_the_model_are_refused(study: Study) -> None:
    task = aam.Classification("season", classes=["spring", "summer", "autumn"])
    with pytest.raises(TargetError, match=r"1 class of 'season' not in training \('winter', 13 samples of 48\)"):
        task.maker(study)


# -- mixed samples ----------------------------------------------------------------------------------------------------


def test_mixed_samples_have_mixed_numbers(known: Study) -> None:
    task = aam.Regression(["age", "patchy"], transform="power")
    task.learn(known)
    values = known.metadata[["age", "patchy"]].to_numpy()
    whole = np.flatnonzero(~np.isnan(values[:, 1]))[:4].tolist()
    gap = int(np.flatnonzero(np.isnan(values[:, 1]))[0])
    batch = with_targets(task, known, whole, partner=[whole[1], whole[0], gap, whole[2]], share=0.7)
    found = task.outputs(batch.targets["target"], batch).numpy()
    want = 0.7 * values[whole] + 0.3 * values[[whole[1], whole[0], gap, whole[2]]]
    assert np.isnan(want[2, 1])
    np.testing.assert_allclose(found[:, 0], want[:, 0], rtol=1e-4)
    np.testing.assert_allclose(found[[0, 1, 3], 1], want[[0, 1, 3], 1], rtol=1e-4, atol=1e-4)
    assert torch.isnan(batch.targets["target"][2, 1])  # the share of an unknown number is unknown
    alone = with_targets(task, known, whole, partner=[gap] * 4, share=1.0)
    assert torch.equal(alone.targets["target"], with_targets(task, known, whole).targets["target"])


# -- from JSON, and one of several --------------------------------------------------------------------------------------


def leaves(made: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths to all values of nested JSON, inner and outer; of a long list to the first, a middle and the last."""
    if path:
        yield path
    if isinstance(made, dict):
        for key, value in made.items():
            yield from leaves(value, (*path, key))
    if isinstance(made, list):
        for k in sorted({0, len(made) // 2, len(made) - 1}) if made else []:
            yield from leaves(made[k], (*path, k))


def damaged(made: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The spec with one value put out, or replaced by one that may not stand there."""
    for path in leaves(made):
        for value in ("gone", None, "x", "", "1", [], [[None]], {}, -1, 0, True, 1e30, float("nan"), float("inf")):
            other = json.loads(json.dumps(made))
            at = other
            for key in path[:-1]:
                at = at[key]
            if value == "gone":
                del at[path[-1]]
            else:
                at[path[-1]] = value
            yield f"{path} {value!r}", other


@pytest.mark.parametrize("kind", [*KINDS, "classification", "quantiles"])
def test_a_damaged_task_is_refused_or_works(kind: str, known: Study) -> None:
    task: Task = aam.Regression("age", transform=kind if kind in KINDS else "none", transform_by="side")
    if kind == "classification":
        task = aam.Classification("season", class_weights="balanced")
    if kind == "quantiles":
        task = aam.Quantiles("age", transform="log", output="positive")
    task.learn(known)
    name = {k: n for n, k in OBJECTIVES.items()}[type(task)]
    spec, rows = json.loads(json.dumps(task.spec())), list(range(48))
    spec["config"] = {
        k: v for k, v in spec["config"].items() if k in ("transform", "transform_by", "quantiles", "focal")
    }
    refused, worked = 0, 0
    for what, other in damaged(spec):
        try:
            again = make_objective(name, **other)
            assert isinstance(again, Task)
            again.build(TINY)
            batch = with_targets(again, known, rows)
        except UserError:
            refused += 1
            continue
        truth = batch.targets["target"]
        assert truth.isfinite().all(), what
        raw = torch.linspace(-1, 1, 48)[:, None].expand(48, len(again.output_names))
        assert again.outputs(raw, batch).isfinite().all(), what
        worked += 1
    assert refused > worked


@pytest.mark.parametrize("name", [n for n in CASES if n not in TASKS])
def test_a_damaged_objective_is_refused_or_loads(name: str, known: Study) -> None:
    objective = CASES[name]()
    objective.learn(known)
    kind = {k: n for n, k in OBJECTIVES.items()}[type(objective)]
    refused = 0
    for _, other in damaged(json.loads(json.dumps(objective.spec()))):
        try:
            make_objective(kind, **other).build(TINY)
        except UserError:
            refused += 1
    assert refused >= 4 * len(objective.spec())


@pytest.mark.parametrize("name", CASES)
def test_objectives_come_back_from_json(name: str, known: Study) -> None:
    objective = CASES[name]()
    objective.learn(known)
    kind = {k: n for n, k in OBJECTIVES.items()}[type(objective)]
    text = json.dumps(objective.spec(), allow_nan=False)
    again = make_objective(kind, **json.loads(text))
    assert again.name == objective.name
    assert json.dumps(again.spec()) == text
    torch.manual_seed(0)
    objective.build(TINY)
    torch.manual_seed(0)
    again.build(TINY)
    again.load_state_dict(objective.state_dict())
    if not isinstance(objective, Task):
        return
    assert isinstance(again, Task)
    batch = with_targets(objective, known, list(range(48)))
    for name_, target in with_targets(again, known, list(range(48))).targets.items():
        np.testing.assert_array_equal(target, batch.targets[name_])
    x = states(torch.randn(48, 16))
    assert torch.equal(objective.outputs(objective(x), batch), again.outputs(again(x), batch))


def test_one_of_several_targets_is_a_task_of_its_own(known: Study) -> None:
    task = aam.Regression(["age", "patchy"], loss=("mse", "mae"), transform=("log", "power"), transform_by="side")
    task.learn(known)
    one = task.only("patchy")
    assert (one.targets, one.config.loss, one.config.transform) == (["patchy"], ("mae",), ("power",))
    both, alone = (with_targets(t, known, list(range(48))) for t in (task, one))
    np.testing.assert_array_equal(alone.targets["target"][:, 0], both.targets["target"][:, 1])
    raw = torch.randn(48, 2)
    assert torch.equal(one.outputs(raw[:, 1:], alone)[:, 0], task.outputs(raw, both)[:, 1])
    with pytest.raises(UnknownIdError, match=r"'ph' is not predicted\. The model predicts age, patchy"):
        task.only("ph")


def test_kind_of_column_chooses_the_task(study: Study, known: Study) -> None:
    assert type(task_for(study, "age")) is aam.Regression
    assert isinstance(task_for(study, "diet"), aam.Classification)
    several = task_for(known, ["age", "patchy"])
    assert several.targets == ["age", "patchy"]
    with pytest.raises(TargetError, match=r"'diet' of 2 targets hold text"):
        task_for(study, ["age", "diet"])


@pytest.mark.parametrize("dtype", [bool, object, "boolean"])
def test_true_and_false_are_classes(dtype: Any, study: Study) -> None:
    metadata = study.metadata.assign(well=pd.Series([True, False, False] * 16, study.sample_ids).astype(dtype))
    told = replace(study, metadata=metadata)
    task = task_for(told, "well")
    assert isinstance(task, aam.Classification)
    task.learn(told)
    assert task.classes == ["False", "True"]
    assert with_targets(task, told, [0, 1, 5]).targets["target"].tolist() == [1, 0, 0]
    with pytest.raises(TargetError, match=r"'well' of 2 targets hold text, or True and False"):
        task_for(told, ["age", "well"])


def test_dates_are_to_be_made_numbers(study: Study) -> None:
    days = pd.to_datetime("2020-01-01") + pd.to_timedelta(np.arange(48), unit="D")
    columns = {
        "time": pd.Series(days),
        "zoned": pd.Series(days.tz_localize("UTC")),
        "day": pd.Series([d.date() for d in days], dtype=object),
        "lag": pd.Series(days - days[0]),
    }
    columns["gap"] = columns["time"].where(np.arange(48) != 5)
    for name, values in columns.items():
        dated = replace(
            study, metadata=study.metadata.assign(**{name: values.to_numpy() if name == "day" else list(values)})
        )
        if name == "gap":
            assert dated.metadata[name].isna().sum() == 1
        for target in (name, ["age", name]):
            with pytest.raises(
                TargetError, match=rf"'{name}' holds (dates|durations) such as .*Turn it into a number"
            ) as error:
                task_for(dated, target)
        with pytest.raises(TargetError, match=f"'{name}' holds d"):
            aam.Regression(name).learn(dated)
        fix = str(error.value).split("`")[1]
        mended = eval(fix, {"replace": replace, "study": dated, "pd": pd})
        np.testing.assert_array_equal(mended.metadata["days"], columns[name].index.where(values.notna()))
        assert isinstance(task_for(mended, "days"), aam.Regression)


def test_a_target_that_is_no_name_is_refused(study: Study) -> None:
    for target in (5, None, ["age", 3]):
        with pytest.raises(TargetError, match="Expected a column, or a list of columns"):
            task_for(study, target)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "values", [[72.8, 1.0], [np.float32(72.8), np.float32(1)], [72, 1], ["72.8", "it's"], [True, "1"]], ids=str
)
def test_the_way_out_of_rare_classes_is_true(values: list[Any], study: Study) -> None:
    plain = all(isinstance(v, (int, float, np.floating)) and v is not True for v in values)
    common: list[Any] = ([3, 5] if plain else ["a", "b"]) * 23
    told = replace(study, metadata=study.metadata.assign(stage=[*values, *common]))
    with pytest.raises(TargetError, match="2 classes of 'stage' with a single training sample") as error:
        aam.Classification("stage").learn(told)
    fix = str(error.value).split("`")[1]
    left = eval(fix, {"study": told})
    assert left.num_samples == 46
    aam.Classification("stage").learn(left)


def test_text_is_no_number(study: Study) -> None:
    for task in (aam.Regression("diet"), aam.Quantiles("diet")):
        with pytest.raises(TargetError, match=r"'diet' holds text such as .* fit with `aam\.Classification\('diet'\)`"):
            task.learn(study)


def test_settings_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"'losses' is not a setting of TargetConfig"):
        aam.Regression("age", losses="mse")
    with pytest.raises(ConfigError, match="focal"):
        aam.Classification("diet", focal=-1)
    with pytest.raises(ObjectiveError, match=r"loss of Regression is \('mse', 'mae'\)\. Expected one for all, or 3"):
        aam.Regression(["a", "b", "c"], loss=("mse", "mae"))
    with pytest.raises(ObjectiveError, match=r"target of Regression is \['a', 'a'\]\. Expected columns, each once"):
        aam.Regression(["a", "a"])
    with pytest.raises(ObjectiveError, match=r"target of Quantiles .* Expected one column"):
        aam.Quantiles(["a", "b"])
    with pytest.raises(ObjectiveError, match=r"low of Regression is -1\.0\. Expected a bound above -1"):
        aam.Regression("a", transform="log", output="bounded", low=-1, high=5)
    with pytest.raises(ObjectiveError, match=r"weight of Regression is -1\. Expected zero or more"):
        aam.Regression("a", weight=-1)


def test_a_hidden_layer_as_wide_as_its_input_is_residual() -> None:
    task = aam.Regression("age", hidden=(16, 5), head_dropout=0.5)
    task.build(TINY)
    x = torch.randn(3, 16)
    w = [(layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in (*task.head.layers, task.head.out)]
    h = x.numpy()
    h = h + gelu(h @ w[0][0].T + w[0][1])
    h = gelu(h @ w[1][0].T + w[1][1])
    task.eval()
    np.testing.assert_allclose(task(states(x)).detach(), h @ w[2][0].T + w[2][1], rtol=1e-4, atol=1e-5)
    task.train()
    assert not torch.equal(task(states(x)), task(states(x)))  # dropout draws anew


def gelu(x: np.ndarray) -> np.ndarray:
    return x * norm.cdf(x)
