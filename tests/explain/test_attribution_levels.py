"""Attributions of ASVs, taxa and clades by each method, against public verbs, enumeration, scikit-bio and plain loops."""

from __future__ import annotations

import copy
import itertools
import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
from conftest import QUICK, TINY
from scipy import sparse

import aam_nb as aam
from aam_nb.config import UserError
from aam_nb.explain.attribution import methods
from aam_nb.explain.attribution.attribute import GapWarning, attribute
from aam_nb.explain.attribution.probe import ExplainError, Output, Reference, make_probes
from aam_nb.explain.attribution.result import Attributions
from aam_nb.explain.attribution.taxa_and_clades import UNCLASSIFIED
from aam_nb.study.errors import MissingTipError, UnknownIdError
from aam_nb.study.study import Study


@pytest.fixture(scope="module")
def named(sides: tuple[Study, Study]) -> Study:
    """The test side with a taxonomy; a fifth of the genera are not known."""
    test, rng = sides[1], np.random.default_rng(3)
    phylum = rng.choice(["Firmicutes", "Bacteroidota"], size=test.num_asvs)
    genus = pd.Series([f"{p[:4]}_{g}" for p, g in zip(phylum, rng.integers(0, 5, test.num_asvs), strict=True)])
    genus = genus.where(rng.random(test.num_asvs) > 0.2)
    taxonomy = pd.DataFrame({"phylum": phylum, "genus": genus.to_numpy(), "confidence": 0.9}, index=test.asv_ids)
    return replace(test, taxonomy=taxonomy)


@pytest.fixture(scope="module")
def few(named: Study) -> Study:
    return named.keep_samples(named.sample_ids[:3])


@pytest.fixture(scope="module")
def quantiles(sides: tuple[Study, Study]) -> aam.AAM:
    return aam.AAM(TINY).fit(sides[0], target=aam.Quantiles("age", quantiles=(0.1, 0.5, 0.9)), config=QUICK)


@pytest.fixture(scope="module")
def diet(sides: tuple[Study, Study]) -> aam.AAM:
    return aam.AAM(TINY).fit(sides[0], target="diet", config=QUICK)


def adds_up(found: Attributions, prediction: npt.ArrayLike, reference: npt.ArrayLike) -> None:
    """Attributions lead from the reference to the prediction, both worked out elsewhere."""
    np.testing.assert_allclose(found.check["prediction"], prediction, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.check["reference"], reference, rtol=1e-4, atol=1e-4)
    change = np.asarray(prediction) - np.asarray(reference)
    scale = np.maximum(abs(change), np.median(abs(change)))
    assert (abs(np.asarray(found.values.sum(1)).ravel() - change) <= 0.01 * scale + 1e-6).all()
    assert found.largest_gap <= 0.01


# -- integrated gradients: every output, every reference -------------------------------------------------------------------


def test_sums_from_a_sample_to_each_prediction(
    fitted: aam.AAM, quantiles: aam.AAM, diet: aam.AAM, sides: tuple[Study, Study]
) -> None:
    train, test = sides
    name = str(train.sample_ids[4])
    other = train.keep_samples([name])
    adds_up(attribute(fitted, test, reference=name), fitted.predict(test)["age"], fitted.predict(other)["age"].item())
    low = attribute(quantiles, test, reference=name, output="q(0.1)")
    adds_up(low, quantiles.predict(test)["q(0.1)"], quantiles.predict(other)["q(0.1)"].item())
    assert (low.output, low.unit, low.reference) == ("q(0.1)", "units of age", f"sample {name}")
    odds = [np.log(p / (1 - p)) for p in (diet.predict(s)["p(plant)"] for s in (test, other))]
    adds_up(attribute(diet, test, reference=name, output="plant"), odds[0], odds[1].item())


def test_sums_along_a_direction(fitted: aam.AAM, sides: tuple[Study, Study]) -> None:
    test = sides[1]
    d = np.random.default_rng(0).normal(size=TINY.width)
    name = str(test.sample_ids[0])
    found = attribute(fitted, test, direction=d.tolist(), reference=name)
    along = fitted.embed(test) @ (d / np.linalg.norm(d))
    adds_up(found, along, along.loc[name])
    assert (found.target, found.unit) == ("embedding direction", "embedding units")


def test_sums_from_the_training_mean(fitted: aam.AAM, sides: tuple[Study, Study]) -> None:
    """The mean community as a sample of many reads."""
    train, test = sides
    found = attribute(fitted, test, reference="mean")
    counts = train.table.toarray()
    mean = (counts / counts.sum(1, keepdims=True)).mean(0)
    ids = pd.Index(["mean"])
    crowd = Study(
        sparse.csr_array(np.round(mean * 10**8)[None].astype(int)), ids, train.asv_ids, pd.DataFrame(index=ids)
    )
    adds_up(found, fitted.predict(test)["age"], fitted.predict(crowd)["age"].item())
    assert "training samples" in found.reference
    assert found.values.nnz > test.table.nnz  # what the mean has and a sample lacks counts too


def test_the_way_from_a_sample_is_straight(fitted: aam.AAM, sides: tuple[Study, Study]) -> None:
    """Gradients of gates u and 1 - u, summed over midpoints in double precision; no cube, no Captum."""
    train, test = sides
    pair = [test.keep_samples(test.sample_ids[:1]), train.keep_samples(train.sample_ids[4:5])]
    found = attribute(fitted, pair[0], reference=str(train.sample_ids[4])).of_sample(test.sample_ids[0])
    network = copy.deepcopy(fitted.network).double()
    sample, task, columns, entries = network.encoder.sample, network.objectives["target"], [], []
    with torch.no_grad():
        for study in pair:
            ((batch, _),) = fitted.batches(study)
            entries.append(sample.entries(network.encoder.asv(batch.tokens_NL)[0], batch)[0])
            columns += list(study.asv_ids[batch.asv_N[batch.asv_E.numpy()]])
    entry, filled = torch.cat(entries, 1), torch.ones(1, len(columns), dtype=torch.bool)
    own = (torch.arange(len(columns)) < entries[0].shape[1]).double()
    total, points = torch.zeros(len(columns)), 500
    for u in (np.arange(points) + 0.5) / points:
        gate = ((1 - u) * (1 - own) + u * own)[None].requires_grad_()
        answer = task.outputs(task.head(sample(entry, filled, gate)[0]), batch)[0, 0]
        total += torch.autograd.grad(answer, gate)[0][0] * (2 * own - 1) / points
    want = pd.Series(total.numpy(), index=columns).groupby(level=0).sum()
    np.testing.assert_allclose(found.loc[want.index], want, atol=0.005 * abs(want).max())


def test_a_sample_against_itself_has_none(fitted: aam.AAM, sides: tuple[Study, Study]) -> None:
    """Each ASV stands on both sides, and its two gates sum to one: nothing changes on the way."""
    name = str(sides[1].sample_ids[0])
    found = attribute(fitted, sides[1], reference=name)
    assert abs(found.of_sample(name)).max() < 1e-4
    assert abs(found.values).max() > 0.1


def test_a_gap_is_told(fitted: aam.AAM, sides: tuple[Study, Study], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "STEPS", (1,))
    with pytest.warns(GapWarning, match=r"Attributions miss up to \d+\.\d% of the change they explain"):
        attribute(fitted, sides[1])


def test_captums_deeplift_does_not_add_up(fitted: aam.AAM, sides: tuple[Study, Study]) -> None:
    """Which is why it is refused."""
    from captum.attr import DeepLift

    _, each = make_probes(fitted, sides[1], Output.of(fitted, None), Reference.of(fitted, sides[1], "empty"))
    probe = next(each)

    class Whole(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = fitted.network

        def forward(self, gate_MS: torch.Tensor) -> torch.Tensor:
            return probe(gate_MS, probe.rows.repeat(len(gate_MS) // len(probe.rows)))

    own = torch.ones(probe.own_BS.shape, requires_grad=True)
    shut = torch.full_like(own, 1e-4)
    with pytest.warns(UserWarning, match="Setting forward, backward hooks"):
        found = DeepLift(Whole()).attribute(own, baselines=shut).sum(1)
    change = (probe(own, probe.rows) - probe(shut, probe.rows)).abs()
    gap = (found - (probe(own, probe.rows) - probe(shut, probe.rows))).abs()
    assert (gap / torch.maximum(change, change.median())).max() > 0.1
    with pytest.raises(ExplainError, match=r"Use `method='shapley'`"):
        attribute(fitted, sides[1], method="deeplift")


# -- gradients, Shapley values, occlusion ------------------------------------------------------------------------------------


def test_gradient_x_input_is_a_finite_difference(fitted: aam.AAM, few: Study) -> None:
    """Central differences in double precision: of one gate, and of a gate that all ASVs of a taxon share."""
    one = few.keep_samples(few.sample_ids[:1])
    model = fitted.with_network(copy.deepcopy(fitted.network).double())
    encoder, task = model.network.encoder, model.require_task()
    (batch,) = [b for b, _ in model.batches(one)]
    asvs = one.asv_ids[batch.asv_N[batch.asv_E.numpy()]]

    @torch.no_grad()
    def slope(together: npt.NDArray[np.bool_]) -> float:
        entry, filled = encoder.sample.entries(encoder.asv(batch.tokens_NL)[0], batch)
        answers = []
        for step in (1e-3, -1e-3):
            gate = torch.from_numpy(1 + step * together)[None]
            states = encoder.sample(entry, filled, gate)[0]
            head = task.head(states)
            answers.append(float(task.outputs(head, batch)[0, 0]))
        return (answers[0] - answers[1]) / 2e-3

    by_asv = attribute(fitted, one, method="gradient_x_input").of_sample(one.sample_ids[0])
    for asv in by_asv.index[:5]:
        assert by_asv[asv] == pytest.approx(slope(asvs == asv), rel=5e-3, abs=1e-4)
    by_taxon = attribute(fitted, one, method="gradient_x_input", level="taxon", rank="genus")
    assert one.taxonomy is not None
    genus = one.taxonomy["genus"].astype(object).fillna(UNCLASSIFIED).loc[asvs]
    for taxon, value in by_taxon.of_sample(one.sample_ids[0]).items():
        shared = (genus == str(taxon).removeprefix("genus: ")).to_numpy()
        assert value == pytest.approx(slope(shared), rel=5e-3, abs=1e-3)


@pytest.fixture(scope="module")
def four(few: Study) -> Study:
    """One sample with its four most abundant ASVs."""
    one = few.keep_samples(few.sample_ids[:1])
    top = one.asv_ids[np.argsort(-one.table.toarray()[0])[:4]]
    return one.keep_asvs(top)


def subsets(model: aam.AAM, four: Study) -> dict[frozenset[int], float]:
    """The output of every subset of a sample's ASVs with their abundances as they are: slots are taken away, no gate is used."""
    encoder, task = model.network.encoder, model.require_task()
    (pair,) = model.batches(four)
    batch, asv_ND = pair
    entry, _ = encoder.sample.entries(asv_ND, batch)
    found = {}
    for size in range(5):
        for chosen in itertools.combinations(range(4), size):
            kept = entry[:, list(chosen)] if chosen else entry[:, :1] * 0
            filled = torch.full(kept.shape[:2], bool(chosen))
            head = task.head(encoder.sample(kept, filled)[0])
            found[frozenset(chosen)] = float(task.outputs(head, batch)[0, 0])
    return found


@torch.no_grad()
def exact(value: dict[frozenset[int], float], players: list[frozenset[int]]) -> list[float]:
    """Shapley values by their definition, from all coalitions of some players."""
    n, found = len(players), []
    for i in range(n):
        rest, total = [p for k, p in enumerate(players) if k != i], 0.0
        for size in range(n):
            weight = math.factorial(size) * math.factorial(n - size - 1) / math.factorial(n)
            for coalition in itertools.combinations(rest, size):
                there = frozenset().union(*coalition)
                total += weight * (value[there | players[i]] - value[there])
        found.append(total)
    return found


def test_shapley_values_are_those_of_all_subsets(fitted: aam.AAM, four: Study) -> None:
    with torch.no_grad():
        value = subsets(fitted, four)
    found = attribute(fitted, four, method="shapley", orders=24)  # as many as there are orders: exact
    want = exact(value, [frozenset([k]) for k in range(4)])
    np.testing.assert_allclose(found.values.toarray()[0], want, atol=1e-4)
    np.testing.assert_allclose(found.check["reference"], value[frozenset()], rtol=1e-5)
    drawn = attribute(fitted, four, method="shapley", orders=8)
    assert drawn.values.sum() == pytest.approx(value[frozenset(range(4))] - value[frozenset()], abs=1e-4)
    assert abs(drawn.values - found.values).max() < 0.5 * abs(found.values).max()
    again = attribute(fitted, four, method="shapley", orders=8)
    np.testing.assert_array_equal(again.values.toarray(), drawn.values.toarray())


def test_taxa_are_players_together(fitted: aam.AAM, four: Study) -> None:
    taxonomy = pd.DataFrame({"genus": ["x", "y", "x", None]}, index=four.asv_ids)
    with torch.no_grad():
        value = subsets(fitted, four)
    found = attribute(fitted, replace(four, taxonomy=taxonomy), level="taxon", method="shapley")
    want = exact(value, [frozenset([3]), frozenset([0, 2]), frozenset([1])])
    names = [f"genus: {UNCLASSIFIED}", "genus: x", "genus: y"]
    np.testing.assert_allclose(found.of_sample(four.sample_ids[0]).loc[names], want, atol=1e-4)


def test_shapley_values_sum_for_every_reference_and_rank(
    fitted: aam.AAM, few: Study, sides: tuple[Study, Study]
) -> None:
    name = str(sides[0].sample_ids[1])
    other = fitted.predict(sides[0].keep_samples([name]))["age"].item()
    found = attribute(fitted, few, method="shapley", orders=2, reference=name)
    adds_up(found, fitted.predict(few)["age"], other)
    by_rank = attribute(fitted, few, level="taxon", method="shapley", orders=2)
    change = by_rank.check["prediction"] - by_rank.check["reference"]
    for rank in ("phylum", "genus"):
        of_rank = (by_rank.features["rank"] == rank).to_numpy()
        np.testing.assert_allclose(by_rank.values.toarray()[:, of_rank].sum(1), change, atol=1e-3)


def losses(model: aam.AAM, study: Study, sample: str, sets: dict[str, set[str]]) -> pd.Series:
    """What one sample's prediction loses without each set of ASVs, by public verbs alone."""
    one = study.keep_samples([sample])
    before, held = model.predict(one)["age"].item(), set(one.asv_ids[one.prevalence > 0])
    return pd.Series(
        {
            name: before - model.predict(one.keep_asvs(~one.asv_ids.isin(list(asvs))))["age"].item()
            for name, asvs in sets.items()
            if held & asvs and held - asvs
        }
    )


def test_occlusion_is_a_prediction_without(fitted: aam.AAM, few: Study) -> None:
    sample = str(few.sample_ids[0])
    found = attribute(fitted, few, method="occlusion")
    asvs = found.of_sample(sample).index[:8]
    want = losses(fitted, few, sample, {a: {a} for a in asvs})
    np.testing.assert_allclose(found.of_sample(sample).loc[want.index], want, atol=1e-4)
    assert np.isnan(found.largest_gap)
    assert "largest gap" not in repr(found)

    assert few.taxonomy is not None
    genus = few.taxonomy["genus"].astype(object).fillna(UNCLASSIFIED)
    sets = {f"genus: {g}": set(genus.index[genus == g]) for g in genus.unique()}
    of_taxa = attribute(fitted, few, level="taxon", method="occlusion").of_sample(sample)
    want = losses(fitted, few, sample, sets)
    assert len(want) > 5
    np.testing.assert_allclose(of_taxa.loc[want.index], want, atol=1e-4)
    # Each rank drops every ASV once: the check is of the rank that misses most, not of all ranks together.
    check = attribute(fitted, few, level="taxon", method="occlusion").check.loc[sample]
    sums = of_taxa.groupby([name.split(":")[0] for name in of_taxa.index]).sum()
    gaps = check["prediction"] - check["reference"] - sums
    assert check["gap"] == pytest.approx(gaps[gaps.abs().idxmax()], abs=1e-4)


def test_occluded_clades_are_those_of_scikit_bio(fitted: aam.AAM, few: Study) -> None:
    sample = str(few.sample_ids[1])
    found = attribute(fitted, few, level="clade", method="occlusion")
    assert found.members is not None
    sets = {clade: set(found.asv_ids[found.members[[k]].indices]) for k, clade in enumerate(found.features.index)}
    want = losses(fitted, few, sample, dict(itertools.islice(sets.items(), 0, None, 6)))
    assert len(want) > 4
    assert found.check[["sum", "gap"]].isna().all(axis=None), "clades lie within one another"
    np.testing.assert_allclose(found.of_sample(sample).loc[want.index], want, atol=1e-4)


# -- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["integrated_gradients", "gradient_x_input", "shapley", "occlusion"])
def test_parts_that_fit_memory_change_nothing(fitted: aam.AAM, few: Study, method: str) -> None:
    whole, in_parts = (attribute(fitted, few, orders=2, method=method, max_tokens=n).values for n in (65536, 1))
    np.testing.assert_allclose(in_parts.toarray(), whole.toarray(), atol=1e-5 * abs(whole).max())


REFUSED = [
    ({"method": "lime"}, UnknownIdError, "method is 'lime'. Expected 'integrated_gradients'"),
    ({"level": "clade", "method": "shapley"}, ExplainError, "clades lie within one another"),
    ({"level": "nucleotide", "method": "shapley"}, ExplainError, "nucleotides are too many"),
    (
        {"method": "occlusion", "reference": "mean"},
        ExplainError,
        "reference is 'mean', with level 'asv' and method 'occlusion'",
    ),
    ({"level": "nucleotide", "reference": "mean"}, ExplainError, "References other than 'empty' go with levels"),
    ({"rank": "genus"}, ExplainError, "Ranks are of taxa"),
    ({"level": "taxon", "rank": "tribe"}, UnknownIdError, "rank is 'tribe'. The taxonomy has phylum, genus"),
    ({"asvs": ["ACGT"]}, ExplainError, "Expected a list of ASVs, with level 'nucleotide'"),
    ({"orders": 0}, UserError, "orders is 0. Expected at least 1 order"),
    ({"steps": 3}, UserError, "'steps' is not a setting of ExplainConfig"),
    ({"reference": "nobody"}, UnknownIdError, "Expected 'empty', 'mean' or the id of a sample"),
    ({"direction": [1.0], "output": "age"}, ExplainError, "beside an output"),
]


@pytest.mark.parametrize(("asked", "kind", "words"), REFUSED)
def test_what_does_not_go_together_is_refused(
    fitted: aam.AAM, few: Study, asked: dict[str, object], kind: type[UserError], words: str
) -> None:
    with pytest.raises(kind) as error:
        attribute(fitted, few, **asked)  # type: ignore[arg-type]
    assert words in str(error.value)


def test_levels_that_the_study_lacks_are_refused(fitted: aam.AAM, few: Study) -> None:
    bare = replace(few, taxonomy=None, tree=None)
    with pytest.raises(UnknownIdError, match="The study has no taxonomy"):
        attribute(fitted, bare, level="taxon")
    with pytest.raises(MissingTipError, match="The study has no tree"):
        attribute(fitted, bare, level="clade")
    with pytest.raises(
        ExplainError, match="No branch of the tree lies above two or more, and not all, of the 2 ASVs held"
    ):
        attribute(fitted, few.keep_asvs(few.asv_ids[few.table.toarray().min(0) > 0][:2]), level="clade")
    with pytest.raises(ExplainError, match=r"These are attributions at level 'clade'\. Expected level 'asv'"):
        attribute(fitted, few, level="clade", method="gradient_x_input").by_asv()
