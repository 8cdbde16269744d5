"""What a model tells of a study that does not look like its training samples."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import QUICK, TINY

import aam_nb as aam
from aam_nb.study.study import Study
from aam_nb.train.prediction import PredictionError
from aam_nb.train.study_check import DamagedAsvsError, StudyWarning, TrainingAsvs

COMPLEMENT = {"A": "T", "C": "G", "G": "C", "T": "A"}


def renamed(study: Study, asvs: list[str]) -> Study:
    """The same counts under other DNA."""
    return replace(study, asv_ids=asvs, tree=None, taxonomy=None)


def turned(asv: str) -> str:
    return "".join(COMPLEMENT[letter] for letter in reversed(asv))


@pytest.fixture(scope="module")
def model(sides: tuple[Study, Study]) -> aam.AAM:
    """A tiny model with a covariate, from its run folder."""
    config = replace(QUICK, epochs=1)
    return aam.AAM(TINY).fit(sides[0], target="age", covariates=["season"], config=config)


def test_held_out_samples_are_no_news(model: aam.AAM, sides: tuple[Study, Study], tmp_path: Path) -> None:
    loaded = aam.load(model.save(tmp_path / "run"), device="cpu")
    checked = loaded.check(sides[1])
    present = set(sides[1].asv_ids[sides[1].prevalence > 0])
    trained = set(sides[0].asv_ids[sides[0].prevalence > 0])
    assert (checked.num_asvs, checked.known) == (len(present), len(present & trained))
    assert checked.sentences() == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (turned, "are the reverse complement of an ASV from training"),
        (lambda asv: asv + "ACGT", r"with another start or end \(44 nt here, 40 nt in training\)"),
        (lambda asv: "GTGCCAGC" + asv, "with another start or end"),
        (lambda asv: asv[:36], r"with another start or end \(36 nt here"),
        (
            lambda asv: "".join(np.random.default_rng(len(asv) + sum(map(ord, asv[:9]))).permutation(list(asv))),
            "are known from",
        ),
    ],
)
def test_other_dna_is_told(model: aam.AAM, study: Study, change, told: str) -> None:  # type: ignore[no-untyped-def]
    fresh = model.with_network(model.network)
    fresh._told = []
    by_new = {change(asv): asv for asv in study.asv_ids}  # one of those that become the same
    kept = study.keep_asvs(list(by_new.values())).filter(min_depth=1)
    other = renamed(kept, [change(asv) for asv in kept.asv_ids])
    with pytest.warns(StudyWarning, match=told):
        fresh.predict(other)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fresh.predict(other.keep_samples(other.sample_ids[:5]))  # told once


def test_values_that_training_did_not_see_are_told(sides: tuple[Study, Study]) -> None:
    train, test = sides
    model = aam.AAM(TINY).fit(train, target="age", covariates=["season"], config=replace(QUICK, epochs=1))
    shouting = replace(test, metadata=test.metadata.assign(season=test.metadata["season"].str.upper()))
    with pytest.warns(StudyWarning, match=r"The covariate 'season': 12 samples of 12 have .*'SUMMER': 'summer'"):
        model.embed(shouting)
    empty = replace(test, metadata=test.metadata.assign(season=None))
    assert model.check(empty).sentences() == []
    assert model.check(test).sentences() == []


def test_a_number_in_another_unit_is_told(sides: tuple[Study, Study]) -> None:
    train, test = (replace(s, metadata=s.metadata.assign(cm=np.linspace(150, 190, s.num_samples))) for s in sides)
    model = aam.AAM(TINY).fit(train, target="age", covariates=["cm"], config=replace(QUICK, epochs=1))
    assert model.check(test).sentences() == []
    metres = replace(test, metadata=test.metadata.assign(cm=test.metadata["cm"] / 100))
    assert "It may have another unit here" in model.check(metres).sentences()[0]


def test_a_run_of_before_says_what_it_can(model: aam.AAM, study: Study) -> None:
    old = model.with_network(model.network)
    old.trained_asvs = {}
    assert old.check(study).known is None
    assert "keeps no digests" in repr(old.check(study))
    reverse = renamed(study, [turned(asv) for asv in study.asv_ids])
    assert any("look like reverse complements" in s for s in old.check(reverse).sentences())


def test_digests_go_to_json_and_back(study: Study) -> None:
    kept = TrainingAsvs.of(study)
    back = TrainingAsvs.from_dict(kept.to_dict())
    assert (back.whole, back.starts, dict(back.lengths)) == (kept.whole, kept.starts, dict(kept.lengths))
    with pytest.raises(DamagedAsvsError, match="is damaged"):
        TrainingAsvs.from_dict(kept.to_dict() | {"whole": "AAA"})


def test_a_prediction_that_is_not_finite_is_an_error(model: aam.AAM, sides: tuple[Study, Study]) -> None:
    import copy

    network = copy.deepcopy(model.network)
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(1e37)
    broken = model.with_network(network)
    broken._told = [(frozenset(sides[1].asv_ids), frozenset())]
    for verb in (broken.predict, broken.embed, broken.evaluate, lambda s: aam.explain.attribute(broken, s)):
        with pytest.raises(PredictionError, match="are NaN or infinite"):
            verb(sides[1])
