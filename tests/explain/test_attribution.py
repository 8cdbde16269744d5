"""Attributions: complete, equal to a closed form and to brute force, and fair to twins."""

from __future__ import annotations

import copy

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
from conftest import QUICK, TINY
from scipy import sparse

import aam_nb as aam
from aam_nb.explain.attribution.probe import ExplainError
from aam_nb.explain.attribution.query import AttributionQuery
from aam_nb.study.errors import EmptySampleError, UnknownIdError
from aam_nb.study.study import Study
from aam_nb.train.estimator import NotFittedError


@pytest.fixture(scope="module")
def found(fitted: aam.AAM, sides: tuple[Study, Study]) -> aam.explain.Attributions:
    return aam.explain.attribute(fitted, sides[1])


@pytest.fixture(scope="module")
def diet(sides: tuple[Study, Study]) -> aam.AAM:
    return aam.AAM(TINY).fit(sides[0], target="diet", config=QUICK)


@pytest.fixture
def model(fitted: aam.AAM) -> aam.AAM:
    """The fitted model with a network of its own, which a test may change."""
    return fitted.with_network(copy.deepcopy(fitted.network))


def head_of(model: aam.AAM, sample_BD: torch.Tensor) -> torch.Tensor:
    """Predictions, in the target's units, from samples' vectors."""
    task = model.require_task()
    assert model.train_study is not None
    some_batch = next(model.batches(model.train_study))[0]  # says to what groups samples belong; here there are none
    return task.outputs(task.predict_from(sample_BD), some_batch)


def test_attributions_sum_to_the_prediction_minus_the_reference(
    found: aam.explain.Attributions, fitted: aam.AAM, sides: tuple[Study, Study]
) -> None:
    check, predicted = found.check, fitted.predict(sides[1])["age"]
    np.testing.assert_allclose(check["prediction"], predicted, rtol=1e-5)
    total = np.asarray(found.values.sum(axis=1)).ravel()
    change = check["prediction"] - check["reference"]
    scale = np.maximum(abs(change), abs(change).median())
    assert (abs(total - change) <= 0.01 * scale).all()
    assert found.largest_gap <= 0.01
    np.testing.assert_allclose(check["sum"], total, rtol=1e-6)
    np.testing.assert_allclose(check["gap"], change - total, atol=1e-6)


@torch.no_grad()
def test_the_reference_is_the_sample_without_asvs(found: aam.explain.Attributions, fitted: aam.AAM) -> None:
    """One empty slot, no gates: the sample token is alone."""
    empty = fitted.network.encoder.sample(torch.zeros(1, 1, TINY.width), torch.zeros(1, 1, dtype=torch.bool))[0]
    want = float(head_of(fitted, empty)[0, 0])
    np.testing.assert_allclose(found.check["reference"], want, rtol=1e-5)


def test_rows_and_columns_are_the_studys(
    found: aam.explain.Attributions, fitted: aam.AAM, sides: tuple[Study, Study]
) -> None:
    test = sides[1]
    assert found.sample_ids.equals(test.sample_ids)
    assert found.asv_ids.equals(test.asv_ids)
    assert found.check.index.tolist() == test.sample_ids.tolist()
    dense = found.values.toarray()
    assert not dense[test.table.toarray() == 0].any(), "an ASV that a sample lacks has none"
    assert (dense != 0).sum() > 0.9 * test.table.nnz
    order = np.random.default_rng(0).permutation(test.num_samples)
    turned = aam.explain.attribute(fitted, test.keep_samples(test.sample_ids[order]))
    np.testing.assert_allclose(turned.values.toarray(), dense[order], rtol=0.02, atol=0.01 * abs(dense).max())


def test_tables_of_attributions_agree(found: aam.explain.Attributions, sides: tuple[Study, Study]) -> None:
    dense = pd.DataFrame(found.values.toarray(), index=found.sample_ids, columns=found.asv_ids)
    held = pd.DataFrame(sides[1].table.toarray() > 0, index=found.sample_ids, columns=found.asv_ids)
    by_asv = found.by_asv()
    assert by_asv["mean_abs"].is_monotonic_decreasing
    pd.testing.assert_series_equal(by_asv["mean"].loc[found.asv_ids], dense.mean(), check_names=False)
    pd.testing.assert_series_equal(by_asv["mean_abs"].loc[found.asv_ids], dense.abs().mean(), check_names=False)
    pd.testing.assert_series_equal(by_asv["samples"].loc[found.asv_ids], held.sum(), check_names=False)
    up = ((dense > 0).sum() / held.sum().clip(lower=1)).loc[by_asv.index]
    pd.testing.assert_series_equal(by_asv["positive"], up, check_names=False)
    sample = found.sample_ids[3]
    one = found.of_sample(sample)
    assert one.abs().is_monotonic_decreasing
    assert one.to_dict() == dense.loc[sample][held.loc[sample]].to_dict()
    long = found.to_frame()
    assert len(long) == int(held.to_numpy().sum())
    back = long.pivot_table(index=long.index, columns="asv_id", values="attribution", aggfunc="sum")
    np.testing.assert_allclose(back.loc[found.sample_ids].sum(axis=1), found.check["sum"], rtol=1e-6)


def test_closed_form_of_a_network_that_averages(model: aam.AAM, sides: tuple[Study, Study]) -> None:
    """Blocks that add nothing, a pool that looks evenly and no last norm: f(t) = (a0 + t sum a) / (1 + n t).

    The a are what the head makes of each member.

    Then ASV i gets the integral of a_i / (1 + n t) - (a0 + t A) / (1 + n t)^2 over t from 0 to 1, A being the sum of a.
    """
    sample = model.network.encoder.sample
    with torch.no_grad():
        for block in sample.blocks:
            for layer in (block.attention.out, block.mlp[2]):
                layer.weight.zero_()
                layer.bias.zero_()
        sample.pool.query.zero_()
    sample.norm_out = torch.nn.Identity()
    test = sides[1]
    found = aam.explain.attribute(model, test)
    for batch, asv_ND in model.batches(test):
        with torch.no_grad():
            entry_BSD, _ = sample.entries(asv_ND, batch)
            members = torch.cat([sample.sample_token.expand(len(batch), -1, -1), entry_BSD], 1)
            value = sample.pool.kv(sample.norm(members))[..., TINY.width :]
            a_BS = head_of(model, sample.pool.out(value).reshape(-1, TINY.width)).view(len(batch), -1).numpy()
        for b, name in enumerate(batch.sample_ids):
            n = int(batch.offsets_B1[b + 1] - batch.offsets_B1[b])
            a0, a = a_BS[b, 0], a_BS[b, 1 : n + 1]
            shared = a0 / (1 + n) + a.sum() * (np.log(1 + n) / n**2 - 1 / (n * (1 + n)))
            want = a * np.log(1 + n) / n - shared
            asvs = test.asv_ids[batch.asv_N[batch.asv_E[batch.offsets_B1[b] : batch.offsets_B1[b + 1]].numpy()]]
            got = found.of_sample(name).loc[asvs].to_numpy()
            np.testing.assert_allclose(got, want, atol=0.01 * abs(want).max())


def test_brute_force_agrees(model: aam.AAM, sides: tuple[Study, Study]) -> None:
    """Central differences of each gate in float64, summed over 400 midpoints, dense where few ASVs show."""
    one = sides[1].keep_samples(sides[1].sample_ids[:1])
    found = aam.explain.attribute(model, one)
    network = model.network.double()
    (batch,) = [b for b, _ in model.batches(one)]
    with torch.no_grad():
        entry_BSD, filled_BS = network.encoder.sample.entries(network.encoder.asv(batch.tokens_NL)[0], batch)
        S = entry_BSD.shape[1]

        def predict(gate_KS: torch.Tensor) -> npt.NDArray[np.float64]:
            K = len(gate_KS)
            vectors = network.encoder.sample(entry_BSD.expand(K, -1, -1), filled_BS.expand(K, -1), gate_KS)[0]
            return head_of(model, vectors)[:, 0].numpy()

        total, points = np.zeros(S), 400
        for u in (np.arange(points) + 0.5) / points:
            at, weight = u**4, 4 * u**3 / points
            steps = torch.eye(S, dtype=torch.float64) * 1e-3 * at
            total += weight * (predict(at + steps) - predict(at - steps)) / (2e-3 * at)
    want = pd.Series(total, index=one.asv_ids[batch.asv_N[batch.asv_E.numpy()]])
    got = found.of_sample(one.sample_ids[0]).loc[want.index]
    np.testing.assert_allclose(got, want, rtol=0.02, atol=0.005 * abs(want).max())


def test_asvs_that_nothing_looks_at_have_none(model: aam.AAM, sides: tuple[Study, Study]) -> None:
    """With what the pool passes on set to zero, no gate has an influence."""
    with torch.no_grad():
        model.network.encoder.sample.pool.out.weight.zero_()
    found = aam.explain.attribute(model, sides[1])
    assert not found.values.toarray().any()
    np.testing.assert_allclose(found.check["prediction"], found.check["reference"])


@pytest.mark.filterwarnings("ignore::aam_nb.train.study_check.StudyWarning")  # of ASVs that are made up
def test_twins_get_the_same(model: aam.AAM) -> None:
    """ASVs that differ in a letter whose token is made equal, with equal reads; another ASV gets something else."""
    token = model.network.encoder.asv.token.weight
    with torch.no_grad():
        token[5] = token[1]  # R looks like A
    asvs = ["ACGTACGTACGTACGT", "RCGTACGTACGTACGT", "TTGACCATTGACCATT"]
    ids = pd.Index(["x"])
    study = Study(sparse.csr_array(np.array([[20, 20, 20]])), ids, pd.Index(asvs), pd.DataFrame(index=ids))
    found = aam.explain.attribute(model, study).of_sample("x")
    assert found[asvs[0]] == pytest.approx(found[asvs[1]], rel=1e-4)
    assert abs(found[asvs[2]] - found[asvs[0]]) > 0.01 * abs(found).max()


def test_classes_are_explained_in_log_odds(diet: aam.AAM, sides: tuple[Study, Study]) -> None:
    test = sides[1]
    predicted = diet.predict(test)
    own = aam.explain.attribute(diet, test)
    assert own.check["output"].tolist() == predicted["diet"].tolist()
    plant, animal = (aam.explain.attribute(diet, test, output=c) for c in ("plant", "animal"))
    chance = predicted["p(plant)"]
    np.testing.assert_allclose(plant.check["prediction"], np.log(chance / (1 - chance)), rtol=1e-4, atol=1e-5)
    # Of two classes the log-odds are each other's negative.
    np.testing.assert_allclose(plant.values.toarray(), -animal.values.toarray(), atol=1e-4 * abs(plant.values).max())
    assert set(plant.check["output"]) == {"plant"}
    assert plant.largest_gap <= 0.01
    assert plant.unit == "log-odds"


def test_what_cannot_be_explained_is_refused(
    found: aam.explain.Attributions, fitted: aam.AAM, diet: aam.AAM, sides: tuple[Study, Study]
) -> None:
    with pytest.raises(NotFittedError, match="has no target yet"):
        aam.explain.attribute(aam.AAM(TINY), sides[1])
    with pytest.raises(
        UnknownIdError, match=r"level is 'kingdom'\. Expected 'asv', 'taxon', 'clade', 'nucleotide' or 'covariate'"
    ):
        aam.explain.attribute(fitted, sides[1], level="kingdom")
    with pytest.raises(UnknownIdError, match=r"'vegan' is not an output\. The model predicts animal, plant"):
        aam.explain.attribute(diet, sides[1], output="vegan")
    with pytest.raises(UnknownIdError, match=r"'S9999' was not explained"):
        found.of_sample("S9999")
    empty = Study(
        sparse.csr_array(np.array([[0, 0], [1, 2]])),
        pd.Index(["a", "b"]),
        pd.Index(["ACGT", "TTTT"]),
        pd.DataFrame(index=["a", "b"]),
    )
    with pytest.raises(EmptySampleError, match=r"1 of 2 samples have no reads \(a\)"):
        aam.explain.attribute(fitted, empty)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"level": "nucleotide", "asvs": 5}, r"asvs is 5\. Expected a list of ASVs"),
        ({"reference": 3}, r"reference is 3\. Expected 'empty', 'mean' or a sample's id"),
        ({"reference": np.array([1, 2])}, r"reference is array.*Expected 'empty'"),
    ],
)
def test_a_query_refuses_arguments_of_another_kind(given: dict[str, object], words: str) -> None:
    with pytest.raises(ExplainError, match=words):
        AttributionQuery(**given)  # type: ignore[arg-type]
