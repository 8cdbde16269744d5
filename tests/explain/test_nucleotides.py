"""Attributions of nucleotides, against hidden and mutated letters put through the whole model."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import QUICK, TINY

import aam_nb as aam
from aam_nb.batch.tokens import MASK, tokenize
from aam_nb.explain.attribution.attribute import attribute
from aam_nb.explain.attribution.probe import ExplainError
from aam_nb.study.errors import UnknownIdError
from aam_nb.study.study import Study


@pytest.fixture(scope="module")
def asvs(sides: tuple[Study, Study]) -> list[str]:
    """Three that several test samples hold."""
    return list(sides[1].prevalence.sort_values(ascending=False).index[2:5])


@torch.no_grad()
def predicted(model: aam.AAM, study: Study, change: dict[str, list[int]]) -> pd.Series:
    """Predictions of age with other tokens for some ASVs, from tokens to the end."""
    task, found = model.require_task(), {}
    for batch, _ in model.batches(study):
        tokens = torch.from_numpy(tokenize(study.asv_ids[batch.asv_N]))
        for n, asv in enumerate(study.asv_ids[batch.asv_N]):
            if asv in change:
                tokens[n, : len(asv)] = torch.tensor(change[asv], dtype=tokens.dtype)
        here = replace(batch, tokens_NL=tokens)
        outputs = task.outputs(task(model.network.encoder(here)), here)[:, 0]
        found |= dict(zip(batch.sample_ids, outputs.tolist(), strict=True))
    return pd.Series(found).loc[study.sample_ids]


def test_they_sum_to_what_the_letters_add(fitted: aam.AAM, sides: tuple[Study, Study], asvs: list[str]) -> None:
    test = sides[1]
    found = attribute(fitted, test, level="nucleotide", asvs=asvs)
    hidden = predicted(fitted, test, {a: [MASK] * len(a) for a in asvs})
    np.testing.assert_allclose(found.check["prediction"], fitted.predict(test)["age"], rtol=1e-5)
    np.testing.assert_allclose(found.check["reference"], hidden, rtol=1e-4)
    total = np.asarray(found.values.sum(1)).ravel()
    change = fitted.predict(test)["age"] - hidden
    assert (abs(total - change) <= 0.01 * np.maximum(abs(change), abs(change).median())).all()
    assert abs(change).max() > 0.01
    # A sample that lacks an ASV has none of its letters.
    lacks = test.table.toarray()[:, test.asv_ids.get_indexer(asvs)] == 0
    dense = found.values.toarray().reshape(test.num_samples, len(asvs), -1)
    assert not dense[lacks].any()
    assert found.features["letter"].str.cat() == "".join(asvs)
    assert found.features["position"].tolist() == [*range(1, 41)] * 3


def test_asvs_of_other_lengths_and_scales(study: Study) -> None:
    """Patches of letters, a coarser scale, and ASVs of unlike lengths: padding gets nothing and sums still hold."""
    cut = [a[: 40 - 3 * (k % 4)] for k, a in enumerate(study.asv_ids)]
    keep = ~pd.Index(cut).duplicated()
    ragged = replace(
        study.keep_asvs(keep), asv_ids=pd.Index([a for a, k in zip(cut, keep, strict=True) if k]), tree=None, truth=None
    )
    shape = replace(TINY, scales=(2, 8), window=9)
    model = aam.AAM(shape).fit(ragged, target="age", config=QUICK)
    few = ragged.keep_samples(ragged.sample_ids[:5])
    held = few.asv_ids[few.prevalence > 0][:4].tolist()
    found = attribute(model, few, level="nucleotide", asvs=held)
    assert found.values.shape[1] == sum(map(len, held))
    np.testing.assert_allclose(
        found.check["reference"], predicted(model, few, {a: [MASK] * len(a) for a in held}), rtol=1e-4
    )
    assert found.largest_gap <= 0.01


def test_gradients_are_those_of_a_letter_that_fades(
    fitted: aam.AAM, sides: tuple[Study, Study], asvs: list[str]
) -> None:
    """Central differences: a token of its own, moved from the letter towards the mask, at one position."""
    one = sides[1].keep_samples(
        sides[1].sample_ids[sides[1].table.toarray()[:, sides[1].asv_ids.get_loc(asvs[0])] > 0][:1]
    )
    found = attribute(fitted, one, level="nucleotide", asvs=asvs[:1], method="gradient_x_input")
    model = fitted.with_network(copy.deepcopy(fitted.network).double())
    token = model.network.encoder.asv.token.weight
    own, spare = tokenize(asvs[:1])[0].tolist(), 15
    values = found.values.toarray()[0]
    for position in (0, 7, 39):
        letter, answers = token[own[position]].detach().clone(), []
        for step in (1e-4, -1e-4):
            with torch.no_grad():
                token[spare] = letter + step * (letter - token[MASK])
            changed = [*own[:position], spare, *own[position + 1 :]]
            answers.append(predicted(model, one, {asvs[0]: changed}).item())
        want = (answers[0] - answers[1]) / 2e-4
        assert values[position] == pytest.approx(want, rel=1e-2, abs=2e-4 * abs(values).max())


def test_mutations_are_predictions_of_a_mutated_study(
    fitted: aam.AAM, sides: tuple[Study, Study], asvs: list[str]
) -> None:
    test = sides[1]
    found = attribute(fitted, test, level="nucleotide", asvs=asvs[:1], method="occlusion")
    before, asv, at = fitted.predict(test)["age"], asvs[0], 11
    column = test.asv_ids.get_loc(asv)
    holds = test.table.toarray()[:, column] > 0
    losses = {}
    for letter in set("ACGT") - {asv[at]}:
        ids = test.asv_ids.to_numpy(dtype=object, copy=True)
        ids[column] = asv[:at] + letter + asv[at + 1 :]
        mutated = replace(test, asv_ids=pd.Index(ids), tree=None)
        losses[letter] = before - fitted.predict(mutated)["age"]
    dense = pd.DataFrame(found.values.toarray(), index=found.sample_ids)
    np.testing.assert_allclose(dense[at], pd.DataFrame(losses).mean(axis=1), atol=1e-4)
    assert found.mutations is not None
    row = found.mutations.iloc[at]
    assert row[asv[at]] == 0
    for letter, loss in losses.items():
        assert row[letter] == pytest.approx(loss[holds].mean(), abs=1e-4)
    assert found.check["reference"].isna().all()
    assert np.isnan(found.largest_gap)


def test_the_most_important_are_chosen_where_none_are_named(fitted: aam.AAM, sides: tuple[Study, Study]) -> None:
    few = sides[1].keep_samples(sides[1].sample_ids[:4])
    found = attribute(fitted, few, level="nucleotide", method="gradient_x_input", top=2)
    best = attribute(fitted, few, method="gradient_x_input").by_asv().index[:2]
    assert found.asv_ids.tolist() == best.tolist()
    assert found.by_feature()["asv_id"].isin(best).all()


def test_what_is_no_asv_is_refused(fitted: aam.AAM, sides: tuple[Study, Study], asvs: list[str]) -> None:
    few = sides[1].keep_samples(sides[1].sample_ids[:1])
    lost = few.asv_ids[few.prevalence == 0][0]
    with pytest.raises(UnknownIdError, match="1 of 1 ASVs are not in the study"):
        attribute(fitted, few, level="nucleotide", asvs=["ACGT"])
    with pytest.raises(ExplainError, match="no sample holds"):
        attribute(fitted, few, level="nucleotide", asvs=[lost])
    with pytest.raises(ExplainError, match="one is named twice"):
        attribute(fitted, sides[1], level="nucleotide", asvs=asvs[:1] * 2)
    with pytest.raises(ExplainError, match="Expected a list of ASVs"):
        attribute(fitted, few, level="nucleotide", asvs=asvs[0])


@pytest.mark.parametrize("method", ["integrated_gradients", "gradient_x_input", "occlusion"])
def test_samples_that_hold_none_of_them_have_none(fitted: aam.AAM, sides: tuple[Study, Study], method: str) -> None:
    """Also where these fill whole batches."""
    test = sides[1]
    rare = test.prevalence[test.prevalence == 1].index[:1].tolist()
    found = attribute(fitted, test, level="nucleotide", asvs=rare, method=method)
    holds = test.table.toarray()[:, test.asv_ids.get_loc(rare[0])] > 0
    assert (np.diff(found.values.indptr) == np.where(holds, len(rare[0]), 0)).all()
    assert (found.check.loc[~holds, "sum"] == 0).all()
    assert not found.complete or found.largest_gap < 0.01, "also where the median sample has no change"
    if method != "occlusion":
        np.testing.assert_allclose(found.check.loc[~holds, "reference"], found.check.loc[~holds, "prediction"])
