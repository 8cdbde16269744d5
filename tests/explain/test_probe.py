"""The probe: what it answers is what the public verbs predict of studies changed in the same way."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
from conftest import QUICK, TINY
from scipy import sparse

import aam_nb as aam
from aam_nb.explain.attribution.probe import ExplainError, Output, Probe, Reference, make_probes
from aam_nb.study.errors import EmptySampleError, UnknownIdError
from aam_nb.study.study import Study


def first_probe(model: aam.AAM, study: Study, reference: str = "empty") -> Probe:
    _, each = make_probes(model, study, Output.of(model, None), Reference.of(model, study, reference))
    return next(each)


def ages(model: aam.AAM, study: Study, probe: Probe) -> npt.NDArray[np.float64]:
    return model.predict(study).loc[list(probe.batch.sample_ids), "age"].to_numpy()


@torch.no_grad()
def test_its_own_gates_are_the_prediction_and_the_others_the_reference(
    fitted: aam.AAM, sides: tuple[Study, Study]
) -> None:
    train, test = sides
    name = str(train.sample_ids[2])
    probe = first_probe(fitted, test, name)
    own, other = (mask.float() for mask in (probe.own_BS, probe.other_BS))
    np.testing.assert_allclose(probe(own, probe.rows), ages(fitted, test, probe), rtol=1e-5)
    want = fitted.predict(train.keep_samples([name]))["age"].item()
    np.testing.assert_allclose(probe(other, probe.rows), want, rtol=1e-5)


def test_what_it_lacks_is_dropped_and_the_rest_made_one_again(fitted: aam.AAM, sides: tuple[Study, Study]) -> None:
    test = sides[1]
    probe = first_probe(fitted, test)
    dropped = np.random.default_rng(0).random(test.num_asvs) < 0.4
    column = probe.column_BS.numpy()
    drop = torch.from_numpy(dropped[column] & (column >= 0))
    want = ages(fitted, test.keep_asvs(~dropped), probe)
    np.testing.assert_allclose(probe.predict_without(drop, probe.rows), want, rtol=1e-5)
    turned = probe.predict_without(drop.flip(0), probe.rows.flip(0))
    np.testing.assert_allclose(turned.flip(0), want, rtol=1e-5)


def test_parts_that_fit_memory_change_nothing(fitted: aam.AAM, sides: tuple[Study, Study]) -> None:
    probe = first_probe(fitted, sides[1])
    drop = torch.rand(len(probe), probe.own_BS.shape[1], generator=torch.Generator().manual_seed(0)) < 0.5
    whole = probe.predict_without(drop, probe.rows)
    probe.budget.max_tokens = 2 * probe.own_BS.shape[1]
    assert probe.chunk_size == 2
    np.testing.assert_allclose(probe.predict_without(drop, probe.rows), whole, rtol=1e-5)


def test_the_mean_is_that_of_the_training_samples(fitted: aam.AAM, sides: tuple[Study, Study]) -> None:
    reference = Reference.of(fitted, sides[1], "mean")
    assert fitted.train_study is not None
    counts = fitted.train_study.table.toarray()
    mean = pd.Series((counts / counts.sum(1, keepdims=True)).mean(0), index=fitted.train_study.asv_ids)
    mean = mean[mean > 0]
    np.testing.assert_allclose(reference.share, mean.loc[reference.asv_ids])
    assert len(reference.asv_ids) == len(mean)
    assert "mean of" in reference.meaning


def test_what_is_no_reference_is_refused(fitted: aam.AAM, sides: tuple[Study, Study]) -> None:
    with pytest.raises(UnknownIdError, match=r"reference is 'nobody'\. Expected 'empty', 'mean' or the id of a sample"):
        Reference.of(fitted, sides[1], "nobody")
    ids = pd.Index(["a", "b"])
    empty = Study(sparse.csr_array([[0, 0], [1, 2]]), ids, pd.Index(["ACGT", "TTTT"]), pd.DataFrame(index=ids))
    with pytest.raises(EmptySampleError, match="The reference 'a' has no reads"):
        Reference.of(fitted, empty, "a")
    loaded = aam.AAM(TINY)
    with pytest.raises(ExplainError, match="a loaded model has none"):
        Reference.of(loaded, sides[1], "mean")


def test_outputs_are_named_and_directions_measured(fitted: aam.AAM, sides: tuple[Study, Study]) -> None:
    assert Output.of(fitted, None).unit == "units of age"
    with pytest.raises(UnknownIdError, match="'weight' is not an output"):
        Output.of(fitted, "weight")
    for wrong in ([1.0, 2.0], [0.0] * TINY.width, [np.nan] * TINY.width):
        with pytest.raises(ExplainError, match=f"Expected {TINY.width} numbers, not all zero"):
            Output.of(fitted, None, wrong)
    with pytest.raises(ExplainError, match="beside an output"):
        Output.of(fitted, "age", [1.0] * TINY.width)


def test_transforms_by_group_stay_with_their_samples(sides: tuple[Study, Study]) -> None:
    """Questions about one sample, many times over, are turned back by that sample's group."""
    train, test = sides
    task = aam.Regression("age", transform="power", transform_by="diet")
    model = aam.AAM(TINY).fit(train, target=task, config=QUICK)
    probe = first_probe(model, test)
    rows = torch.tensor([3, 3, 0, 3])
    found = probe.predict_without(torch.zeros(4, probe.own_BS.shape[1], dtype=torch.bool), rows)
    np.testing.assert_allclose(found, ages(model, test, probe)[rows.numpy()], rtol=1e-5)
