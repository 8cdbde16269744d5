"""Engines that are other programs: the same numbers, and a clear refusal where one is absent."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_studies import METRICS, plain_unifrac, random_study, small_study

import aam_nb as aam
from aam_nb.diversity.engines import EngineError
from aam_nb.study.study import Study

OTHERS = [
    pytest.param(
        "ssu", marks=pytest.mark.skipif(shutil.which("ssu") is None, reason="ssu is not installed (unifrac-tools)")
    ),
    pytest.param(
        "unifrac", marks=pytest.mark.skipif(find_spec("unifrac") is None, reason="the package unifrac is not installed")
    ),
]


@pytest.mark.parametrize("engine", OTHERS)
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_every_metric_agrees_with_a_plain_loop(
    engine: str, tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    study, tree = random_study(seed, tmp_path_factory.getbasetemp())
    for how in METRICS:
        want = plain_unifrac(study, tree, **how)
        distances = aam.unifrac(study, engine=engine, cache=False, **how)
        np.testing.assert_allclose(distances.data, want, atol=1e-6, err_msg=str(how))
        single = aam.unifrac(study, engine=engine, cache=False, dtype="float32", **how)
        assert single.data.dtype == np.float32
        np.testing.assert_allclose(single.data, want, atol=1e-4, err_msg=str(how))


@pytest.mark.real
@pytest.mark.parametrize("engine", OTHERS)
@pytest.mark.parametrize("name", ["ecam", "infants_peru"])
def test_a_real_study_agrees_with_torch(engine: str, name: str, real_data: Path) -> None:
    stem = real_data / name / name
    study = aam.read_study(f"{stem}.biom", metadata=f"{stem}.tsv", tree=f"{stem}.nwk").filter(min_depth=1)
    for how in METRICS[:4]:
        ours, theirs = (aam.unifrac(study, engine=e, cache=False, **how) for e in ("torch", engine))
        assert ours.ids == theirs.ids
        np.testing.assert_allclose(ours.data, theirs.data, atol=1e-6, err_msg=str(how))


@pytest.mark.parametrize("engine", ["torch", "skbio", *OTHERS])
@pytest.mark.parametrize("metric", ["unweighted", "weighted_normalized", "weighted_unnormalized"])
@pytest.mark.parametrize(
    ("newick", "counts", "far"),
    [
        ("((A:0,C:0):0,G:0);", [[1, 0, 0], [0, 1, 0], [0, 0, 1]], 0),  # no length anywhere
        ("((A:0,C:0):0,G:1);", [[1, 0, 0], [0, 1, 0], [0, 0, 1]], 1),  # two samples that span no length
        ("(((A:1,C:1):0,G:1):2);", [[1, 0, 0], [1, 0, 0], [4, 0, 0]], 0),  # the same sample again
        ("((A:1,C:1)'k__B; p_''_X':0,G:1);", [[1, 0, 0]], 0),  # a sample alone
    ],
    ids=["no length", "no span", "identical", "alone"],
)
def test_corner_cases_by_hand(
    engine: str, metric: str, newick: str, counts: list[list[int]], far: float, tmp_path: Path
) -> None:
    study = small_study(newick, ["A", "C", "G"], counts, tmp_path)
    distances = aam.unifrac(study, metric=metric, engine=engine, cache=False).data
    n = len(counts)
    want = np.zeros((n, n))
    want[: n - 1, n - 1], want[n - 1, : n - 1] = far, far
    np.testing.assert_allclose(distances, want, atol=1e-12)


@pytest.mark.parametrize("engine", ["skbio", *OTHERS])
def test_a_tree_that_is_one_tip_has_no_branch(engine: str, tmp_path: Path) -> None:
    study = small_study("A;", ["A"], [[1], [5]], tmp_path)
    assert aam.unifrac(study, engine=engine, cache=False).data.tolist() == [[0, 0], [0, 0]]


def test_an_absent_program_is_refused_with_how_to_get_it(
    hand_study: Study, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        EngineError, match=r"no program `ssu`.*`conda install.*apt install unifrac-tools.*engine='torch'"
    ):
        aam.unifrac(hand_study, engine="ssu")


@pytest.mark.skipif(find_spec("unifrac") is not None, reason="the package unifrac is installed")
def test_an_absent_package_is_refused_with_how_to_get_it(hand_study: Study) -> None:
    with pytest.raises(EngineError, match=r"package unifrac is not installed.*conda install.*engine='torch'"):
        aam.unifrac(hand_study, engine="unifrac")


def test_a_program_that_fails_is_told(hand_study: Study, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "ssu"
    program.write_text("#!/bin/sh\necho 'out of memory' >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(EngineError, match=r"exit code 3 \(out of memory\).*engine='torch'"):
        aam.unifrac(hand_study, engine="ssu", cache=False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_an_absent_gpu_is_refused(hand_study: Study, tmp_path: Path) -> None:
    for call in (
        lambda: aam.unifrac(hand_study, device="cuda"),
        lambda: aam.unifrac_between(hand_study, hand_study, device="cuda"),
        lambda: aam.write_unifrac(hand_study, tmp_path / "d.h5", device="cuda"),
    ):
        with pytest.raises(EngineError, match=r"device is 'cuda'.*finds no GPU.*device='auto'"):
            call()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("how", METRICS, ids=str)
def test_a_gpu_gives_the_numbers_of_the_processor(how: dict[str, Any], study: Study) -> None:
    cpu, gpu = (aam.unifrac(study, device=d, block=7, cache=False, **how).data for d in ("cpu", "cuda"))
    np.testing.assert_allclose(gpu, cpu, atol=1e-12)


def test_scikit_bio_refuses_what_it_does_not_have(hand_study: Study) -> None:
    with pytest.raises(EngineError, match=r"'skbio'.*'generalized' with alpha 0\.5.*engine='torch'"):
        aam.unifrac(hand_study, metric="generalized", engine="skbio")
    whole = aam.unifrac(hand_study, metric="generalized", alpha=1.0, engine="skbio").data
    np.testing.assert_allclose(whole, aam.unifrac(hand_study, metric="weighted_normalized").data)


@pytest.mark.parametrize("engine", ["ssu", "skbio", "unifrac"])
def test_blocks_are_torchs(engine: str, hand_study: Study, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=rf"'{engine}'.*unifrac_between.*engine='torch'"):
        aam.unifrac_between(hand_study, hand_study, engine=engine)
    with pytest.raises(EngineError, match=rf"'{engine}'.*write_unifrac.*engine='torch'"):
        aam.write_unifrac(hand_study, tmp_path / "d.h5", engine=engine)
