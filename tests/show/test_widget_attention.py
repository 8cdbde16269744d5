"""The attention explorer: what it sends is the model's attention, folded and named as it says; bad values are told; nothing is run."""

import base64
from dataclasses import replace
from importlib import import_module

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import aam_nb as aam
from aam_nb.explain.attention.heads import NOT_IMPORTANCE, HeadMaps
from aam_nb.show.widgets import attention_payload
from aam_nb.show.widgets.asv_names import AsvNames
from aam_nb.show.widgets.attention import attention
from aam_nb.show.widgets.attention_payload import folded_positions
from aam_nb.show.widgets.twin import ExplorerError
from aam_nb.study.errors import EmptySampleError, UnknownIdError
from aam_nb.study.study import Study
from aam_nb.train.estimator import NotFittedError

explorers = import_module("aam_nb.show.widgets.attention")  # the face has a function of that name
HOSTILE = '<img src=x onerror="alert(1)"></script><script>alert(2)</script>'


def with_taxa(study: Study, **ranks: object) -> Study:
    return replace(study, taxonomy=pd.DataFrame(ranks, index=study.asv_ids))


@pytest.fixture(scope="module")
def test_side(sides):
    return sides[1]


@pytest.fixture
def explorer(fitted, test_side):
    return attention(fitted, test_side, most=5)


def numbers(packed):
    raw = base64.b64decode(packed["halves"])
    return np.frombuffer(raw, dtype="<f2").astype(float).reshape(packed["shape"])


def largest(study):
    return str(study.richness.idxmax())


# -- what is sent ---------------------------------------------------------------------------------------------------------


def test_maps_are_the_models_with_all_others_as_one(explorer, fitted, test_side):
    sample = largest(test_side)
    explorer.sample = sample
    sent = explorer.maps[sample]
    # The oracle: every ASV by itself, of the whole study; others are summed and averaged here, one by one.
    whole = aam.explain.attention(fitted, test_side, samples=[sample], levels=("asv", "pooling"), top=10_000)
    names, maps = list(whole.asv[sample].names), whole.asv[sample].weights
    keys = [0, *(1 + k for k in range(5))]
    others = [k for k in range(len(names)) if k not in keys]
    assert sent["keys"]["ids"] == [names[k] for k in keys]
    assert (sent["tokens"], sent["numAsvs"], sent["others"]) == (1, len(names) - 1, len(names) - 6)
    groups = [[k] for k in keys] + [others]
    expected = [
        [
            [[np.mean([sum(head[q, k] for k in columns) for q in rows]) for columns in groups] for rows in groups]
            for head in layer
        ]
        for layer in maps
    ]
    np.testing.assert_allclose(numbers(sent["weights"]), expected, rtol=2e-3, atol=1e-6)
    pooling = whole.pooling[sample].loc[names, ["head_1", "head_2"]].to_numpy()
    np.testing.assert_allclose(sent["pooling"], [pooling[rows].sum(0) for rows in groups], rtol=1e-3)
    rolled = whole.rollout(sample).loc[names].to_numpy()
    np.testing.assert_allclose(sent["rolled"], [rolled[rows].sum() for rows in groups], rtol=1e-3)


def test_reads_and_predictions_are_the_samples(explorer, fitted, test_side):
    sample = largest(test_side)
    explorer.sample = sample
    sent = explorer.maps[sample]
    reads = dict(zip(test_side.asv_ids, test_side.table.toarray()[test_side.sample_ids.get_loc(sample)], strict=True))
    shown = sent["keys"]["ids"][1:]
    assert sent["keys"]["reads"][:6] == [None, *(reads[asv] for asv in shown)]
    assert sent["keys"]["reads"][6] == sum(reads.values()) - sum(reads[asv] for asv in shown)
    predicted = fitted.predict(test_side)["age"]
    assert sent["predictions"]["age"] == pytest.approx(predicted[sample], rel=1e-4)
    assert explorer.data["outcomes"][0]["prediction"] == pytest.approx(predicted.tolist(), rel=1e-4)
    assert explorer.data["outcomes"][0]["truth"] == pytest.approx(test_side.metadata["age"].tolist(), rel=1e-4)
    assert explorer.data["asvs"] == test_side.richness.tolist()


def test_nucleotides_of_an_asv_are_the_same_in_every_sample(explorer, fitted, test_side):
    asv = test_side.asv_ids[7]
    explorer.asv = asv
    sent = explorer.inside[asv]
    whole = aam.explain.attention(
        fitted, test_side, samples=list(test_side.sample_ids), asvs=[asv], levels="nucleotide"
    )
    np.testing.assert_allclose(numbers(sent["weights"]), whole.nucleotide[asv].weights, rtol=2e-3, atol=1e-6)
    assert sent["spans"][:2] == [[1, 4], [5, 8]]
    assert "".join(asv[first - 1 : last] for first, last in sent["spans"]) == asv
    np.testing.assert_allclose(np.mean(sent["pooling"], 1), whole.nucleotide_pooling[asv]["mean"], rtol=1e-3)


def test_neighbouring_positions_become_one():
    weights = np.array([[[[0.1, 0.2, 0.7], [0.3, 0.3, 0.4], [0.0, 0.5, 0.5]]]], dtype=np.float32)
    folded, starts = folded_positions(HeadMaps(weights, pd.Index(["1", "2", "3"])), 2)
    np.testing.assert_allclose(folded[0, 0], [[(0.3 + 0.6) / 2, (0.7 + 0.4) / 2], [0.5, 0.5]], rtol=1e-6)
    assert starts.tolist() == [0, 2]
    same, starts = folded_positions(HeadMaps(weights, pd.Index(["1", "2", "3"])), 3)
    assert same is weights
    assert starts.tolist() == [0, 1, 2]


def test_asvs_are_named_by_their_lowest_taxon(hand_study):
    names = AsvNames(
        with_taxa(
            hand_study,
            domain=["Bacteria", "Bacteria", "Bacteria", None],
            family=["Bacteroidaceae", "Lachnospiraceae", "Bacteroidaceae", None],
            genus=["Bacteroides", None, "Bacteroides", None],
            species=["vulgatus", None, None, None],
            confidence=[0.9, 0.8, 0.7, 0.6],
        )
    )
    keys = ["(sample token)", "GGGG", "AAAA", "AACC", "GGTT"]
    assert names.labels(keys) == [
        *("(sample token)", "Bacteroides #3", "Bacteroides vulgatus #1", "Lachnospiraceae (family) #2", "GGTT #4")
    ]
    assert names.lineages(keys)[:2] == ["", "Bacteria; Bacteroidaceae; Bacteroides"]
    assert AsvNames(hand_study).labels(["AACC"]) == ["AACC #2"]


def test_a_model_without_a_target_can_be_looked_at(sides):
    config = aam.TrainConfig(epochs=1, batch_size=8, progress=False)
    model = aam.AAM(aam.ModelConfig(width=16, num_layers=1, num_attn_heads=2))
    with pytest.raises(NotFittedError):
        attention(model, sides[1])
    explorer = attention(model.pretrain(sides[0], objectives=["nucleotides"], config=config), sides[1])
    assert explorer.data["outcomes"] == []
    assert explorer.maps[explorer.sample]["predictions"] == {}
    assert "once the model is fitted" in explorer.sentence()


# -- choosing -------------------------------------------------------------------------------------------------------------


def test_choosing_a_sample_and_an_asv_sends_theirs_alone(explorer, test_side):
    assert list(explorer.maps) == [explorer.sample] == [test_side.sample_ids[0]]
    explorer.set_state({"sample": test_side.sample_ids[2], "selected": [test_side.sample_ids[2]]})
    assert list(explorer.maps) == [test_side.sample_ids[2]]
    assert test_side.keep_samples(explorer.selected).num_samples == 1
    first = explorer.asv
    assert list(explorer.inside) == [first]
    explorer.asv = ""
    assert explorer.inside == {}
    assert explorer.nucleotide_attention is None


def test_what_was_looked_at_is_kept_for_the_page(fitted, test_side, monkeypatch):
    ids = [str(i) for i in test_side.sample_ids]
    explorer = attention(fitted, test_side, samples=ids[1:3], asvs=[test_side.asv_ids[5]])
    assert (explorer.sample, explorer.asv) == (ids[1], test_side.asv_ids[5])
    assert set(explorer.saved_state()["maps"]) == set(ids[1:3])
    monkeypatch.setattr(explorers, "KEPT", 1)
    for sample in ids[3:7]:
        explorer.sample = sample
    assert set(explorer.saved_state()["maps"]) >= {*ids[1:3], ids[6]}
    assert len(explorer.saved_state()["maps"]) <= 5
    assert test_side.asv_ids[5] in explorer.saved_state()["inside"]


def test_of_a_large_study_the_samples_looked_at_are_predicted(fitted, test_side, monkeypatch):
    monkeypatch.setattr(attention_payload, "PREDICTED", 3)
    explorer = attention(fitted, test_side)
    assert explorer.data["outcomes"][0]["prediction"] is None
    assert explorer.maps[explorer.sample]["predictions"]["age"] > 0


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("sample", "nobody", "sample is 'nobody'. Expected one of the samples"),
        ("asv", "ACGTACGTNOT", "1 of 1 ASVs are not in the study"),
        ("layer", 2, r"layer is 2. Expected a whole number from 1 to 1 \(layers\)"),
        ("head", 0, r"head is 0. Expected a whole number from 1 to 2 \(heads\)"),
        ("top", 6, "top is 6. Expected a whole number from 1 to 5"),
    ],
)
def test_a_bad_value_is_told_in_python_and_in_the_explorer(explorer, name, value, words):
    before = getattr(explorer, name)
    with pytest.raises((ExplorerError, UnknownIdError), match=words):
        setattr(explorer, name, value)
    assert getattr(explorer, name) == before
    explorer.set_state({name: value})
    assert words.split(".")[0] in explorer.error
    assert getattr(explorer, name) == before
    explorer.set_state({name: before})
    assert explorer.error == ""


def test_a_sample_without_reads_is_passed_over_and_refused(fitted, test_side):
    table = test_side.table.toarray()
    table[0] = 0
    empty = replace(test_side, table=sparse.csr_array(table))
    explorer = attention(fitted, empty)
    assert explorer.sample == empty.sample_ids[1]
    explorer.set_state({"sample": empty.sample_ids[0]})
    assert "has no reads" in explorer.error or "have no reads" in explorer.error
    assert explorer.sample == empty.sample_ids[1]
    with pytest.raises(EmptySampleError):
        explorer.sample = empty.sample_ids[0]


def test_unknown_samples_are_refused_at_the_door(fitted, test_side):
    with pytest.raises(UnknownIdError, match=r"1 of 2 samples are not in the study \(nobody\)"):
        attention(fitted, test_side, samples=[test_side.sample_ids[0], "nobody"])
    with pytest.raises(UnknownIdError, match="Expected a list of ids"):
        attention(fitted, test_side, samples="S0001")
    with pytest.raises(aam.ConfigError, match="top is 0"):
        attention(fitted, test_side, most=0)


# -- twin and files -------------------------------------------------------------------------------------------------------


def test_the_table_is_the_pooling_attention_with_names_and_reads(explorer, test_side):
    frame = explorer.to_frame()
    pooling = explorer.attention.pooling[explorer.sample]
    np.testing.assert_array_equal(frame[pooling.columns], pooling)
    reads = test_side.table.toarray()[test_side.sample_ids.get_loc(explorer.sample)]
    assert frame["reads"].sum() == reads.sum()
    assert frame["rollout"].sum() == pytest.approx(1)
    assert frame.loc["(sample token)", "name"] == "(sample token)"


def test_a_reader_is_told_what_attention_is_not_and_what_is_left_out(explorer, test_side):
    sample = largest(test_side)
    explorer.sample, explorer.top = sample, 3
    lines = explorer.sentence().split("\n")
    asvs = explorer.attention.pooling[sample]["mean"].drop("(sample token)")
    assert lines[0] == NOT_IMPORTANCE == explorer.data["notImportance"]
    assert lines[1].startswith(
        f"Of the {len(asvs)} ASVs in {sample}, the 3 with most pooling attention (mean over heads)"
    )
    assert f"they have {asvs.iloc[:3].sum() / asvs.sum():.0%} of" in lines[1]
    assert "aam.widgets.attributions" in lines[2]
    assert NOT_IMPORTANCE in repr(explorer)


def test_viewers_without_widgets_see_a_figure(explorer):
    bundle, _ = explorer._repr_mimebundle_()
    assert bundle["image/png"]
    assert NOT_IMPORTANCE in bundle["text/html"]
    panels = [ax.get_title().split("\n")[0] for ax in explorer.figure().axes if ax.get_title()]
    assert panels[1:] == ["layer 1, head 1", "layer 1, head 2"]


def test_it_is_written_to_files(explorer, tmp_path):
    assert explorer.export(tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert len(pd.read_csv(explorer.export(tmp_path / "a.csv"), index_col="asv_id")) == len(explorer.to_frame())
    page = explorer.export(tmp_path / "a.html").read_text(encoding="utf-8")
    assert NOT_IMPORTANCE in page


def test_nothing_of_a_file_is_run(fitted, test_side):
    ids = pd.Index([f"{HOSTILE}{i}" for i in range(test_side.num_samples)])
    hostile = with_taxa(
        replace(test_side, sample_ids=ids, metadata=test_side.metadata.set_axis(ids)),
        genus=[HOSTILE] * test_side.num_asvs,
    )
    explorer = attention(fitted, hostile)
    for text in (explorer.page(), explorer._repr_mimebundle_()[0]["text/html"]):
        assert "<img src=x" not in text
        assert "<script>alert" not in text
    assert HOSTILE in explorer.maps[explorer.sample]["keys"]["labels"][1]
