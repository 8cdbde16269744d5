"""What cannot be trained or predicted is refused with a sentence that names it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import QUICK, TINY
from scipy import sparse

import aam_nb as aam
from aam_nb.model.objectives import ObjectiveError
from aam_nb.study.errors import EmptySampleError, MissingTipError, TargetError, UnknownIdError
from aam_nb.study.splits import SplitError
from aam_nb.study.study import Study
from aam_nb.train.estimator import NotFittedError


def with_column(study: Study, values: Any) -> Study:
    return replace(study, metadata=study.metadata.assign(x=values))


def emptied(study: Study) -> Study:
    """Its first two samples lose their reads."""
    counts = study.table.toarray()
    counts[:2] = 0
    return replace(study, table=sparse.csr_array(counts))


FITS: dict[str, tuple[Callable[[Study], Study], Any, type[Exception], str]] = {
    "no such column": (
        lambda s: s,
        "ages",
        UnknownIdError,
        r"'ages' is not a metadata column\. The metadata has host_id, age",
    ),
    "constant": (lambda s: with_column(s, 7), "x", TargetError, r"'x' is .*7.* in all 36 samples"),
    "all missing": (lambda s: with_column(s, np.nan), "x", TargetError, r"'x' is missing in all 36 samples"),
    "class of one": (
        lambda s: with_column(s, ["rare", *["a", "b"] * 18][: s.num_samples]),
        "x",
        TargetError,
        r"1 class of 'x' with a single training sample \(rare\)",
    ),
    "text for numbers": (
        lambda s: s,
        aam.Regression("diet"),
        TargetError,
        r"'diet' holds text such as .*aam\.Classification\('diet'\)",
    ),
    "samples without reads": (emptied, "age", EmptySampleError, r"2 of 36 samples have no reads"),
    "one group": (
        lambda s: replace(s, metadata=s.metadata.assign(host_id="h")),
        "age",
        SplitError,
        r"1 value of 'host_id'",
    ),
}


@pytest.mark.parametrize("case", FITS)
def test_fit_refuses(sides: tuple[Study, Study], case: str) -> None:
    change, target, error, message = FITS[case]
    with pytest.raises(error, match=message):
        aam.AAM(TINY).fit(change(sides[0]), target=target, config=QUICK)


def test_a_refused_fit_leaves_the_model_as_it_was(sides: tuple[Study, Study]) -> None:
    train, test = sides
    model = aam.AAM(TINY).fit(train, target="age", config=QUICK)
    before, samples = model.predict(test), dict(model.samples)
    with pytest.raises(UnknownIdError):
        model.fit(train, target="ages", config=QUICK)
    with pytest.raises(MissingTipError):
        model.pretrain(replace(train, tree=None), config=QUICK)
    assert model.predict(test).equals(before)
    assert model.samples == samples
    assert model.train_study is not None


def test_pretraining_refuses(sides: tuple[Study, Study]) -> None:
    train, _ = sides
    with pytest.raises(ObjectiveError, match=r"'faith' is not an objective\. There are .*unifrac"):
        aam.AAM(TINY).pretrain(train, objectives=["faith"], config=QUICK)
    with pytest.raises(ObjectiveError, match="unifrac is among the objectives more than once"):
        aam.AAM(TINY).pretrain(train, objectives=["unifrac", aam.UniFrac(weight=2.0)], config=QUICK)
    with pytest.raises(ObjectiveError, match="There are no objectives"):
        aam.AAM(TINY).pretrain(train, objectives=[], config=QUICK)
    with pytest.raises(MissingTipError, match=r"The study has no tree.*tree='tree.nwk'"):
        aam.AAM(TINY).pretrain(replace(train, tree=None), config=QUICK)


def test_pretraining_on_a_target_by_name_says_what_to_do(sides: tuple[Study, Study]) -> None:
    with pytest.raises(ObjectiveError, match="'regression' cannot be made"):
        aam.AAM(TINY).pretrain(sides[0], objectives=["regression"], config=QUICK)


@pytest.mark.parametrize("use", ["predict", "embed", "evaluate", "save"])
def test_an_untrained_model_says_what_to_call(sides: tuple[Study, Study], tmp_path: Path, use: str) -> None:
    argument: Any = tmp_path / "run" if use == "save" else sides[1]
    with pytest.raises(NotFittedError, match=r"Call `model\.(fit|pretrain)\("):
        getattr(aam.AAM(TINY), use)(argument)
    assert not (tmp_path / "run").exists()


def test_a_pretrained_model_cannot_predict(sides: tuple[Study, Study]) -> None:
    model = aam.AAM(TINY).pretrain(sides[0], objectives=["nucleotides"], config=replace(QUICK, epochs=1))
    with pytest.raises(NotFittedError, match=r"has no target yet\. .*model\.fit\(train, target="):
        model.predict(sides[1])


def test_prediction_refuses_empty_samples_and_wrong_letters(sides: tuple[Study, Study], fitted: aam.AAM) -> None:
    with pytest.raises(EmptySampleError, match="2 of 12 samples have no reads"):
        fitted.predict(emptied(sides[1]))
    with pytest.raises(ValueError, match=r"1 sequence is not DNA \(acgt\)"):
        fitted.embed_asvs(["acgt"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_an_absent_gpu_is_said(sides: tuple[Study, Study]) -> None:
    with pytest.raises(aam.ConfigError, match=r"device is 'cuda'\. No CUDA GPU"):
        aam.AAM(TINY).fit(sides[0], target="age", config=replace(QUICK, device="cuda"))


@pytest.mark.parametrize(("name", "value"), [("device", "gpu"), ("precision", "fp8")])
def test_an_unknown_choice_is_refused(name: str, value: str) -> None:
    with pytest.raises(aam.ConfigError, match=f"{name} is '{value}'"):
        aam.TrainConfig(**{name: value})
