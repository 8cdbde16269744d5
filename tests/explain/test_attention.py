"""Attention of the pooling level, against a plain numpy forward pass."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import erf, softmax

import aam_nb as aam
from aam_nb.study.study import Study, UnknownIdError
from aam_nb.train.estimator import NotFittedError

Array = npt.NDArray[np.float64]
TOKEN = "(sample token)"


def by_hand(model: aam.AAM, sample: str, study: Study) -> tuple[list[str], Array, Array]:
    """Members, pooling weights (heads x members) and vector of one sample, from weights alone, in float64."""
    w = {k.removeprefix("encoder.sample."): v.detach().double().numpy() for k, v in model.network.state_dict().items()}
    H, D = model.config.num_attn_heads, model.config.width

    def linear(x: Array, name: str) -> Array:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(x: Array, name: str) -> Array:
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * w[f"{name}.weight"] + w[
            f"{name}.bias"
        ]

    def gelu(x: Array) -> Array:
        return x * (1 + erf(x / np.sqrt(2))) / 2

    def heads(x: Array) -> Array:
        return x.reshape(len(x), H, D // H).transpose(1, 0, 2)

    reads = study.table.toarray()[study.sample_ids.get_loc(sample)]
    held = np.flatnonzero(reads)
    share = np.log10(reads[held] / reads.sum())[:, None] + 2
    asvs = model.embed_asvs(list(study.asv_ids[held])).to_numpy(dtype=float)
    x = np.concatenate([w["sample_token"][0], asvs + linear(gelu(linear(share, "abundance.0")), "abundance.2")])
    for k in range(model.config.num_layers):
        q, key, v = (
            heads(part)
            for part in np.split(linear(norm(x, f"blocks.{k}.norm_1"), f"blocks.{k}.attention.qkv"), 3, axis=1)
        )
        mixed = softmax(q @ key.transpose(0, 2, 1) / np.sqrt(D // H), axis=-1) @ v
        x = x + linear(mixed.transpose(1, 0, 2).reshape(len(x), D), f"blocks.{k}.attention.out")
        x = x + linear(gelu(linear(norm(x, f"blocks.{k}.norm_2"), f"blocks.{k}.mlp.0")), f"blocks.{k}.mlp.2")
    key, v = (heads(part) for part in np.split(linear(norm(x, "norm"), "pool.kv"), 2, axis=1))
    weights = softmax((w["pool.query"][0] @ key.transpose(0, 2, 1))[:, 0] / np.sqrt(D // H), axis=-1)
    pooled = np.einsum("hk,hkd->hd", weights, v).reshape(1, D)
    return [TOKEN, *study.asv_ids[held]], weights, norm(linear(pooled, "pool.out"), "norm_out")[0]


def test_weights_and_vectors_equal_a_forward_pass_by_hand(fitted: aam.AAM, sides: tuple[Study, Study]) -> None:
    test = sides[1]
    chosen = [test.sample_ids[7], test.sample_ids[0], test.sample_ids[4]]
    maps, vectors = aam.explain.attention(fitted, test, samples=chosen), fitted.embed(test)
    assert list(maps.pooling) == chosen
    for sample in chosen:
        members, weights, vector = by_hand(fitted, sample, test)
        table = maps.pooling[sample].loc[members]
        np.testing.assert_allclose(table.filter(like="head_").to_numpy().T, weights, atol=1e-5)
        np.testing.assert_allclose(table["mean"], weights.mean(0), atol=1e-5)
        np.testing.assert_allclose(vectors.loc[sample], vector, atol=1e-4)


def test_tables_hold_every_asv_and_the_token_and_sum_to_one(fitted: aam.AAM, sides: tuple[Study, Study]) -> None:
    test = sides[1]
    maps = aam.explain.attention(fitted, test, samples=list(test.sample_ids))
    for i, sample in enumerate(test.sample_ids):
        table = maps.pooling[sample]
        assert sorted(table.index) == sorted([TOKEN, *test.asv_ids[test.table.toarray()[i] > 0]])
        np.testing.assert_allclose(table.sum(), 1, atol=1e-5)
        assert table["mean"].is_monotonic_decreasing
    frame = maps.to_frame()
    assert len(frame) == test.table.nnz + test.num_samples
    assert frame.index.unique().tolist() == test.sample_ids.tolist()
    assert "not an importance" in repr(maps)


def test_looking_changes_nothing(fitted: aam.AAM, sides: tuple[Study, Study]) -> None:
    before = fitted.predict(sides[1])
    aam.explain.attention(fitted, sides[1], samples=sides[1].sample_ids[:2].tolist())
    assert fitted.predict(sides[1]).equals(before)


def test_unknown_samples_and_untrained_models_are_refused(fitted: aam.AAM, sides: tuple[Study, Study]) -> None:
    with pytest.raises(UnknownIdError, match=r"1 of 1 samples are not in the study \(S9999\)"):
        aam.explain.attention(fitted, sides[1], samples=["S9999"])
    with pytest.raises(NotFittedError):
        aam.explain.attention(aam.AAM(), sides[1], samples=sides[1].sample_ids[:1].tolist())
