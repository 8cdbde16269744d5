"""Faithfulness: Captum's numbers against plain loops, each check against what it should say, and verdicts that do not overstate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import QUICK, TINY
from scipy import sparse

import aam_nb as aam
from aam_nb.config import ConfigError, FaithfulnessConfig
from aam_nb.explain.attribution.attribute import Attributions, attribute
from aam_nb.explain.attribution.probe import ExplainError, Output, Probe, Reference, make_probes
from aam_nb.explain.faithfulness.checks import CURVES
from aam_nb.explain.faithfulness.deletion_insertion import RemovableFeatures
from aam_nb.explain.faithfulness.faithfulness import Faithfulness, faithfulness
from aam_nb.explain.faithfulness.infidelity import FINER, infidelity, sensitivity, shuffle_within_samples
from aam_nb.study.study import Study

SMALL = FaithfulnessConfig(
    steps=5,
    num_random=4,
    num_samples=3,
    num_subsets=12,
    num_changes=1,
    seeds=1,
    num_trees=10,
    num_resamples=100,
    num_permutations=199,
)


@pytest.fixture(scope="module")
def found(fitted: aam.AAM, sides: tuple[Study, Study]) -> Attributions:
    return attribute(fitted, sides[1])


@pytest.fixture(scope="module")
def checked(found: Attributions) -> Faithfulness:
    return faithfulness(found, config=SMALL)


# -- infidelity and sensitivity ------------------------------------------------------------------------------------------


class Linear:
    """A probe whose output is a weighted sum of gates, B x S."""

    def __init__(self, weight_BS: torch.Tensor, own_BS: torch.Tensor, other_BS: torch.Tensor) -> None:
        self.weight_BS, self.own_BS, self.other_BS = weight_BS, own_BS, other_BS
        self.rows, self.chunk_size = torch.arange(len(own_BS)), 7

    def __len__(self) -> int:
        return len(self.own_BS)

    def __call__(self, gate_MS: torch.Tensor, row_M: torch.Tensor) -> torch.Tensor:
        return 2 + (gate_MS * self.weight_BS[row_M]).sum(1)


@pytest.mark.parametrize("scaled", [False, True])
def test_infidelity_of_a_linear_function_is_zero_for_its_weights_alone(scaled: bool) -> None:
    """Six slots of the sample, of which two are one feature, and two of the reference, of which one is a feature's as well."""
    rng = np.random.default_rng(0)
    weight = torch.from_numpy(rng.normal(size=(3, 8))).float()
    own = torch.tensor([[True] * 6 + [False] * 2] * 3)
    probe = Linear(weight, own, ~own)
    slot = np.array([[0, 1, 2, 2, 3, 4, 4, 5]] * 3)
    w = weight.double().numpy()
    value = np.stack([w[:, 0], w[:, 1], w[:, 2] + w[:, 3], w[:, 4], w[:, 5] - w[:, 6], -w[:, 7]], 1)
    features = RemovableFeatures(np.tile(np.arange(6), (3, 1)), slot, value, np.ones((3, 6)))
    config = FaithfulnessConfig(num_subsets=50)
    exact = infidelity(probe, features, value, config, scaled=scaled)  # type: ignore[arg-type]
    np.testing.assert_allclose(exact, 0, atol=1e-6)  # in float32, sums of values of about 1
    twice = infidelity(probe, features, 2 * value, config, scaled=scaled)  # type: ignore[arg-type]
    change = infidelity(probe, features, 0 * value, config)  # type: ignore[arg-type]
    # Twice as much misses the change by itself; scaled, nothing is missed.
    np.testing.assert_allclose(twice, 0 if scaled else change, rtol=1e-4, atol=1e-6)
    shuffled = shuffle_within_samples(value, features.feature_BF, rng)
    assert (infidelity(probe, features, shuffled, config, scaled=scaled) > 1e-3).all()  # type: ignore[arg-type]


def test_infidelity_is_a_plain_loop(found: Attributions, fitted: aam.AAM, sides: tuple[Study, Study]) -> None:
    few = sides[1].keep_samples(sides[1].sample_ids[:3])
    asv_ids, each = make_probes(fitted, few, Output.of(fitted, None), Reference.of(fitted, few, "empty"))
    probe: Probe = next(each)
    rows = found.sample_ids.get_indexer(list(probe.batch.sample_ids))
    features = RemovableFeatures.of(probe, np.arange(len(asv_ids)), found.values[rows])
    config = FaithfulnessConfig(num_subsets=9, seed=4)
    got = infidelity(probe, features, features.value_BF, config)
    draw, want = torch.Generator().manual_seed(4), np.zeros(3)
    share = torch.rand(27, 1, generator=draw)
    out = (torch.rand((27, features.feature_BF.shape[1]), generator=draw) < share).numpy()
    with torch.no_grad():
        for m in range(27):
            b = m // 9
            gone = out[m] & (features.feature_BF[b] >= 0)
            gate = probe.own_BS[[b]].float()
            whole = probe(gate, torch.tensor([b])).item()
            for s, f in enumerate(features.slot_BS[b]):
                if f >= 0 and gone[f]:
                    gate[0, s] = 0
            change = whole - probe(gate, torch.tensor([b])).item()
            want[b] += (features.value_BF[b, gone].sum() - change) ** 2 / 9
    np.testing.assert_allclose(got, want, rtol=1e-3)


def test_shuffling_keeps_each_samples_values() -> None:
    value, feature = np.array([[1.0, 2, 3, 0], [4, 5, 0, 0]]), np.array([[0, 1, 2, -1], [0, 2, -1, -1]])
    shuffled = shuffle_within_samples(value, feature, np.random.default_rng(1))
    np.testing.assert_array_equal(np.sort(shuffled, 1), np.sort(value, 1))
    assert shuffled[0, 3] == 0
    assert not shuffled[1, 2:].any()


def test_sensitivity_is_a_plain_loop(found: Attributions, fitted: aam.AAM, sides: tuple[Study, Study]) -> None:
    few = sides[1].keep_samples(sides[1].sample_ids[:2])
    config = FaithfulnessConfig(num_changes=2, radius=0.3, seed=6)
    got = sensitivity(found, fitted, few, config)
    reads = np.repeat(few.table.toarray(), 2, axis=0) * FINER
    factor = 1 + 0.3 * (2 * torch.rand(reads.shape, generator=torch.Generator().manual_seed(6)).numpy() - 1)
    changed, want = np.maximum(np.round(reads * factor), reads > 0), np.zeros(2)
    for m in range(4):
        ids = few.sample_ids[[m // 2]]
        one = Study(sparse.csr_array(changed[[m]].astype(int)), ids, few.asv_ids, few.metadata.loc[ids], tree=few.tree)
        own = attribute(fitted, few.keep_samples(ids)).values.toarray()[0]
        new = attribute(fitted, one).values.toarray()[0]
        want[m // 2] = max(want[m // 2], np.linalg.norm(own - new) / np.linalg.norm(own))
    np.testing.assert_allclose(got, want, rtol=0.02)
    assert (got > 0.001).all()
    still = sensitivity(found, fitted, few, replace(config, radius=1e-7))
    np.testing.assert_allclose(still, 0, atol=1e-5)


# -- the whole ----------------------------------------------------------------------------------------------------------


def test_every_check_is_made(checked: Faithfulness, found: Attributions) -> None:
    table = checked.table
    seeds = ["seeds (within samples)", "seeds (sizes)", "seeds (signed means)", "seeds (top)"]
    recovered = ["recovery", "recovery against abundance", "recovery against prevalence", "recovery against forest"]
    weights = ["random weights", "random weights (sizes)"]
    assert table.index.tolist() == [
        "completeness",
        *CURVES,
        "infidelity",
        "infidelity (best scale)",
        "sensitivity",
        *weights,
        *seeds,
        "random labels",
        *recovered,
    ]
    assert table["value"].notna().all()
    assert table.loc["completeness", "value"] == pytest.approx(found.largest_gap)
    told = ["deletion against sign only", "insertion against sign only", "recovery against forest"]
    assert checked.of("told") == told
    assert table.loc[told, "passed"].isna().all()
    judged = table.drop(told)
    said = {"passed": True, "failed": False, "not measured": None}
    assert judged["passed"].tolist() == [said[o] for o in judged["outcome"]]
    assert checked.group == "host_id"
    assert checked.weights["stage"].tolist()[:2] == ["none", "head"]
    assert checked.weights.loc[0, ["signed", "size"]].tolist() == pytest.approx([1, 1])
    assert checked.refits["kind"].tolist() == ["seeds", "labels"]
    assert checked.refits["average_precision"].between(0, 1).all()
    assert len(checked.curves) == 2 * 4 * 6


def test_curves_end_at_the_prediction_without_asvs(checked: Faithfulness, found: Attributions) -> None:
    ends = checked.curves[checked.curves["fraction"] == 1]
    want = (found.check["prediction"] - found.check["reference"]).abs().mean()
    np.testing.assert_allclose(ends["mean"], want, rtol=1e-4)
    np.testing.assert_allclose(checked.curves.loc[checked.curves["fraction"] == 0, "mean"], 0, atol=1e-4)


def test_a_result_says_what_it_is(checked: Faithfulness) -> None:
    assert repr(checked).startswith("Faithfulness(age, level asv by integrated gradients: ")
    assert "\n" not in repr(checked)
    assert checked.to_frame().equals(checked.table)
    assert checked.table.loc["deletion against random", "outcome"] == "not measured", (
        "of three hosts nothing can be told"
    )
    assert "3 groups or samples, too few" in checked.table.loc["deletion against random", "meaning"]
    assert all(name in checked.verdict() for name, row in checked.table.iterrows() if row["outcome"] != "told")
    odd = replace(checked, target="<b>age", table=checked.table.assign(meaning="<script>"))
    assert "<script>" not in odd._repr_html_()
    assert "&lt;b&gt;age" in odd._repr_html_()


def test_random_attributions_are_told_from_what_moves_predictions(
    found: Attributions, sides: tuple[Study, Study]
) -> None:
    """Values shuffled within each sample: no better than a random order, and chance at finding what was planted."""
    rng, study = np.random.default_rng(0), sides[1]
    alone = replace(study, split_info=None, metadata=study.metadata.drop(columns="host_id"))
    found = replace(found, study=alone)
    shuffled = found.values.copy()
    for a, b in zip(shuffled.indptr[:-1], shuffled.indptr[1:], strict=True):
        shuffled.data[a:b] = rng.permutation(shuffled.data[a:b])
    settings = {"seeds": 0, "shuffles": 0, "draws": 0, "num_samples": 12, "num_random": 20}
    chance = faithfulness(replace(found, values=shuffled), config=SMALL, **settings)
    for check in ("deletion against random", "insertion against random"):
        row = chance.table.loc[check]
        assert row["low"] < 0 < row["high"]
        assert row["passed"] is False
    assert chance.verdict().startswith("Do not read single ASVs from these: a random order does as well.")
    assert chance.table.loc["infidelity (best scale)", "passed"] is False
    assert chance.table.loc["recovery", "value"] < 3 * float(chance.table.loc["recovery", "compared_with"].split()[0])
    own = faithfulness(found, config=SMALL, **settings)
    assert own.table.loc[["deletion against random", "insertion against random"], "passed"].all()
    assert "random labels" in own.of("not measured")
    assert "Not measured:" in own.verdict()


def test_without_training_samples_nothing_is_fitted_anew(found: Attributions, fitted: aam.AAM) -> None:
    kept, fitted.train_study = fitted.train_study, None
    try:
        result = faithfulness(found, config=SMALL, draws=0, num_subsets=2)
    finally:
        fitted.train_study = kept
    assert result.refits.empty
    rows = result.table[result.table["outcome"] == "not measured"]
    assert {"seeds (sizes)", "random labels", "random weights"} <= set(rows.index)
    assert "train=train" in rows.loc["random labels", "meaning"]
    assert "recovery against forest" not in result.table.index
    given = faithfulness(found, config=SMALL, train=kept, draws=0, shuffles=0, num_subsets=2)
    assert "seeds (sizes)" not in given.of("not measured")


def test_planted_asvs_are_the_simulations_unless_named(found: Attributions, sides: tuple[Study, Study]) -> None:
    quick = {"config": SMALL, "seeds": 0, "shuffles": 0, "draws": 0, "num_subsets": 2}
    best = found.by_asv().index[:5].tolist()
    assert faithfulness(found, planted=best, **quick).table.loc["recovery", "value"] == 1
    unknown = replace(found, study=replace(sides[1], truth=None))
    result = faithfulness(unknown, **quick)
    assert result.table.loc["recovery", "outcome"] == "not measured"
    assert "planted=" in result.table.loc["recovery", "meaning"]


def test_of_one_sample_little_can_be_told(fitted: aam.AAM, sides: tuple[Study, Study]) -> None:
    one = attribute(fitted, sides[1].keep_samples(sides[1].sample_ids[:1]))
    result = faithfulness(one, config=SMALL, seeds=0)
    judged = {name for name in CURVES if "sign" not in name}
    assert {*judged, "infidelity", "recovery against abundance"} <= set(result.of("not measured"))
    assert np.isnan(result.curves["low"]).all()
    none = one.asv_ids[one.by_asv().reindex(one.asv_ids)["samples"].to_numpy() == 0]
    absent = faithfulness(one, config=SMALL, seeds=0, shuffles=0, draws=0, planted=none)
    assert absent.table.loc["recovery", "outcome"] == "does not apply"


def test_sets_of_asvs_are_taken_away_together_and_nested_ones_not(fitted: aam.AAM, sides: tuple[Study, Study]) -> None:
    test = sides[1]
    names = np.array(["Aa", "Bb", "Cc", "Dd", "Ee"])[np.arange(test.num_asvs) % 5]
    taxonomy = pd.DataFrame({"phylum": "P", "genus": names}, index=test.asv_ids)
    known = replace(test, taxonomy=taxonomy)
    quick = {"config": SMALL, "seeds": 0, "shuffles": 0}
    genera = faithfulness(attribute(fitted, known, level="taxon", rank="genus"), **quick)
    assert not set(CURVES) & set(genera.of("does not apply"))
    assert genera.table.loc["recovery", "outcome"] == "does not apply"
    assert len(genera.curves) == 48
    for settings in ({"level": "taxon"}, {"level": "clade", "method": "occlusion"}):
        nested = faithfulness(attribute(fitted, known, **settings), draws=0, **quick)
        assert set(CURVES) <= set(nested.of("does not apply"))
        assert nested.curves.empty
        assert "was not tested" in nested.verdict()


def test_nucleotides_and_covariates_get_the_checks_that_apply(fitted: aam.AAM, sides: tuple[Study, Study]) -> None:
    train, test = sides
    quick = {"config": SMALL, "seeds": 0, "shuffles": 0}
    letters = attribute(fitted, test, level="nucleotide", top=2)
    known = aam.AAM(TINY).fit(train, target="age", covariates=["season", "diet"], config=QUICK)
    columns = attribute(known, test, level="covariate")
    for found, weights in ((letters, "random weights"), (columns, None)):
        result = faithfulness(found, **quick)
        assert {*CURVES, "infidelity", "recovery"} <= set(result.of("does not apply"))
        assert np.isfinite(result.table.loc["sensitivity", "value"])
        assert weights is None or np.isfinite(result.table.loc[weights, "value"])
        assert "was not tested" in result.verdict()


def test_a_direction_is_checked_with_this_model_alone(fitted: aam.AAM, sides: tuple[Study, Study]) -> None:
    found = attribute(fitted, sides[1], direction=np.arange(TINY.width) - 7.5)
    result = faithfulness(found, config=SMALL, planted=found.by_asv().index[:3])
    others = ["random weights", "random weights (sizes)", *(n for n in result.table.index if n.startswith("seeds"))]
    assert result.of("does not apply") == [*others, "random labels"]
    assert {*CURVES, "infidelity", "sensitivity", "recovery"} <= set(result.table.index[result.table["value"].notna()])
    ends = result.curves.loc[result.curves["fraction"] == 1, "mean"]
    vectors = fitted.embed(sides[1]).to_numpy()
    unit_vector = (np.arange(TINY.width) - 7.5) / np.linalg.norm(np.arange(TINY.width) - 7.5)
    np.testing.assert_allclose(found.check["prediction"], vectors @ unit_vector, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(ends, (found.check["prediction"] - found.check["reference"]).abs().mean(), rtol=1e-4)
    bare = aam.AAM(TINY).pretrain(sides[0], config=QUICK)  # without a target there are directions still
    there = faithfulness(attribute(bare, sides[1], direction=np.arange(TINY.width)), config=SMALL)
    assert there.table.loc["recovery", "outcome"] == "not measured"


def test_another_reference_and_classes_work(fitted: aam.AAM, sides: tuple[Study, Study]) -> None:
    quick = {"config": SMALL, "seeds": 0, "shuffles": 0, "draws": 1}
    test = sides[1]
    mean = faithfulness(attribute(fitted, test, reference="mean"), **quick)
    assert mean.table.loc["infidelity", "value"] > 0
    diet = aam.AAM(TINY).fit(sides[0], target="diet", config=QUICK)
    found = faithfulness(attribute(diet, test, method="occlusion"), **quick)
    assert (found.target, found.unit) == ("diet", "log-odds")
    assert found.table.loc["completeness", "outcome"] == "does not apply"


def test_what_cannot_be_checked_is_refused(found: Attributions) -> None:
    with pytest.raises(ExplainError, match="carry no model and no samples"):
        faithfulness(replace(found, model=None))
    with pytest.raises(ConfigError, match="steps is 1"):
        faithfulness(found, steps=1)
    with pytest.raises(ConfigError, match="'step' is not a setting"):
        faithfulness(found, step=5)


# -- verdicts -----------------------------------------------------------------------------------------------------------


def said(checked: Faithfulness, **outcomes: str) -> str:
    """The verdict if all had passed but these."""
    table = checked.table.assign(outcome="passed")
    for name, outcome in outcomes.items():
        table.loc[name.replace("_", " "), "outcome"] = outcome
    return replace(checked, table=table).verdict()


def test_verdicts_depend_on_the_most_serious_outcome(checked: Faithfulness) -> None:
    every = said(checked)
    assert every.startswith(
        "These attributions can be used to rank the ASVs that moved the model's predictions. They describe"
    )
    assert "Failed" not in every
    assert "Not measured" not in every
    bad = {"deletion_against_random": "failed", "insertion_against_random": "failed", "random_labels": "failed"}
    assert said(checked, **bad).startswith("Do not read single ASVs from these: a random order does as well.")
    assert said(checked, deletion_against_random="failed").startswith(
        "Do not rely on single ASVs: when they are removed"
    )
    assert said(checked, insertion_against_random="failed").startswith(
        "Do not rely on single ASVs: when they are added"
    )
    assert said(checked, recovery="failed").startswith(
        "These attributions do not find the ASVs that are known to matter"
    )
    assert "come from what the model learned from the labels: models with random labels give similar" in said(
        checked, random_labels="failed"
    )
    both = said(checked, random_labels="failed", random_weights="failed")
    assert "random weights and with random labels" in both
    assert "not always better than plain abundance" in said(checked, deletion_against_abundance="failed")
    assert "of this one model. Not more: models of other seeds agree" in said(checked, **{"seeds (sizes)": "failed"})
    assert "Do not add their values up" in said(checked, infidelity="failed")
    unknown = said(checked, random_labels="not measured")
    assert unknown.startswith("As far as was tested")
    assert "Not measured: random labels." in unknown
    none = {name.replace(" ", "_"): "not measured" for name in CURVES}
    assert said(checked, **none).startswith("Whether single ASVs matter as these attributions say was not tested")


def test_a_verdict_says_where_sizes_add_nothing(checked: Faithfulness) -> None:
    def low(deletion: float, insertion: float, **outcomes: str) -> str:
        table = checked.table.copy()
        table.loc["deletion against sign only", "low"] = deletion
        table.loc["insertion against sign only", "low"] = insertion
        return said(replace(checked, table=table), **outcomes)

    assert "signs" not in low(0.1, 0.1)
    assert "Their sizes add nothing to their signs: random sizes of the same signs do as well." in low(-0.1, 0)
    assert "nothing to their signs where they are added: random" in low(0.1, -0.1)
    lost = {"deletion_against_random": "failed", "insertion_against_random": "failed"}
    assert "signs" not in low(-0.1, -0.1, **lost)


@pytest.mark.real
@pytest.mark.slow
def test_a_real_study_gets_a_verdict(real_data: Path) -> None:
    """Where in the body samples come from: attributions beat random orders, and nothing is known to be planted."""
    folder = real_data / "moving_pictures" / "moving_pictures"
    study = aam.read_study(f"{folder}.biom", metadata=f"{folder}.tsv", tree=f"{folder}.nwk")
    train, test = study.split(test_size=0.4, target="body_site", seed=0)
    model = aam.AAM(TINY).fit(train, target="body_site", config=replace(QUICK, epochs=8))
    result = faithfulness(attribute(model, test), config=SMALL, seeds=0, shuffles=0)
    assert result.table.loc["deletion against random", "passed"] is True
    assert result.table.loc["recovery", "outcome"] == "not measured"
    assert result.unit == "log-odds"
