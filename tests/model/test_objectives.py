"""Objectives without labels: their targets, losses and metrics, against numbers worked out without them; and a user's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import QUICK, TINY
from objective_cases import rich
from scipy import sparse
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from skbio.diversity import alpha_diversity, beta_diversity
from skbio.stats.composition import clr
from torch import Tensor, nn

import aam_nb as aam
from aam_nb.batch.batch import Batch, TargetMaker
from aam_nb.batch.batches import Batches
from aam_nb.model.encoder import States
from aam_nb.model.objectives import OBJECTIVES, ObjectiveError, make_objective, mean_loss
from aam_nb.study.study import Study

WIDE = aam.ModelConfig(width=8, num_layers=1, num_attn_heads=2)


def states(sample_BD: Tensor) -> States:
    """States of which only the samples' vectors are asked for."""
    return States(nucleotide_NPD=None, asv_ND=sample_BD, entry_BSD=sample_BD[:, None], sample_BD=sample_BD)


def batch_with(size: int = 0, **targets: Tensor) -> Batch:
    """A batch of which only size and targets are asked for."""
    none = torch.zeros(0, dtype=torch.long)
    rows = np.arange(size)
    return Batch(none, none, none, none, none, rows, rows[:0], tuple(map(str, rows)), targets)


def batch_of(study: Study, objective: aam.Objective, rows: list[int], **settings: Any) -> Batch:
    """A batch of some samples, as the objective's maker gives it."""
    config = aam.TrainConfig(asv_dropout=settings.pop("asv_dropout", 0.0), **settings)
    batches = Batches(study, config=config, makers=[objective.maker(study)], training=True, views=objective.views)
    return batches.make(np.array(rows), np.random.default_rng(0))


# -- nucleotides ------------------------------------------------------------------------------------------------------


def test_masked_nucleotides_are_compared_where_hidden() -> None:
    """A head that says C everywhere (log-odds 3 above the rest) is right in one of two hidden places."""
    objective = aam.MaskedNucleotides()
    objective.build(replace(WIDE, scales=(4,)))
    with torch.no_grad():
        objective.head.weight.zero_()
        objective.head.bias.copy_(torch.tensor([0.0, 3, 0, 0]).repeat(4))
    target = torch.tensor([[0, 2, 0, 0, 0, 0], [0, 0, 0, 0, 4, 0]])  # hidden: a C, a T
    seen = replace(states(torch.zeros(2, 8)), nucleotide_NPD=torch.zeros(2, 2, 8))
    weights = {"nucleotides": target, "nucleotides.weight": torch.tensor([1.0, 1.0, 2.0])}
    batch = replace(batch_with(3, **weights), asv_E=torch.tensor([0, 1, 1]), asv_N=np.array([5, 9]))
    prediction, truth = objective.compare(seen, batch)
    assert truth.tolist() == [1, 3]
    share = np.exp([0, 3, 0, 0]) / (np.exp(3) + 3)
    # The second ASV has the entries of weights 1 and 2: its guess counts 3.
    want = -(1 * np.log(share[1]) + 3 * np.log(share[3])) / 4
    assert mean_loss(objective, prediction, truth, batch).item() == pytest.approx(want, rel=1e-5)
    assert objective.count(batch) == 4
    assert objective.metrics(prediction.detach().numpy(), truth.numpy()) == {"accuracy": 0.5}


def test_each_asv_counts_by_the_weight_that_is_stated(study: Study) -> None:
    table = study.table[[4, 9, 30]].toarray()
    held = table.sum(0) > 0
    share = table / table.sum(1, keepdims=True)
    want = {"distinct": np.ones(held.sum()), "occurrences": (table > 0).sum(0)[held], "reads": share.mean(0)[held]}
    for weigh, weight in want.items():
        objective = aam.MaskedNucleotides(weigh=weigh)
        batch = batch_of(study, objective, [4, 9, 30])
        hidden = (batch.targets["nucleotides"] > 0).sum(1).numpy()
        assert objective.count(batch) == pytest.approx((weight * hidden).sum(), rel=1e-6)
        found = objective.weigh(batch)
        np.testing.assert_allclose(found, np.repeat(weight, hidden), rtol=1e-6)


@pytest.mark.parametrize("pattern", ["random", "span"])
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_about_the_stated_share_is_hidden_in_runs_of_the_stated_length(pattern: str, share: float) -> None:
    objective = aam.MaskedNucleotides(share, pattern, span=6)
    rng = np.random.default_rng(0)
    table = sparse.csr_array(np.ones((1, 400), dtype=np.int64))
    asvs = pd.Index(["".join(rng.choice(list("ACGT"), 150)) for _ in range(399)] + ["N" * 150])
    study = Study(table, pd.Index(["s"]), asvs, pd.DataFrame(index=["s"]))
    batch = batch_of(study, objective, [0])
    hidden = (batch.targets["nucleotides"] > 0).numpy()
    plain = hidden[batch.asv_N != 399]
    assert not hidden[batch.asv_N == 399].any()  # ambiguity codes are left as they are
    assert plain.mean() == pytest.approx(share, abs=0.01)
    assert plain[:, 0].mean() == pytest.approx(share, abs=0.08)  # as much at the ends
    assert plain[:, -1].mean() == pytest.approx(share, abs=0.08)
    started = plain[:, 1:50] & ~plain[:, :49]
    lengths = []
    for row, begin in zip(*np.nonzero(started), strict=True):
        run = plain[row, begin + 1 :]
        lengths.append(int(np.argmin(run)) if not run.all() else len(run))
    assert np.mean(lengths) == pytest.approx(6 if pattern == "span" else 1 / (1 - share), rel=0.08)
    tokens = batch.tokens_NL.numpy()
    assert (tokens[hidden] == 16).all()
    assert ((tokens == 16) == hidden).all()


# -- distances --------------------------------------------------------------------------------------------------------


@pytest.fixture
def unifrac() -> tuple[aam.UniFrac, np.ndarray, np.ndarray]:
    """The objective, samples' vectors, and a target whose diagonal and lower half must not be looked at."""
    rng = np.random.default_rng(0)
    objective = aam.UniFrac()
    objective.build(WIDE)
    nn.init.normal_(objective.head.weight, std=0.3)
    truth = np.full((5, 5), np.nan)
    truth[np.triu_indices(5, 1)] = rng.random(10)
    return objective, rng.normal(size=(5, 8)), truth


def test_unifrac_compares_pairs_of_the_upper_triangle_only(unifrac: tuple[aam.UniFrac, np.ndarray, np.ndarray]) -> None:
    objective, x, truth = unifrac
    batch = batch_with(5, unifrac=torch.tensor(truth))
    pair = objective.compare(states(torch.tensor(x, dtype=torch.float32)), batch)
    assert len(pair[0]) == len(pair[1]) == 10 == objective.count(batch)
    y = x @ objective.head.weight.detach().numpy().astype(float).T
    upper = np.triu_indices(5, 1)
    want = ((np.sqrt(cdist(y, y, "sqeuclidean") + 1e-6) - truth)[upper] ** 2).mean()
    assert mean_loss(objective, *pair, batch).item() == pytest.approx(want, rel=1e-5)


def test_unifrac_of_a_lone_sample_is_no_loss(unifrac: tuple[aam.UniFrac, np.ndarray, np.ndarray]) -> None:
    objective, x, truth = unifrac
    batch = batch_with(1, unifrac=torch.tensor(truth[:1, :1]))
    lone = objective.compare(states(torch.tensor(x[:1], dtype=torch.float32)), batch)
    assert mean_loss(objective, *lone, batch).item() == 0
    assert objective.count(batch) == 0  # and has no say in an average


def test_a_view_without_its_other_has_no_say() -> None:
    batch = replace(batch_with(5), sample_B=np.array([3, 3, 7, 9, 9]))
    assert aam.Contrastive().count(batch) == 4


@pytest.mark.parametrize("metric", ["unweighted", "weighted_normalized", "weighted_unnormalized", "generalized"])
def test_unifrac_targets_are_those_of_the_whole_matrix(metric: str, study: Study) -> None:
    """Of scikit-bio, where it has the metric; generalized by our own engine, which its own tests hold against a plain loop."""
    objective = aam.UniFrac(metric, alpha=0.25)
    assert objective.name == ("unifrac" if metric == "unweighted" else f"unifrac_{metric}")
    objective.learn(study)
    engine = "torch" if metric == "generalized" else "skbio"
    whole = aam.unifrac(study, metric=metric, alpha=0.25, engine=engine, cache=False).data
    rows = [3, 17, 40, 8, 21]
    found = batch_of(study, objective, rows).targets[objective.name].numpy() * objective.scale
    np.testing.assert_allclose(found, whole[np.ix_(rows, rows)], atol=1e-6)
    # Only the one in branch-length units is scaled: by the mean of all pairs, as the study is small.
    pairs = whole[np.triu_indices(len(whole), 1)]
    assert objective.scale == pytest.approx(pairs.mean() if metric == "weighted_unnormalized" else 1.0)


def test_targets_are_of_the_asvs_that_the_batch_shows(study: Study) -> None:
    for objective, metric in ((aam.UniFrac(), "unweighted_unifrac"), (aam.BetaDiversity(), "braycurtis")):
        batch = batch_of(study, objective, [1, 2, 3], asv_dropout=0.5)
        shown = batch.table(study.num_asvs).toarray()
        assert (shown > 0).sum() < (study.table[[1, 2, 3]].toarray() > 0).sum()
        if metric == "braycurtis":
            want = beta_diversity(metric, shown / shown.sum(1, keepdims=True), validate=False).data
        else:
            kept = replace(
                study.keep_samples(study.sample_ids[[1, 2, 3]]), table=batch.table(study.num_asvs).astype(np.int64)
            )
            want = aam.unifrac(kept, engine="skbio", cache=False).data
        np.testing.assert_allclose(batch.targets[objective.name], want, atol=1e-6)


def test_aitchison_is_scaled_by_its_mean(study: Study) -> None:
    objective = aam.BetaDiversity("aitchison")
    objective.learn(study)
    centred = clr(study.table[:].toarray() + 1)
    whole = cdist(centred, centred)
    assert objective.scale == pytest.approx(whole[np.triu_indices(len(whole), 1)].mean())
    batch = batch_of(study, objective, [5, 6, 47])
    want = whole[np.ix_([5, 6, 47], [5, 6, 47])] / objective.scale
    np.testing.assert_allclose(batch.targets["aitchison"], want, rtol=1e-5)
    found = objective.metrics(np.array([1.0, 2, 4]), np.array([1.5, 2, 3]))
    assert found["mae"] == pytest.approx(0.5 * objective.scale)
    assert found["r"] == pytest.approx(np.corrcoef([1, 2, 4], [1.5, 2, 3])[0, 1])


# -- two views --------------------------------------------------------------------------------------------------------


def test_nt_xent_by_the_formula_of_its_paper(study: Study) -> None:
    objective = aam.Contrastive(temperature=0.2)
    batch = batch_of(study, objective, [4, 9, 2, 7], asv_dropout=0.3)
    assert batch.sample_B.tolist() == [4, 4, 9, 9, 2, 2, 7, 7]
    objective.build(WIDE)
    x = torch.randn(8, 8)
    pair = objective.compare(states(x), batch)
    z = objective.head(x).detach().numpy().astype(float)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    s = z @ z.T / 0.2
    want, right = [], []
    for i in range(8):
        j = i ^ 1
        others = [k for k in range(8) if k != i]
        want.append(logsumexp(s[i, others]) - s[i, j])
        right.append(max(others, key=lambda k: s[i, k]) == j)
    assert mean_loss(objective, *pair, batch).item() == pytest.approx(np.mean(want), rel=1e-5)
    assert objective.metrics(*(p.detach().numpy() for p in pair)) == {"accuracy": np.mean(right)}


def test_views_that_are_the_same_and_unlike_all_others_are_told() -> None:
    objective = aam.Contrastive()
    objective.head = nn.Identity()
    same = torch.eye(4, dtype=torch.bool).repeat_interleave(2, 0).repeat_interleave(2, 1)
    pair = objective.compare(states(torch.eye(4).double().repeat_interleave(2, 0)), batch_with(8, contrastive=same))
    assert objective.metrics(*(p.numpy() for p in pair)) == {"accuracy": 1.0}
    # One row at cosine 1 and six at 0, divided by 0.1.
    assert objective.loss(*pair).numpy() == pytest.approx(np.log(1 + 6 * np.exp(-10)), rel=1e-3)


def test_a_batch_of_single_views_is_refused(study: Study) -> None:
    with pytest.raises(ObjectiveError, match=r"3 rows holds 3 samples.*views=2"):
        aam.Contrastive().maker(study)(replace(batch_with(3), sample_B=np.array([1, 2, 3])), np.random.default_rng(0))


# -- communities ------------------------------------------------------------------------------------------------------


def test_faith_pd_is_scikit_bios(study: Study) -> None:
    from io import StringIO

    from skbio import TreeNode

    tree = TreeNode.read(StringIO(study.require_tree().to_newick()), convert_underscores=False)
    objective = aam.FaithPD()
    objective.learn(study)
    batch = batch_of(study, objective, [0, 11, 30], asv_dropout=0.4)
    for s, rows, found in (
        (study.table[:], slice(None), None),
        (batch.table(study.num_asvs), slice(None), batch.targets["faith_pd"]),
    ):
        counts = s.toarray()[rows]
        want = alpha_diversity("faith_pd", counts, taxa=list(study.asv_ids), tree=tree, validate=False).to_numpy()
        if found is None:
            assert (objective.mean, objective.std) == pytest.approx((want.mean(), want.std()))
        else:
            np.testing.assert_allclose(found, (want - objective.mean) / objective.std, rtol=1e-4, atol=1e-5)
    metrics = objective.metrics(np.array([0.0, 1.0]), np.array([1.0, 1.0]))
    assert metrics["mae"] == pytest.approx(0.5 * objective.std)


def test_taxa_are_lineages_and_asvs_without_a_name_do_not_count(study: Study) -> None:
    study = rich(study)
    objective = aam.Taxonomy(("phylum", "genus"))
    objective.learn(study)
    assert objective.taxa["phylum"] == ["Bacteria; P0", "Bacteria; P1", "Bacteria; P2"]
    assert len(objective.taxa["genus"]) == 21  # seven genera, each in three phyla
    batch = batch_of(study, objective, [0, 1])
    target = batch.targets["taxonomy"].numpy()
    taxonomy = study.taxonomy
    assert taxonomy is not None
    here = taxonomy.iloc[batch.asv_N]
    assert ((target[:, 1] < 0) == here["genus"].isna()).all()
    for number, (_, row) in zip(target, here.iterrows(), strict=True):
        assert objective.taxa["phylum"][number[0]] == f"Bacteria; {row['phylum']}"
        if number[1] >= 0:
            assert objective.taxa["genus"][number[1]] == f"Bacteria; {row['phylum']}; {row['genus']}"
    assert objective.count(batch) == pytest.approx((target >= 0).sum())


def test_taxonomy_loss_and_accuracy_by_hand(study: Study) -> None:
    study = rich(study)
    objective = aam.Taxonomy(("phylum", "genus"))
    objective.learn(study)
    objective.build(WIDE)
    batch = batch_of(study, objective, [0, 1])
    asv_ND = torch.randn(len(batch.asv_N), 8)
    pair = objective.compare(replace(states(torch.zeros(2, 8)), asv_ND=asv_ND), batch)
    truth, losses, right = batch.targets["taxonomy"].numpy(), [], {"phylum": [], "genus": []}
    for r, rank in enumerate(objective.ranks):
        logits = objective.heads[rank](asv_ND).detach().numpy()
        for x, t in zip(logits, truth[:, r], strict=True):
            if t >= 0:
                losses.append(logsumexp(x) - x[t])
                right[rank].append(x.argmax() == t)
    assert mean_loss(objective, *pair, batch).item() == pytest.approx(np.mean(losses), rel=1e-5)
    found = objective.metrics(*(p.detach().float().numpy() for p in pair))
    assert found == pytest.approx({f"{rank}_accuracy": np.mean(hits) for rank, hits in right.items()})


def test_taxonomy_says_what_it_lacks(study: Study) -> None:
    with pytest.raises(ObjectiveError, match=r"no taxonomy.*--taxonomy taxonomy\.tsv"):
        aam.Taxonomy().learn(study)
    with pytest.raises(
        ObjectiveError, match=r"family is not a rank.*domain, phylum, genus.*ranks=\['phylum', 'genus'\]"
    ):
        aam.Taxonomy().learn(rich(study))
    with pytest.raises(ObjectiveError, match=r"fewer than two taxa at domain.*Taxonomy\(ranks=\['phylum'\]\)"):
        aam.Taxonomy(("domain", "phylum")).learn(rich(study))


def test_counts_are_hidden_and_never_all_of_a_sample(study: Study) -> None:
    objective = aam.Counts(share=0.9)
    objective.learn(study)
    table = study.table[:].tocoo()
    logs = np.log10(table.data / study.depth.to_numpy()[table.coords[0]])
    assert (objective.mean, objective.std) == pytest.approx((logs.mean(), logs.std()))
    batch = batch_of(study, objective, list(range(48)))
    assert batch.hidden_E is not None
    hidden = batch.hidden_E.numpy()
    by_sample = np.add.reduceat(hidden, batch.offsets_B1.numpy()[:-1].tolist())
    assert (by_sample < batch.offsets_B1.diff().numpy()).all()
    assert hidden.mean() == pytest.approx(0.9, abs=0.03)
    target = batch.targets["counts"].numpy()
    assert np.array_equal(~np.isnan(target), hidden)
    depth = np.repeat(study.depth.to_numpy(), batch.offsets_B1.diff().numpy())
    want = (np.log10(batch.counts_E.numpy() / depth) - objective.mean) / objective.std
    np.testing.assert_allclose(target[hidden], want[hidden], rtol=1e-4, atol=1e-5)
    rare = batch_of(study, aam.Counts(share=1e-9), [0, 1])
    assert rare.hidden_E is not None
    assert rare.hidden_E.sum() == 1


def test_a_lone_asv_is_hidden_only_where_there_is_no_other(hand_study: Study) -> None:
    counts = np.array([[7, 0, 0, 0], [0, 2, 5, 0], [0, 0, 9, 0]])
    study = replace(hand_study, table=sparse.csr_array(counts))
    for seed in range(20):
        maker = aam.Counts(share=1e-9).maker(study)
        for rows, among in (([0, 1, 2], {1, 2}), ([0, 2], {0, 1})):
            batch = Batches(study, config=QUICK).make(np.array(rows), np.random.default_rng(0))
            hidden = maker(batch, np.random.default_rng(seed)).hidden_E
            assert hidden is not None
            assert set(np.flatnonzero(hidden)) <= among
            assert hidden.sum() == 1


def test_counts_are_guessed_from_the_entry_in_its_slot(hand_study: Study) -> None:
    objective = aam.Counts(mean=0.0, std=1.0)
    objective.head = nn.Linear(1, 1)
    nn.init.ones_(objective.head.weight)
    nn.init.zeros_(objective.head.bias)
    batch = Batches(hand_study, config=QUICK).make(np.array([0, 1, 2]), np.random.default_rng(0))
    target = torch.tensor([torch.nan, 1.0, torch.nan, 2.0, 3.0, torch.nan])
    entry = torch.arange(6.0).view(3, 2, 1)
    seen = replace(states(torch.zeros(3, 1)), entry_BSD=entry)
    found = objective.compare(seen, batch.with_target("counts", target, axis="E"))
    assert found[0].tolist() == [1, 3, 4]
    assert found[1].tolist() == [1, 2, 3]


# -- training ---------------------------------------------------------------------------------------------------------


def test_all_objectives_train_together(study: Study) -> None:
    """Each loss falls, in one model of all of them."""
    names = ["unifrac", "nucleotides", "beta_diversity", "contrastive", "faith_pd", "taxonomy", "counts"]
    objectives = [make_objective(n) if n != "taxonomy" else aam.Taxonomy(("phylum",)) for n in names]
    objectives += [aam.UniFrac("generalized"), aam.BetaDiversity("aitchison")]
    config = aam.TrainConfig(epochs=8, batch_size=8, learning_rate=3e-3, progress=False)
    model = aam.AAM(TINY).pretrain(rich(study), objectives=objectives, config=config)
    history: Any = model.history
    for objective in objectives:
        loss = history[f"train_{objective.name}"].to_numpy()
        if objective.name == "taxonomy":  # the simulated phyla are random: their loss is learned by heart alone
            continue
        assert np.isfinite(loss).all()
        assert loss[-3:].mean() < loss[:2].mean(), objective.name


class LogDepth(aam.Objective):
    """A user's own: guess the log10 of a sample's reads."""

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__("log_depth", weight)

    def build(self, config: aam.ModelConfig) -> None:
        self.head = nn.Linear(config.width, 1)

    def maker(self, study: Study) -> TargetMaker:
        return lambda batch, rng: batch.with_target(self.name, batch.total_B.double().log10().float())

    def forward(self, states: States) -> Tensor:
        return self.head(states.sample_BD)[:, 0]

    def loss(self, prediction: Tensor, truth: Tensor) -> Tensor:
        return (prediction - truth).square().mean()

    def metrics(self, prediction: np.ndarray, truth: np.ndarray) -> dict[str, float]:
        return {"largest": float(truth.max())}


def test_a_users_own_objective_trains_beside_the_packages(
    sides: tuple[Study, Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, test = sides
    config = aam.TrainConfig(epochs=12, batch_size=8, learning_rate=5e-3, progress=False)
    model = aam.AAM(TINY).pretrain(train, objectives=["unifrac", LogDepth(weight=2.0)], config=config)
    history: Any = model.history
    np.testing.assert_allclose(
        history["train_loss"], 10 * history["train_unifrac"] + 2 * history["train_log_depth"], rtol=1e-4
    )
    assert history["train_log_depth"].iloc[-1] < 0.2 * history["train_log_depth"].iloc[0]
    assert (history["valid_log_depth_largest"] <= np.log10(train.depth.max()) + 1e-5).all()
    with pytest.raises(ObjectiveError, match="LogDepth is not a known objective"):
        model.save(tmp_path / "run")
    assert not (tmp_path / "run").exists()
    monkeypatch.setitem(OBJECTIVES, "log_depth", LogDepth)
    loaded = aam.load(model.save(tmp_path / "run"))
    pd.testing.assert_frame_equal(loaded.embed(test), model.embed(test), check_exact=True)


def test_an_objective_that_is_not_finished_says_what_it_lacks(sides: tuple[Study, Study]) -> None:
    class Empty(aam.Objective):
        pass

    with pytest.raises(NotImplementedError, match=r"Empty must say how its targets are made: define `maker\(study\)`"):
        aam.AAM(TINY).pretrain(sides[0], objectives=[Empty("empty")], config=QUICK)


def test_unknown_names_and_arguments_are_refused() -> None:
    with pytest.raises(
        ObjectiveError, match=r"'faith' is not an objective\. There are nucleotides, unifrac, beta_diversity"
    ):
        make_objective("faith")
    with pytest.raises(ObjectiveError, match=r"cannot be made from .*speed"):
        make_objective("unifrac", speed=3)
    with pytest.raises(ObjectiveError, match=r"fitted of Regression cannot be used: \['kind'\] are not the parts"):
        make_objective("regression", target="age", fitted={"groups": [], "transforms": [[{"kind": "power"}]]})
    with pytest.raises(
        ObjectiveError, match=r"'regression' cannot be made without a target\..*belongs to `fit`\. Use `model\.fit\("
    ):
        make_objective("regression")
    with pytest.raises(ObjectiveError) as error:
        make_objective("")
    assert "aitchison" in str(error.value)
    assert "regression" not in str(error.value)  # pre-training has no column to give
    for name in (None, 3, ["unifrac"], {}):
        with pytest.raises(ObjectiveError, match="is not an objective"):
            make_objective(name)  # type: ignore[arg-type]
    for name, spec, message in [
        (
            "unifrac",
            {"metric": "weighted"},
            r"metric of UniFrac is 'weighted'\. Expected unweighted, weighted_normalized",
        ),
        ("unifrac", {"alpha": 2}, r"alpha of UniFrac is 2"),
        ("beta_diversity", {"metric": "jaccard"}, r"'jaccard'\. Expected braycurtis or aitchison"),
        ("contrastive", {"temperature": 0}, r"temperature of Contrastive is 0"),
        ("nucleotides", {"share": 1}, r"share of MaskedNucleotides is 1\. Expected a share in \(0, 1\)"),
        ("nucleotides", {"pattern": "blocks"}, r"'blocks'\. Expected random or span"),
        ("nucleotides", {"share": 0.9, "pattern": "span", "span": 5}, r"at most 0\.83 in runs of 5"),
        ("nucleotides", {"weigh": "all"}, r"'all'\. Expected distinct, occurrences or reads"),
        ("taxonomy", {"ranks": []}, r"ranks of Taxonomy is \[\]"),
        ("counts", {"share": 0}, r"share of Counts is 0"),
        ("faith_pd", {"weight": float("nan")}, r"weight of FaithPD is nan"),
        ("faith_pd", {"std": 0}, r"std of FaithPD is 0"),
        ("faith_pd", {"mean": float("inf")}, r"mean of FaithPD is inf"),
        (
            "unifrac",
            {"weight": "x"},
            r"weight of UniFrac is 'x'\. Expected zero or more\. Try `UniFrac\(weight=1\.0\)`",
        ),
        ("unifrac", {"weight": True}, r"weight of UniFrac is True"),
        ("unifrac", {"metric": None}, r"metric of UniFrac is None"),
        ("unifrac", {"alpha": "0.5"}, r"alpha of UniFrac is '0\.5'"),
        ("unifrac", {"scale": float("inf")}, r"scale of UniFrac is inf"),
        ("beta_diversity", {"metric": ["aitchison"]}, r"metric of BetaDiversity is \['aitchison'\]"),
        ("contrastive", {"temperature": "warm"}, r"temperature of Contrastive is 'warm'"),
        ("nucleotides", {"share": "x"}, r"share of MaskedNucleotides is 'x'"),
        ("nucleotides", {"span": None}, r"span of MaskedNucleotides is None"),
        ("nucleotides", {"pattern": 1}, r"pattern of MaskedNucleotides is 1"),
        ("taxonomy", {"ranks": 3}, r"ranks of Taxonomy is 3"),
        ("taxonomy", {"ranks": ["my.rank"]}, r"ranks of Taxonomy is \['my\.rank'\]\. Expected names without dots"),
        ("taxonomy", {"ranks": ["phylum"], "taxa": {"genus": ["a", "b"]}}, r"taxa of Taxonomy is .*for each rank"),
        ("classification", {"target": ["a", "b"]}, r"target of Classification is \['a', 'b'\]\. Expected one column"),
        ("classification", {"target": "a", "classes": "xy"}, r"classes of Classification is 'xy'"),
        ("classification", {"target": "a", "classes": ["x", "y"], "balance": [1.0]}, r"balance of Classification"),
        ("regression", {"target": 5}, r"target of Regression is 5"),
    ]:
        with pytest.raises(ObjectiveError, match=message):
            make_objective(name, **spec)


@pytest.mark.parametrize("name", ["a.b", "", "keys", "training", "loss", None, 3])
def test_a_name_that_a_network_cannot_hold_is_refused(name: Any) -> None:
    with pytest.raises(ObjectiveError, match=r"name of Objective is .* Try `Objective\(name='mine'\)`"):
        aam.Objective(name)
    assert aam.Objective("my-own target").name == "my-own target"
