"""Models with random weights, shuffled labels or other seeds, and how alike their attributions are."""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import QUICK, TINY
from scipy.stats import spearmanr

import aam_nb as aam
from aam_nb.explain.attribution.attribute import (
    Attributions,
    attribute,
    find_output_and_reference,
    recompute_attributions,
)
from aam_nb.explain.faithfulness.random_weights import (
    list_stages,
    measure_agreement,
    randomise_weights,
    rank_correlations,
    spearman,
)
from aam_nb.study.study import Study
from aam_nb.train.new_network import NetworkPlan
from aam_nb.train.refit import refit


@pytest.fixture(scope="module")
def few(sides: tuple[Study, Study]) -> Study:
    return sides[1].keep_samples(sides[1].sample_ids[:4])


@pytest.fixture(scope="module")
def found(fitted: aam.AAM, few: Study) -> Attributions:
    return attribute(fitted, few)


def test_stages_hold_every_weight_once_from_the_output_down(fitted: aam.AAM) -> None:
    network = fitted.network
    found = list_stages(network)
    names = [name for _, held in found for name in held]
    assert sorted(names) == sorted(name for name, _ in network.named_parameters())
    assert [stage for stage, _ in found] == [
        "head",
        "pooling of ASVs",
        "ASV block 1",
        "abundance",
        "pooling of nucleotides",
        "nucleotide block 1",
        "letters",
    ]


def test_weights_become_random_part_by_part(fitted: aam.AAM, few: Study) -> None:
    before = copy.deepcopy(fitted.network.state_dict())
    changed: list[set[str]] = []
    for _, other in randomise_weights(fitted, seed=1):
        state = other.network.state_dict()
        changed.append({k for k, v in before.items() if not torch.equal(v, state[k])})
    assert all(a <= b for a, b in itertools.pairwise(changed))
    assert all(name.startswith("_heads.") for name in changed[0])
    weights = {k for k, v in before.items() if k.endswith("weight") and v.ndim > 1}
    assert weights <= changed[-1], "in the end every matrix is another"
    assert all(torch.equal(v, fitted.network.state_dict()[k]) for k, v in before.items()), "the model stays as it is"
    # What the task learned of its target stays: a random model still predicts in years.
    assert other.require_task().spec() == fitted.require_task().spec()
    assert np.isfinite(other.predict(few)["age"]).all()


def test_weights_are_those_of_a_fresh_network(fitted: aam.AAM) -> None:
    """In the end the encoder is that of an untrained model of that seed."""
    *_, (_, last) = randomise_weights(fitted, seed=5)
    assert fitted.train_study is not None
    task, config = copy.deepcopy(fitted.require_task()), aam.TrainConfig(seed=5)
    fresh, _ = NetworkPlan(objectives=[task]).make_network(fitted.train_study, TINY, config)
    for name, value in fresh.encoder.named_parameters():
        assert torch.equal(value, last.network.encoder.get_parameter(name)), name


def test_identical_weights_give_exactly_one_and_random_ones_about_nothing(
    found: Attributions, fitted: aam.AAM, few: Study
) -> None:
    own, held = found.values.toarray(), few.table.toarray() > 0
    again = recompute_attributions(found, fitted, few)
    np.testing.assert_array_equal(again, own)
    np.testing.assert_allclose(rank_correlations(own, again, held, signed=True), 1)
    left = []
    for seed in range(3):
        *_, (_, last) = randomise_weights(fitted, seed=10 + seed)
        left.append(rank_correlations(own, recompute_attributions(found, last, few), held, signed=True).mean())
    assert abs(np.mean(left)) < 0.4


def test_rank_correlations_are_scipys(found: Attributions) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(3, 30)), rng.integers(0, 5, size=(3, 30)).astype(float)
    held = rng.random((3, 30)) < 0.6
    for signed in (True, False):
        want = [
            spearmanr(x[h], y[h]).statistic if signed else spearmanr(abs(x[h]), abs(y[h])).statistic
            for x, y, h in zip(a, b, held, strict=True)
        ]
        np.testing.assert_allclose(rank_correlations(a, b, held, signed=signed), want)
    assert np.isnan(spearman(np.ones(5), np.arange(5.0)))
    assert np.isnan(spearman(np.arange(2.0), np.arange(2.0)))


def test_agreement_by_hand() -> None:
    """Mean sizes 4, 3, 2, 1 against 4, 1, 2, 3; the fifth feature occurs in neither."""
    a = np.array([[4.0, 3, -2, 1, 0], [4, -3, -2, 1, 0]])
    b = np.array([[4.0, -1, 2, 3, 0], [4, -1, 2, 3, 0]])
    found = measure_agreement(a, b, top=2)
    assert found["size"] == pytest.approx(spearmanr([4, 3, 2, 1], [4, 1, 2, 3]).statistic)
    assert found["signed"] == pytest.approx(spearmanr([4, 0, -2, 1], [4, -1, 2, 3]).statistic)
    assert found["top"] == 0.5  # first and second against first and fourth
    assert found["top_chance"] == 0.5


def test_the_same_seed_gives_the_same_and_shuffled_labels_others(
    found: Attributions, fitted: aam.AAM, few: Study, sides: tuple[Study, Study]
) -> None:
    own, held = found.values.toarray(), few.table.toarray() > 0
    same = recompute_attributions(found, refit(fitted, sides[0], seed=QUICK.seed), few)
    assert rank_correlations(own, same, held, signed=True).min() > 0.999
    assert measure_agreement(own, same, top=10)["top"] == 1
    for settings in ({"seed": QUICK.seed, "shuffle": True}, {"seed": QUICK.seed + 1}):
        other = recompute_attributions(found, refit(fitted, sides[0], **settings), few)
        assert rank_correlations(own, other, held, signed=True).max() < 0.999


def test_classes_are_explained_again_as_they_were(sides: tuple[Study, Study]) -> None:
    """Each sample's own class, also where another model would predict another; samples in any order."""
    test = sides[1]
    diet = aam.AAM(TINY).fit(sides[0], target="diet", config=QUICK)
    found = attribute(diet, test, method="occlusion")
    flipped = found.check["output"].map({"plant": "animal", "animal": "plant"})
    order = test.keep_samples(test.sample_ids[::-1])
    again = recompute_attributions(found, diet, order)
    np.testing.assert_allclose(again[::-1], found.values.toarray(), atol=1e-5)
    other = recompute_attributions(found, diet, test, outputs=flipped.to_numpy(dtype=object))
    np.testing.assert_allclose(other, -found.values.toarray(), atol=1e-5)


@pytest.mark.parametrize(
    "how",
    [
        {"reference": "mean"},
        {"reference": "another sample"},
        {"direction": np.arange(TINY.width) - 7.5},
        {"level": "taxon", "method": "shapley", "orders": 3},
        {"level": "taxon", "rank": "genus", "reference": "another sample"},
        {"level": "clade"},
        {"level": "clade", "method": "occlusion"},
        {"level": "nucleotide", "top": 5},
        {"level": "nucleotide", "method": "occlusion"},
    ],
    ids=str,
)
def test_one_sample_is_asked_again_as_all_were(how: dict[str, Any], fitted: aam.AAM, few: Study) -> None:
    """The other samples, the reference among them, are not at hand then, nor are their ASVs: features stay what they were."""
    genus = np.where(np.arange(few.num_asvs) % 3 > 0, "uncultured", "known")
    taxonomy = pd.DataFrame({"phylum": np.arange(few.num_asvs) % 2, "genus": genus}, index=few.asv_ids).astype(str)
    named = replace(few, taxonomy=taxonomy)
    if how.get("reference") == "another sample":
        how = how | {"reference": str(few.sample_ids[0])}
    if how.get("method") == "occlusion" and how["level"] == "nucleotide":
        alone = few.asv_ids[(few.prevalence == 1).to_numpy()][:2]
        assert len(alone) == 2
        how = how | {"asvs": [*few.asv_ids[(few.prevalence == 4).to_numpy()][:1], *alone]}
    found = attribute(fitted, named, **how)
    want, scale = found.values.toarray(), np.abs(found.values).max()
    for k in range(1, named.num_samples):
        again = recompute_attributions(found, fitted, named.keep_samples(named.sample_ids[[k]]))
        np.testing.assert_allclose(again[0], want[k], atol=1e-4 * scale)
    assert found.query is not None
    same = attribute(fitted, named, **found.query.arguments())
    np.testing.assert_array_equal(same.values.toarray(), want)


def test_what_is_probed_is_what_was_explained(fitted: aam.AAM, few: Study) -> None:
    name = str(few.sample_ids[1])
    output, reference = find_output_and_reference(attribute(fitted, few, reference=name))
    assert (output.target, reference.name, reference.meaning) == ("age", name, f"sample {name}")
