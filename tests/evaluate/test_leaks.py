"""Leaks: hosts and studies that tell the target are found; columns that merely follow it are not blamed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import r2_score

import aam_nb as aam
from aam_nb.arrays import Array
from aam_nb.baselines.group_lookup import look_up, names_as_text
from aam_nb.baselines.predictions import read_target
from aam_nb.evaluate.leaks import find_leaks, find_leaks_in_folds
from aam_nb.model.objectives import Task
from aam_nb.study.study import Study

# These splits leak on purpose, and `split` says so.
pytestmark = pytest.mark.filterwarnings("ignore::aam_nb.study.confounding.SplitWarning")


@pytest.fixture(scope="module")
def hosts() -> Study:
    """Twenty hosts of eight samples; age is nearly the host's; `decade` is the age rounded, `batch` is chance."""
    config = aam.SimulateConfig(
        length=30, host_share=0.97, samples_per_host=8, noise=1.0, min_depth=500, max_depth=1000
    )
    study = aam.simulate_study(160, 100, seed=2, config=config)
    decade = (study.metadata["age"] // 10).astype(int)
    batch = np.random.default_rng(0).choice(["A", "B", "C"], study.num_samples)
    return replace(study, metadata=study.metadata.assign(decade=decade, batch=batch))


def learned(study: Study, target: str = "age") -> aam.Regression:
    task = aam.Regression(target)
    task.learn(study)
    return task


def lookup(column: str, task: Task, train: Study, test: Study) -> Array:
    """The target of the test samples by one column alone."""
    names, wanted = (names_as_text(side.column(column)) for side in (train, test))
    return look_up(read_target(train, task), names, wanted, test.sample_ids, task)[task.target].to_numpy()


def test_a_random_split_of_strong_hosts_leaks_through_them_and_only_them(hosts: Study) -> None:
    train, test = hosts.split(target="age", seed=0)
    found = find_leaks(train, test, learned(train))
    assert [leak.column for leak in found] == ["host_id"]
    (leak,) = found
    assert leak.shared == test.metadata["host_id"].isin(train.metadata["host_id"]).mean()
    mean = train.metadata.groupby("host_id")["age"].mean()
    guess = test.metadata["host_id"].map(mean).fillna(train.metadata["age"].mean())
    assert leak.lookup == pytest.approx(r2_score(test.metadata["age"], guess))
    assert leak.lookup > 0.7
    assert leak.forest_mixed > leak.forest_apart + 0.1
    for part in ("'host_id'", "without any microbe", f"R² {leak.lookup:.2f}", "group='host_id'", "--group host_id"):
        assert part in leak.sentence()


def test_the_column_that_follows_the_target_would_have_been_suspected(hosts: Study) -> None:
    """Knowing the decade tells the age, so only the second half of the test clears it."""
    train, test = hosts.split(target="age", seed=0)
    guess = lookup("decade", learned(train), train, test)
    assert r2_score(test.metadata["age"], guess) > 0.8


def test_a_split_by_host_does_not_leak(hosts: Study) -> None:
    train, test = hosts.split(target="age", group="host_id", seed=0)
    assert find_leaks(train, test, learned(train)) == ()


def test_classes_leak_too(hosts: Study) -> None:
    """A class drawn by host at random: no microbe tells it but those that tell the host."""
    side = {
        h: "xy"[k % 2] for k, h in enumerate(np.random.default_rng(1).permutation(hosts.metadata["host_id"].unique()))
    }
    study = replace(hosts, metadata=hosts.metadata.assign(side=hosts.metadata["host_id"].map(side)))
    train, test = study.split(target="side", seed=0)
    task = aam.Classification("side")
    task.learn(train)
    found = find_leaks(train, test, task)
    assert [leak.column for leak in found] == ["host_id"]
    assert found[0].metric == "balanced_accuracy"
    assert found[0].lookup == 1
    assert "balanced accuracy 1.00" in found[0].sentence()
    train, test = study.split(target="side", group="host_id", seed=0)
    assert find_leaks(train, test, task) == ()


def test_missing_hosts_do_not_break_the_search(hosts: Study) -> None:
    some = hosts.metadata["host_id"].astype(object).where(np.arange(hosts.num_samples) % 5 > 0)
    train, test = replace(hosts, metadata=hosts.metadata.assign(host_id=some)).split(target="age", seed=0)
    found = find_leaks(train, test, learned(train))
    assert [leak.column for leak in found] == ["host_id"]
    (leak,) = found
    assert leak.shared == pytest.approx(
        test.metadata["host_id"].dropna().isin(train.metadata["host_id"]).sum() / test.num_samples
    )


def test_a_study_without_columns_has_no_leak(hosts: Study) -> None:
    bare = replace(hosts, metadata=hosts.metadata[["age"]])
    train, test = bare.split(target="age", seed=0)
    assert find_leaks(train, test, learned(train)) == ()


@pytest.mark.real
@pytest.mark.slow
def test_oral_age_leaks_through_its_studies(real_data: Path) -> None:
    """Nine studies of different ages: the published figure rests on telling the studies apart."""
    folder = real_data / "oral_age"
    study = aam.read_study(folder / "oral_age.biom", metadata=folder / "oral_age.tsv")
    train, test = study.split(target="age", seed=0)
    found = {leak.column: leak for leak in find_leaks(train, test, learned(train))}
    assert "study" in found
    assert found["study"].forest_apart < 0.1 < found["study"].forest_mixed
    train, test = study.split(target="age", group="study", seed=0)
    assert "study" not in {leak.column for leak in find_leaks(train, test, learned(train))}
    assert pd.Index(train.metadata["study"]).intersection(test.metadata["study"]).empty


def test_folds_are_asked_together(hosts: Study) -> None:
    """The lookup is scored on the test sides of all folds, and the forests are those of one fold: they have all samples anyway."""
    folds = hosts.folds(4, target="age", seed=0)
    masks = [mask.test for mask in hosts.fold_masks(4, target="age", seed=0)]
    task = learned(hosts)
    (leak,) = find_leaks_in_folds(hosts, masks, task)
    (first,) = find_leaks(*folds[0], task)
    guess, truth = [], []
    for train, test in folds:
        mean = train.metadata.groupby("host_id")["age"].mean()
        guess.append(test.metadata["host_id"].map(mean).fillna(train.metadata["age"].mean()))
        truth.append(test.metadata["age"])
    assert leak.lookup == pytest.approx(r2_score(pd.concat(truth), pd.concat(guess)))
    assert leak.shared == 1
    assert (leak.forest_mixed, leak.forest_apart) == pytest.approx((first.forest_mixed, first.forest_apart))


def test_a_column_that_tells_is_no_leak_where_microbes_tell_nothing() -> None:
    """Labels by host, microbes by chance: held-out hosts are guessed wrong, as they must be, but mixed ones are not guessed right."""
    config = aam.SimulateConfig(length=30, host_share=0.0, samples_per_host=8, min_depth=500, max_depth=1000)
    study = aam.simulate_study(96, 60, seed=3, config=config)
    host = pd.Series(np.repeat(np.arange(12), 8)[np.random.default_rng(5).permutation(96)], index=study.sample_ids)
    table = pd.DataFrame(
        {"sick": np.where(host % 2 == 0, "yes", "no"), "house": [f"h{h}" for h in host]}, index=host.index
    )
    made = replace(study, metadata=table)
    train, test = made.split(target="sick", seed=0)
    task = aam.Classification("sick")
    task.learn(train)
    assert (lookup("house", task, train, test) == test.metadata["sick"]).mean() > 0.9
    assert find_leaks(train, test, task) == ()


def test_a_column_of_nearly_one_value_is_not_held_out(hosts: Study) -> None:
    """The oldest hosts come from two other countries: knowing so tells a little of age, and without the one country nothing is left."""
    oldest = hosts.metadata.groupby("host_id")["age"].mean().sort_values().index[-4:]
    country = (
        hosts.metadata["host_id"].map(dict(zip(oldest, ["there", "there", "far", "far"], strict=True))).fillna("here")
    )
    marked = replace(hosts, metadata=hosts.metadata[["age"]].assign(country=country))
    train, test = marked.split(target="age", seed=0)
    guess = lookup("country", learned(train), train, test)
    assert r2_score(test.metadata["age"], guess) > 0.1
    assert find_leaks(train, test, learned(train)) == ()
    half = hosts.metadata["age"].rank(pct=True).gt(0.5).map({True: "old", False: "young"})
    half = half.where(np.arange(hosts.num_samples) % 4 > 0, "other")
    told = replace(hosts, metadata=hosts.metadata[["age"]].assign(half=half))
    train, test = told.split(target="age", seed=0)
    assert [leak.column for leak in find_leaks(train, test, learned(train))] == ["half"]
