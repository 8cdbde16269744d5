"""Where memory runs out: every method, level and view of attention computes less at once to the same result, or says what to set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import QUICK, TINY

import aam_nb as aam
from aam_nb.config import MemoryNotice, MemoryShortageError
from aam_nb.explain import attention, attribute, faithfulness, uniform_control
from aam_nb.study.study import Study

TORCH = "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
GRADIENTS, ALL = (
    ("integrated_gradients", "gradient_x_input"),
    ("integrated_gradients", "gradient_x_input", "shapley", "occlusion"),
)
CELLS = [
    *[(level, method) for level in ("asv", "taxon", "covariate") for method in ALL],
    *[(level, method) for level in ("clade", "nucleotide") for method in (*GRADIENTS, "occlusion")],
]


@pytest.fixture(scope="module")
def model(sides: tuple[Study, Study]) -> aam.AAM:
    return aam.AAM(TINY).fit(sides[0], target="age", covariates=["season"], config=QUICK)


@pytest.fixture(scope="module")
def few(sides: tuple[Study, Study]) -> Study:
    test = sides[1].keep_samples(sides[1].sample_ids[:2])
    test = test.keep_asvs(test.prevalence.sort_values(ascending=False, kind="stable").index[:12])
    phylum = np.random.default_rng(3).choice(["Firmicutes", "Bacteroidota"], size=test.num_asvs)
    return replace(test, taxonomy=pd.DataFrame({"phylum": phylum}, index=test.asv_ids))


@contextmanager
def room_for(model: aam.AAM, slots: int) -> Iterator[None]:
    """Memory for so many samples x ASVs at once in the stage of samples; beyond them torch's own words."""

    def allocate(module: torch.nn.Module, given: tuple[Any, ...]) -> None:
        if given[0].shape[0] * given[0].shape[1] > slots:
            raise RuntimeError(TORCH)

    hook = model.network.encoder.sample.register_forward_pre_hook(allocate)
    try:
        yield
    finally:
        hook.remove()


@pytest.mark.parametrize(("level", "method"), CELLS)
def test_attributions_are_made_in_smaller_parts_to_the_same_result(
    model: aam.AAM, few: Study, level: str, method: str
) -> None:
    settings: dict[str, Any] = {"level": level, "method": method, "orders": 2}
    if level == "nucleotide":
        settings["asvs"] = [few.asv_ids[0]]
    whole = attribute(model, few, **settings)
    outputs = 4 if method == "integrated_gradients" else 1  # at once; of so many points, one by one takes long
    with (
        room_for(model, outputs * int(few.richness.max())),
        pytest.warns(MemoryNotice, match="Results stay the same"),
    ):
        in_parts = attribute(model, few, **settings)
    atol = 1e-6 * whole.check["prediction"].abs().max()
    np.testing.assert_allclose(in_parts.values.toarray(), whole.values.toarray(), rtol=0, atol=atol)
    np.testing.assert_allclose(in_parts.check["prediction"], whole.check["prediction"], rtol=1e-6)
    words = r"Memory ran out while explaining samples of up to \d+ ASVs, one output at a time.*`--max-tokens 1024`"
    # The class that is explained is looked up before, so there is room for a sample, but not for what is asked of it.
    with room_for(model, 0), pytest.raises(MemoryShortageError, match=words):
        attribute(model, few, **settings)


def test_the_bound_is_a_setting(model: aam.AAM, few: Study) -> None:
    largest = int(few.richness.max())
    with room_for(model, largest):  # and no notice, which would be an error
        attribute(model, few, max_tokens=largest)


def test_checks_are_made_in_smaller_parts(model: aam.AAM, few: Study) -> None:
    settings: dict[str, Any] = {
        "draws": 0,
        "seeds": 0,
        "shuffles": 0,
        "num_random": 1,
        "num_subsets": 4,
        "num_changes": 1,
    }
    attributions = attribute(model, few)
    whole = faithfulness(attributions, **settings).table["value"]
    with room_for(model, 4 * int(few.richness.max())), pytest.warns(MemoryNotice):
        in_parts = faithfulness(attributions, **settings).table["value"]
    np.testing.assert_allclose(in_parts, whole, rtol=1e-4, atol=1e-5)


def test_predictions_and_even_attention_are_made_in_smaller_parts(model: aam.AAM, few: Study) -> None:
    whole, even, vectors = model.predict(few), uniform_control(model, few).changes, model.embed(few)
    with room_for(model, int(few.richness.max())), pytest.warns(MemoryNotice):
        in_parts = model.predict(few), uniform_control(model, few).changes, model.embed(few)
    np.testing.assert_allclose(in_parts[0]["age"], whole["age"], rtol=1e-6)
    np.testing.assert_allclose(in_parts[1]["change"], even["change"], rtol=1e-4)
    np.testing.assert_allclose(in_parts[2], vectors, atol=1e-5)
    for verb in (lambda: model.predict(few), lambda: model.embed(few), lambda: uniform_control(model, few)):
        with (
            room_for(model, 0),
            pytest.raises(MemoryShortageError, match="Memory ran out while computing samples of up to"),
        ):
            verb()


@pytest.mark.parametrize("levels", [("pooling",), ("asv", "pooling"), ("nucleotide",)])
def test_views_of_attention_say_what_to_set(model: aam.AAM, few: Study, levels: tuple[Any, ...]) -> None:
    with room_for(model, 0), pytest.raises(MemoryShortageError, match=r"Memory ran out while .*Use `"):
        attention(model, few, samples=few.sample_ids[:2], levels=levels)


def test_attributions_that_are_no_numbers_are_refused(model: aam.AAM, few: Study) -> None:
    hook = model.network.encoder.sample.register_forward_hook(lambda module, given, out: (out[0] * torch.nan, out[1]))
    try:
        with pytest.raises(aam.explain.ExplainError, match="of 2 of 2 samples are not finite numbers"):
            attribute(model, few, method="occlusion")
    finally:
        hook.remove()


@pytest.mark.parametrize("method", ALL)
def test_one_sample_of_one_asv(model: aam.AAM, few: Study, method: str) -> None:
    one = few.keep_samples(few.sample_ids[:1])
    one = one.keep_asvs(one.asv_ids[[int(one.table.toarray()[0].argmax())]])
    attributions = attribute(model, one, method=method)
    assert attributions.values.shape == (1, 1)
    assert np.isfinite(attributions.values.data).all()
    assert len(attributions.by_feature()) == 1
