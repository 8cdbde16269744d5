"""Attention at each level, against a plain numpy forward pass, plain loops and torch's fused attention."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
import torch.nn.functional as F
from by_hand import TOKEN, ByHand
from conftest import QUICK
from scipy import sparse

import aam_nb as aam
from aam_nb.batch.tokens import tokenize
from aam_nb.config import AttentionConfig, ConfigError
from aam_nb.explain.attention.heads import NOT_IMPORTANCE
from aam_nb.explain.attention.maps import LEVELS, AttentionMaps, attention
from aam_nb.model import layers
from aam_nb.model.encoder import LengthError, Maps
from aam_nb.study.errors import EmptySampleError, UnknownIdError
from aam_nb.study.study import Study
from aam_nb.train.estimator import NotFittedError

CLOSE = {"atol": 1e-5}


@pytest.fixture(scope="module")
def two_layers(sides: tuple[Study, Study]) -> aam.AAM:
    """Two layers over patches of four."""
    config = aam.ModelConfig(width=16, num_layers=2, num_attn_heads=2)
    return aam.AAM(config).fit(sides[0], target="age", config=QUICK)


@pytest.fixture(scope="module")
def rich(sides: tuple[Study, Study]) -> aam.AAM:
    """Two scales with a window, learned positions that end in the middle of a patch, covariates as tokens, quantiles."""
    config = aam.ModelConfig(
        width=16, num_layers=2, num_attn_heads=2, scales=(1, 3), window=3, positions="learned", learned_length=41
    )
    target = aam.Quantiles("age", quantiles=(0.1, 0.5, 0.9))
    return aam.AAM(config).fit(sides[0], target=target, covariates=["diet", "season"], config=QUICK)


@pytest.fixture(scope="module")
def whole(two_layers: aam.AAM, sides: tuple[Study, Study]) -> AttentionMaps:
    """All there is of three samples."""
    return attention(two_layers, sides[1], samples=sides[1].sample_ids[[7, 0, 4]].tolist(), top=200)


# -- the same as was computed -----------------------------------------------------------------------------------------------


def test_weights_and_vectors_equal_a_forward_pass_by_hand(
    two_layers: aam.AAM, whole: AttentionMaps, sides: tuple[Study, Study]
) -> None:
    test, oracle = sides[1], ByHand(two_layers)
    chosen, vectors = test.sample_ids[[7, 0, 4]].tolist(), two_layers.embed(test)
    assert list(whole.pooling) == list(whole.asv) == chosen
    for sample in chosen:
        right = oracle.sample(sample, test)
        table = whole.pooling[sample].loc[right.names]
        np.testing.assert_allclose(table.filter(like="head_").to_numpy().T, right.pool, **CLOSE)
        np.testing.assert_allclose(table["mean"], right.pool.mean(0), **CLOSE)
        np.testing.assert_allclose(vectors.loc[sample], right.vector, atol=1e-4)
        for k, weights in enumerate(right.layers):
            for h in range(2):
                found = whole.asv[sample].head(k + 1, h + 1).loc[right.names, right.names]
                np.testing.assert_allclose(found, weights[h], **CLOSE)


def test_nucleotide_maps_equal_a_forward_pass_by_hand(two_layers: aam.AAM, whole: AttentionMaps) -> None:
    oracle, asvs = ByHand(two_layers), list(whole.nucleotide)
    assert len(asvs) == 8
    np.testing.assert_allclose(two_layers.embed_asvs(asvs), oracle.asvs(asvs), atol=1e-4)
    for asv in asvs[:3]:
        right = oracle.asv(asv)
        np.testing.assert_allclose(whole.nucleotide[asv].weights, np.stack(right.layers), **CLOSE)
        table = whole.nucleotide_pooling[asv]
        np.testing.assert_allclose(table[["head_1", "head_2"]].to_numpy().T, right.pool, **CLOSE)
        assert table.index.tolist() == [f"{k}-{k + 3}" for k in range(1, 41, 4)]


def test_maps_are_those_of_the_whole_encoder_at_several_scales_and_lengths(rich: aam.AAM) -> None:
    """ASVs are looked into without the reference: along the path that encodes them, with it, the weights are the same."""
    asvs = ["ACGTTGCAAGGT" * 3, "ACGTTGCAAGGTA", "CCAGT" * 8]
    study = Study(sparse.csr_array(np.ones((1, 3), int)), pd.Index(["s"]), pd.Index(asvs), pd.DataFrame(index=["s"]))
    found = attention(rich, study, samples=["s"], asvs=asvs, levels="nucleotide")
    maps, encoder = Maps(), rich.network.encoder.asv
    with torch.no_grad():
        vectors = encoder(torch.from_numpy(tokenize(asvs)), maps)[0]
    np.testing.assert_allclose(vectors, rich.embed_asvs(asvs), **CLOSE)
    R = len(encoder.reference_ids)
    for n, asv in enumerate(asvs):
        P = -(-len(asv) // 3)
        expected = np.stack([m[R + n, :, :P, :P].numpy() for m in maps.nucleotide or []])
        np.testing.assert_allclose(found.nucleotide[asv].weights, expected, **CLOSE)
        pool = maps.nucleotide_pool[0][R + n, :, 0, :P].numpy()
        np.testing.assert_allclose(found.nucleotide_pooling[asv].iloc[:, :-1].to_numpy().T, pool, **CLOSE)
        np.testing.assert_allclose(found.nucleotide[asv].weights.sum(-1), 1, **CLOSE)
    assert found.nucleotide[asvs[1]].names.tolist() == ["1-3", "4-6", "7-9", "10-12", "13"]
    assert found.pooling == {}


@pytest.mark.parametrize("kind", ["two_layers", "rich"])
def test_the_open_path_gives_what_the_fused_path_gives(
    kind: str, request: pytest.FixtureRequest, sides: tuple[Study, Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = request.getfixturevalue(kind)
    monkeypatch.setattr(layers, "SHORT", 0)  # few keys are computed openly on a CPU in any case
    for batch, asv_ND in model.batches(sides[1]):
        with torch.no_grad():
            fused, opened = (model.network.encoder(batch, asv_ND=asv_ND, maps=m) for m in (None, Maps()))
            partly = model.network.encoder(batch, asv_ND=asv_ND, maps=Maps(asv=None))
        for other in (opened, partly):
            torch.testing.assert_close(fused.sample_BD, other.sample_BD, rtol=1e-5, atol=1e-5)
        tokens = batch.tokens_NL
        with torch.no_grad():
            torch.testing.assert_close(
                *(model.network.encoder.asv(tokens, m)[0] for m in (None, Maps())), rtol=1e-4, atol=1e-4
            )


@pytest.mark.parametrize("masked", [False, True])
def test_weights_are_those_of_torchs_fused_attention(masked: bool) -> None:
    """Values that are the identity make the fused attention give its weights away."""
    generator = torch.Generator().manual_seed(3)
    q, k = torch.randn(2, 3, 2, 9, 4, generator=generator).unbind(0)
    mask = torch.rand(3, 1, 1, 9, generator=generator) < 0.7 if masked else None
    if mask is not None:
        mask[..., 0] = True
    seen: list[torch.Tensor] = []
    identity = torch.eye(9).expand(3, 2, 9, 9)
    layers.attend(q, k, identity, mask, seen)
    torch.testing.assert_close(seen[0], F.scaled_dot_product_attention(q, k, identity, attn_mask=mask))


# -- what is kept --------------------------------------------------------------------------------------------------------------


def test_rows_sum_to_one_at_all_levels(rich: aam.AAM, sides: tuple[Study, Study]) -> None:
    samples = sides[1].sample_ids[:3].tolist()
    for top in (5, 200):
        maps = attention(rich, sides[1], samples=samples, top=top)
        for sample in samples:
            np.testing.assert_allclose(maps.pooling[sample].sum(), 1, **CLOSE)
            np.testing.assert_allclose(maps.asv[sample].weights.sum(-1), 1, **CLOSE)
            assert maps.asv[sample].names[:3].tolist() == [TOKEN, "(diet)", "(season)"]
            assert maps.rollout(sample).sum() == pytest.approx(1, abs=1e-5)
        for asv in maps.nucleotide:
            np.testing.assert_allclose(maps.nucleotide[asv].weights.sum(-1), 1, **CLOSE)
            np.testing.assert_allclose(maps.nucleotide_pooling[asv].sum(), 1, **CLOSE)
            assert maps.rollout(asv, level="nucleotide").sum() == pytest.approx(1, abs=1e-5)


def test_the_most_attended_are_kept_and_the_others_are_one(
    two_layers: aam.AAM, whole: AttentionMaps, sides: tuple[Study, Study]
) -> None:
    few = attention(two_layers, sides[1], samples=list(whole.pooling), levels=("asv",), top=4)
    for sample, full in whole.asv.items():
        table = whole.pooling[sample].drop(TOKEN)
        kept = [TOKEN, *table.index[:4]]
        others = [name for name in full.names if name not in kept]
        found = few.asv[sample]
        assert found.names.tolist() == [*kept, f"(other {len(others)} ASVs)"]
        row = few.kept.loc[sample]
        assert (row["asvs"], row["kept"]) == (len(table), 4)
        assert row["pooling"] == pytest.approx(table["mean"].iloc[:4].sum() / table["mean"].sum(), abs=1e-5)
        for layer in (1, 2):
            for head in (1, 2):
                a = full.head(layer, head)
                expected = np.block(
                    [
                        [a.loc[kept, kept].to_numpy(), a.loc[kept, others].sum(axis=1).to_numpy()[:, None]],
                        [a.loc[others, kept].mean().to_numpy()[None], a.loc[others, others].sum(axis=1).mean()],
                    ]
                )
                np.testing.assert_allclose(found.head(layer, head), expected, **CLOSE)
    assert "4 ASVs with most pooling attention" in few.rule
    assert whole.rule == ""
    assert few.pooling == {}
    assert (whole.kept["asvs"] == whole.kept["kept"]).all()


def test_rollout_is_a_plain_product_of_layers_whatever_is_kept(
    two_layers: aam.AAM, whole: AttentionMaps, sides: tuple[Study, Study]
) -> None:
    few = attention(two_layers, sides[1], samples=list(whole.pooling), levels=("asv", "pooling"), top=2)
    for sample, full in whole.asv.items():
        mixed = [0.5 * full.weights[k].mean(0).astype(float) + 0.5 * np.eye(len(full.names)) for k in range(2)]
        reached = np.zeros(len(full.names))
        pool = whole.pooling[sample]["mean"].loc[full.names].to_numpy()
        for i in range(len(reached)):
            for middle in range(len(reached)):
                reached += pool[i] * mixed[1][i, middle] * mixed[0][middle]
        for maps in (whole, few):
            found = maps.rollout(sample)
            assert found.is_monotonic_decreasing
            np.testing.assert_allclose(found.loc[full.names], reached, **CLOSE)
    asv = next(iter(whole.nucleotide))
    first, second = (0.5 * w.mean(0) + 0.5 * np.eye(10) for w in whole.nucleotide[asv].weights.astype(float))
    expected = whole.nucleotide_pooling[asv]["mean"].to_numpy() @ second @ first
    np.testing.assert_allclose(whole.rollout(asv, level="nucleotide"), expected, **CLOSE)


def test_asvs_looked_into_are_the_most_attended_or_those_named(
    fitted: aam.AAM, whole: AttentionMaps, sides: tuple[Study, Study]
) -> None:
    samples = list(whole.pooling)
    maps = attention(fitted, sides[1], samples=samples, top_nucleotide=3)
    total = sum(t["mean"].drop(TOKEN).reindex(sides[1].asv_ids, fill_value=0) for t in maps.pooling.values())
    assert list(maps.nucleotide) == total.sort_values(ascending=False).index[:3].tolist()
    named = sides[1].asv_ids[[5, 2]].tolist()
    assert list(attention(fitted, sides[1], samples=samples, asvs=[*named, named[0]]).nucleotide) == named


# -- tables ----------------------------------------------------------------------------------------------------------------------


def test_tables_hold_every_asv_and_the_token_and_sum_to_one(fitted: aam.AAM, sides: tuple[Study, Study]) -> None:
    test = sides[1]
    maps = attention(fitted, test, samples=list(test.sample_ids))
    for i, sample in enumerate(test.sample_ids):
        table = maps.pooling[sample]
        assert sorted(table.index) == sorted([TOKEN, *test.asv_ids[test.table.toarray()[i] > 0]])
        np.testing.assert_allclose(table.sum(), 1, **CLOSE)
        assert table["mean"].is_monotonic_decreasing
    frame = maps.to_frame()
    assert len(frame) == test.table.nnz + test.num_samples
    assert frame.index.unique().tolist() == test.sample_ids.tolist()
    alone = attention(fitted, test, samples=list(test.sample_ids), levels=("pooling",))  # many samples in a batch
    for sample in test.sample_ids:
        pd.testing.assert_frame_equal(alone.pooling[sample].sort_index(), maps.pooling[sample].sort_index(), atol=1e-6)


def test_frames_of_each_level_hold_the_maps(whole: AttentionMaps) -> None:
    sample, asv = next(iter(whole.asv)), next(iter(whole.nucleotide))
    for level, unit, maps in (("asv", sample, whole.asv), ("nucleotide", asv, whole.nucleotide)):
        frame = whole.to_frame(level)
        assert list(frame) == ["layer", "head", "query", "key", "attention"]
        assert len(frame) == sum(m.weights.size for m in maps.values())
        found = (
            frame.loc[unit].query("layer == 2 and head == 1").pivot(index="query", columns="key", values="attention")
        )
        names = maps[unit].names
        np.testing.assert_array_equal(found.loc[names, names], maps[unit].weights[1, 0])
    frame = whole.to_frame("nucleotide_pooling")
    assert list(frame) == ["position", "head_1", "head_2", "mean"]
    assert frame.index.unique().tolist() == list(whole.nucleotide)


def test_heads_are_means_over_samples(whole: AttentionMaps) -> None:
    table = whole.heads().set_index(["level", "layer", "head"])
    assert table.index.get_level_values("level").unique().tolist() == list(LEVELS)
    assert len(table) == 4 + 2 + 4 + 2
    assert table["n"].tolist() == [8] * 6 + [3] * 6
    table = table.sort_index()
    entropy = []
    for maps in whole.asv.values():
        rows = maps.weights[1, 0].astype(float)[1:]  # the token's row is no ASV's
        entropy.append(-(rows * np.log(rows)).sum(1).mean())
    assert table.at[("asv", 2, 1), "entropy"] == pytest.approx(np.mean(entropy), abs=1e-5)
    token = [t.at[TOKEN, "head_2"] for t in whole.pooling.values()]
    assert table.at[("pooling", 0, 2), "on_sample_token"] == pytest.approx(np.mean(token), abs=1e-6)
    assert table.loc["asv", "distance"].between(0, 2).all()
    assert len(whole.statistics) == 8 * 6 + 3 * 6


def test_without_a_tree_there_are_no_distances(fitted: aam.AAM, sides: tuple[Study, Study]) -> None:
    bare = replace(sides[1], tree=None)
    maps = attention(fitted, bare, samples=bare.sample_ids[:2].tolist(), levels=("asv",))
    assert maps.heads()["distance"].isna().all()


def test_similarity_is_a_mean_of_correlations(whole: AttentionMaps) -> None:
    expected = np.mean([np.corrcoef(m.weights.reshape(4, -1)) for m in whole.asv.values()], axis=0)
    found = whole.similarity("asv")
    assert found.index.tolist() == ["layer_1_head_1", "layer_1_head_2", "layer_2_head_1", "layer_2_head_2"]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    pooled = np.mean([np.corrcoef(t[["head_1", "head_2"]].T) for t in whole.pooling.values()], axis=0)
    np.testing.assert_allclose(whole.similarity("pooling"), pooled, atol=1e-6)
    assert np.diag(whole.similarity("nucleotide")) == pytest.approx(1)


def test_every_view_says_what_attention_is_not(whole: AttentionMaps) -> None:
    sample, asv = next(iter(whole.asv)), next(iter(whole.nucleotide))
    frames = [whole.to_frame(level) for level in LEVELS]
    frames += [whole.heads(), whole.similarity(), whole.rollout(sample), whole.rollout(asv, level="nucleotide")]
    frames += [whole.pooling[sample], whole.nucleotide_pooling[asv], whole.asv[sample].head(1, 1)]
    frames += [whole.asv[sample].to_frame()]
    assert all(frame.attrs["caption"] == NOT_IMPORTANCE for frame in frames)
    for text in (whole.caption, repr(whole), whole._repr_html_(), repr(whole.asv[sample])):
        assert NOT_IMPORTANCE in text
    assert "\n" not in repr(whole)


def test_looking_changes_nothing(fitted: aam.AAM, sides: tuple[Study, Study]) -> None:
    before = fitted.predict(sides[1])
    attention(fitted, sides[1], samples=sides[1].sample_ids[:2].tolist())
    assert fitted.predict(sides[1]).equals(before)


# -- refusals --------------------------------------------------------------------------------------------------------------------


def test_unknown_samples_and_untrained_models_are_refused(fitted: aam.AAM, sides: tuple[Study, Study]) -> None:
    known = sides[1].sample_ids[:1].tolist()
    with pytest.raises(UnknownIdError, match=r"1 of 1 samples are not in the study \(S9999\)"):
        attention(fitted, sides[1], samples=["S9999"])
    with pytest.raises(NotFittedError):
        attention(aam.AAM(), sides[1], samples=known)
    with pytest.raises(EmptySampleError, match="has no samples"):
        attention(fitted, sides[1], samples=[])


def test_what_cannot_be_looked_at_is_refused(fitted: aam.AAM, sides: tuple[Study, Study]) -> None:
    known = sides[1].sample_ids[:1].tolist()
    with pytest.raises(UnknownIdError, match=r"1 of 2 ASVs are not in the study \(AAAA\)"):
        attention(fitted, sides[1], samples=known, asvs=[sides[1].asv_ids[0], "AAAA"])
    with pytest.raises(UnknownIdError, match="asvs is empty"):
        attention(fitted, sides[1], samples=known, asvs=[])
    with pytest.raises(ConfigError, match="asvs is given and levels is"):
        attention(fitted, sides[1], samples=known, asvs=[sides[1].asv_ids[0]], levels=("asv",))
    with pytest.raises(ConfigError, match="Expected one of nucleotide, asv, pooling"):
        attention(fitted, sides[1], samples=known, levels=("taxon",))
    with pytest.raises(ConfigError, match=r"top is 0\. Expected at least 1 ASV"):
        attention(fitted, sides[1], samples=known, top=0)
    with pytest.raises(ConfigError, match="each once"):
        AttentionConfig(levels=("asv", "asv"))
    with pytest.raises(ConfigError, match="num_permutations is 5"):
        AttentionConfig(num_permutations=5)


def test_what_was_not_gathered_is_refused(fitted: aam.AAM, sides: tuple[Study, Study]) -> None:
    sample = str(sides[1].sample_ids[0])
    maps = attention(fitted, sides[1], samples=[sample], levels=("pooling",))
    with pytest.raises(UnknownIdError, match=r"no maps of level 'asv'\. There are pooling"):
        maps.to_frame("asv")
    with pytest.raises(UnknownIdError, match="no maps of level 'taxon'"):
        maps.similarity("taxon")
    with pytest.raises(UnknownIdError, match="no rollout of level 'pooling'"):
        maps.rollout(sample, level="pooling")
    maps = attention(fitted, sides[1], samples=[sample], levels=("asv",))
    with pytest.raises(UnknownIdError, match="'S9999' is not among the 1 samples with maps of level 'asv'"):
        maps.rollout("S9999")
    with pytest.raises(UnknownIdError, match="no maps of level 'pooling'"):
        maps.plot(sample)


def test_too_long_an_asv_is_refused(rich: aam.AAM) -> None:
    long = "ACGT" * 40
    study = Study(sparse.csr_array([[3]]), pd.Index(["s"]), pd.Index([long]), pd.DataFrame(index=["s"]))
    with pytest.raises(LengthError, match="An ASV has 160 nucleotides"):
        attention(rich, study, samples=["s"], asvs=[long], levels=("nucleotide",))


# -- memory ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::aam_nb.train.study_check.StudyWarning")  # of ASVs that are made up
def test_a_sample_of_two_thousand_asvs_needs_one_layers_map_at_a_time(sides: tuple[Study, Study]) -> None:
    rng = np.random.default_rng(0)
    asvs = sorted({"".join(rng.choice(list("ACGT"), 40)) for _ in range(2000)})
    counts = sparse.csr_array(rng.integers(1, 100, size=(1, len(asvs))))
    study = Study(counts, pd.Index(["big"]), pd.Index(asvs), pd.DataFrame(index=["big"]))
    config = aam.ModelConfig(width=32, num_layers=5, num_attn_heads=8)
    model = aam.AAM(config).fit(sides[0], target="age", config=replace(QUICK, epochs=1))
    model.embed(study)  # what a prediction needs is there already
    process, done = psutil.Process(), threading.Event()
    before = highest = process.memory_info().rss

    def watch() -> None:
        nonlocal highest
        while not done.is_set():
            highest = max(highest, process.memory_info().rss)
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        maps = attention(model, study, samples=["big"], levels=("asv", "pooling"), top=50)
    finally:
        done.set()
        watcher.join()
    layer = 8 * 2001**2 * 4
    assert (
        highest - before < 3.5 * layer < 5 * layer
    )  # logits, weights, and the mean and rollout of heads; not five layers
    assert maps.asv["big"].weights.shape == (5, 8, 52, 52)
    np.testing.assert_allclose(maps.asv["big"].weights.sum(-1), 1, atol=1e-4)
    assert len(maps.pooling["big"]) == 2001
    assert maps.rollout("big").sum() == pytest.approx(1, abs=1e-4)
