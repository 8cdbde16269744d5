"""The attributions explorer: its numbers are those of the attributions, the verdict is in sight, bad values are told, nothing is run."""

import json
import re
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import aam_nb as aam
from aam_nb.config import FaithfulnessConfig
from aam_nb.explain.attribution.probe import ExplainError
from aam_nb.explain.attribution.result import Attributions
from aam_nb.show import plots
from aam_nb.show.widgets.attributions import attributions
from aam_nb.show.widgets.attributions_payload import HOLDERS
from aam_nb.show.widgets.twin import ExplorerError
from aam_nb.study.errors import UnknownIdError
from aam_nb.study.study import Study

HOSTILE = '<img src=x onerror="alert(1)"></script><script>alert(2)</script>'
FEW = FaithfulnessConfig(
    steps=3, max_samples=4, num_random=2, num_samples=2, num_subsets=4, num_changes=1, seeds=0, shuffles=0, num_trees=5,
    num_resamples=100, num_permutations=99,
)  # fmt: skip


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def samples(sides) -> Study:
    """Four samples whose ASVs have taxa, some unknown."""
    test, rng = sides[1].keep_samples(sides[1].sample_ids[:4]), np.random.default_rng(3)
    genus = pd.Series(rng.choice(["$x$", "b", "c"], size=test.num_asvs)).where(rng.random(test.num_asvs) > 0.2)
    return replace(test, taxonomy=pd.DataFrame({"phylum": "P", "genus": genus.to_numpy()}, index=test.asv_ids))


@pytest.fixture(scope="module")
def result(fitted, samples) -> Attributions:
    return aam.explain.attribute(fitted, samples)


@pytest.fixture(scope="module")
def believed(result):
    return aam.explain.faithfulness(result, config=FEW)


@pytest.fixture
def explorer(result):
    return attributions(result)


def dense(result) -> pd.DataFrame:
    return pd.DataFrame(result.values.toarray(), index=result.sample_ids, columns=result.features.index)


def items(explorer):
    (sent,) = explorer.levels.values()
    return sent["items"]


# -- features -------------------------------------------------------------------------------------------------------------


def test_bars_are_the_means_over_samples(explorer, result):
    table = dense(result)
    sent = items(explorer)
    size = table.abs().mean()[lambda v: v > 0].sort_values(ascending=False)
    assert [r["mean_abs"] for r in sent] == pytest.approx(size.head(60).tolist(), rel=1e-4)
    for row in sent:
        values = table[row["id"]]
        assert row["mean"] == pytest.approx(values.mean(), rel=1e-4)
        assert row["samples"] == (values != 0).sum()
        assert row["positive"] == pytest.approx((values > 0).sum() / (values != 0).sum(), rel=1e-4)
    interval = result.by_asv().loc[[r["id"] for r in sent], ["low", "high"]]
    np.testing.assert_allclose([[r["low"], r["high"]] for r in sent], interval, rtol=1e-3, atol=1e-9)


def test_names_are_taxa_and_planted_asvs_have_a_star(explorer, result, samples):
    planted = set(samples.truth.asvs("age"))
    for row in items(explorer):
        place = samples.asv_ids.get_loc(row["id"])
        genus = samples.taxonomy["genus"].iloc[place]
        name = "P (phylum)" if pd.isna(genus) else genus
        assert row["label"] == f"{name} #{place + 1}"
        assert row["marked"] == (row["id"] in planted)
    one = items(explorer)[3]["id"]
    assert [r["id"] for r in items(attributions(result, mark=[one])) if r["marked"]] == [one]
    assert not any(r["marked"] for r in items(attributions(result, mark=())))


def test_dots_are_samples_with_their_abundance(explorer, result, samples):
    table, reads = dense(result), pd.DataFrame(samples.table.toarray(), samples.sample_ids, samples.asv_ids)
    shares = reads.div(reads.sum(axis=1), axis=0)
    for row in items(explorer)[:20]:
        ids = [samples.sample_ids[k] for k in row["strip"]["samples"]]
        assert set(ids) == set(reads.index[reads[row["id"]] > 0])
        np.testing.assert_allclose(row["strip"]["values"], table.loc[ids, row["id"]], rtol=1e-3)
        np.testing.assert_allclose(row["strip"]["shares"], shares.loc[ids, row["id"]], rtol=1e-3)
    assert items(explorer)[20]["strip"] is None


def test_taxa_are_those_of_attribute(explorer, fitted, samples):
    explorer.level, explorer.rank = "taxon", "genus"
    whole = aam.explain.attribute(fitted, samples, level="taxon", rank="genus").by_feature()
    assert [r["id"] for r in items(explorer)] == whole.index.tolist()
    np.testing.assert_allclose([r["mean"] for r in items(explorer)], whole["mean"], rtol=1e-3)
    genus = samples.taxonomy["genus"]
    shown = explorer.data["asvs"]
    for row in items(explorer):
        name = row["label"]
        mine = genus.isna() if name == "(unclassified)" else genus == name
        assert [shown[k]["id"] for k in row["among"]] == [r["id"] for r in shown if mine[r["id"]]]
    pd.testing.assert_frame_equal(explorer.to_frame(), whole)


def test_the_first_rank_shown_names_half_of_what_there_is(result, samples):
    assert attributions(result).rank == "genus"
    nameless = samples.taxonomy.assign(species=None)
    assert attributions(replace(result, features=nameless)).rank == "genus"


def test_clades_are_those_of_attribute_none_within_another(explorer, fitted, samples):
    explorer.level = "clade"
    whole = aam.explain.attribute(fitted, samples, level="clade")
    table = whole.by_feature()
    for row in items(explorer):
        assert row["mean"] == pytest.approx(table["mean"][row["id"]], rel=1e-3)
        assert row["asvs"] == table["num_asvs"][row["id"]]
    ax = plots.clades(whole, top=60)
    drawn = [bar.get_width() for bar in ax.patches][::-1]
    np.testing.assert_allclose([r["mean"] for r in items(explorer)], drawn, rtol=1e-3)


# -- the tree -------------------------------------------------------------------------------------------------------------


def test_branches_have_what_all_asvs_below_were_given(explorer, result, samples):
    tree, table, nodes = samples.tree, dense(result), explorer.data["tree"]["nodes"]
    held = [a for a in result.asv_ids if (table[a] != 0).any()]
    above: dict[str, set[int]] = {}
    for asv in held:
        node, above[asv] = tree.tip_node[asv], set()
        while node >= 0:
            above[asv].add(int(node))
            node = tree.parent[node]
    inner = [n for n in nodes if n["id"]]
    assert len(inner) > 5
    for n in inner:
        below = [a for a in held if int(n["id"].split()[1]) in above[a]]
        assert n["asvs"] == len(below)
        assert n["mean"] == pytest.approx(table[below].sum(axis=1).mean(), rel=1e-3, abs=1e-6)
    shown = explorer.data["asvs"]
    assert sorted(n["tip"] for n in nodes if n["tip"] >= 0) == list(range(len(shown)))
    # From tip to tip it is as far as in the whole tree.
    parent, length = [n["parent"] for n in nodes], [n["length"] for n in nodes]
    tips = {shown[n["tip"]]["id"]: k for k, n in enumerate(nodes) if n["tip"] >= 0}
    first, *others = list(tips)[:12]
    for asv in others:
        far = between(tree.parent, tree.length, tree.tip_node[first], tree.tip_node[asv])
        assert between(parent, length, tips[first], tips[asv]) == pytest.approx(far, rel=1e-3)


def between(parent, length, a, b) -> float:
    """Length of the way between two nodes."""
    ways = []
    for node in (a, b):
        way = set()
        while parent[node] >= 0:
            way.add(node)
            node = parent[node]
        ways.append(way)
    return sum(length[node] for node in ways[0] ^ ways[1])


def test_a_clade_or_taxon_gives_its_asvs_for_the_next_step(explorer, result, samples):
    assert explorer.asvs == []
    explorer.asv = result.asv_ids[3]
    assert explorer.asvs == [result.asv_ids[3]]
    explorer.group = "genus: b"
    held = samples.prevalence > 0
    assert explorer.asvs == samples.asv_ids[(samples.taxonomy["genus"] == "b").to_numpy() & held.to_numpy()].tolist()
    node = next(n for n in explorer.data["tree"]["nodes"] if n["id"])
    explorer.group = node["id"]
    assert samples.keep_asvs(explorer.asvs).num_asvs == node["asvs"]


# -- nucleotides ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["integrated_gradients", "occlusion"])
def test_letters_are_those_of_attribute_over_the_samples_that_hold_the_asv(explorer, fitted, samples, method):
    asv = samples.prevalence.idxmax()
    explorer.letters = method
    explorer.asv = asv
    (sent,) = explorer.inside.values()
    having = samples.keep_samples(samples.table.toarray()[:, samples.asv_ids.get_loc(asv)] > 0)
    assert having.num_samples <= HOLDERS
    whole = aam.explain.attribute(fitted, having, level="nucleotide", method=method, asvs=[asv])
    np.testing.assert_allclose(sent["mean"], whole.values.toarray().mean(0), rtol=1e-3, atol=1e-7)
    assert (sent["letters"], sent["samples"], sent["holders"]) == (asv, having.num_samples, having.num_samples)
    if method == "occlusion":
        np.testing.assert_allclose(sent["mutations"], whole.mutations[list("ACGT")].T, rtol=1e-3, atol=1e-7)
    else:
        assert sent["mutations"] is None


def test_an_asv_that_only_the_reference_holds_says_so(fitted, samples):
    lacking = samples.asv_ids[samples.prevalence == 0]
    explorer = attributions(aam.explain.attribute(fitted, samples, reference="mean"))
    explorer.asv = next(a for a in lacking if (dense(explorer.attributions)[a] != 0).any())
    (sent,) = explorer.inside.values()
    assert sent["missing"] == "No explained sample holds this ASV; only the reference does."


# -- two samples --------------------------------------------------------------------------------------------------------------


def test_two_samples_differ_by_what_their_predictions_do(explorer, result):
    prediction = result.check["prediction"]
    assert (explorer.sample_a, explorer.sample_b) == (prediction.idxmax(), prediction.idxmin())
    a, b = result.sample_ids[1], result.sample_ids[2]
    explorer.sample_a, explorer.sample_b = a, b
    (sent,) = explorer.pair.values()
    table = dense(result)
    gap = table.loc[a] - table.loc[b]
    assert [abs(r["difference"]) for r in sent["rows"]] == pytest.approx(
        gap.abs()[gap != 0].nlargest(60).tolist(), rel=1e-3
    )
    for row in sent["rows"]:
        assert (row["a"], row["b"]) == pytest.approx((table.loc[a, row["id"]], table.loc[b, row["id"]]), rel=1e-3)
    assert sent["total"] == pytest.approx(prediction[a] - prediction[b], rel=1e-2)
    assert sent["others"] == (table.loc[[a, b]] != 0).any().sum() - len(sent["rows"])


def test_a_page_holds_all_samples_of_a_small_study(explorer, result):
    whole = explorer.saved_state()["data"]["whole"]
    shape = (len(result.sample_ids), len(whole["ids"]))
    again = sparse.csr_array((whole["values"], whole["columns"], whole["ends"]), shape=shape).toarray()
    np.testing.assert_allclose(again, dense(result)[whole["ids"]], rtol=1e-3, atol=1e-9)


# -- the verdict ----------------------------------------------------------------------------------------------------------------


def test_what_was_not_checked_says_so_everywhere(explorer):
    assert explorer.verdict["text"].startswith("Not checked: `aam.explain.faithfulness(attributions)`")
    assert explorer.verdict["can"]
    assert explorer.sentence().startswith("Not checked")
    assert "Not checked" in explorer._repr_html_()
    assert "Not checked" in repr(explorer)


def test_a_verdict_given_is_shown(result, believed):
    explorer = attributions(result, faithfulness=believed)
    assert believed.verdict() in explorer.verdict["text"]
    assert believed.verdict() in explorer.sentence()
    assert [r["check"] for r in explorer.verdict["rows"]] == believed.table.index.tolist()
    assert [r["outcome"] for r in explorer.verdict["rows"]] == believed.table["outcome"].tolist()


def test_it_can_be_checked_here(explorer):
    assert explorer.check(FEW).verdict() in explorer.verdict["text"]
    assert explorer.verdict["checked"]


def test_the_button_makes_the_fast_checks(explorer):
    explorer.set_state({"checking": True})
    assert explorer.error == ""
    assert (explorer.checking, explorer.verdict["checked"]) == (False, True)
    assert "No model was fitted again" in explorer.verdict["text"]


def test_a_verdict_on_others_is_refused(result, believed):
    with pytest.raises(ExplorerError, match="of level 'taxon', the attributions of 'asv'"):
        attributions(result, faithfulness=replace(believed, level="taxon"))


# -- less than all is at hand -----------------------------------------------------------------------------------------------------


def test_without_model_and_samples_it_shows_the_rest(result, samples):
    alone = replace(result, model=None, study=None, query=None)
    explorer = attributions(alone)
    assert [name for name, _ in explorer.data["levels"]] == ["asv", "taxon"]
    assert "no tree" in explorer.data["noTree"]
    assert "carry no model" in explorer.data["noLetters"]
    explorer.asv = result.asv_ids[0]
    assert explorer.inside == {}
    assert not explorer.verdict["can"]
    explorer.set_state({"checking": True})
    assert "carry no model" in explorer.error
    assert explorer.checking is False
    with pytest.raises(ExplainError, match="carry no model"):
        explorer.check()
    more = attributions(alone, study=samples)
    assert more.data["tree"] == attributions(result).data["tree"]
    assert items(more) == items(attributions(result))


def test_without_taxonomy_asvs_are_named_by_their_ends(fitted, samples):
    explorer = attributions(aam.explain.attribute(fitted, replace(samples, taxonomy=None, tree=None)))
    assert [name for name, _ in explorer.data["levels"]] == ["asv"]
    row = items(explorer)[0]
    assert row["label"] == f"{row['id'][:9]}…{row['id'][-9:]} #{samples.asv_ids.get_loc(row['id']) + 1}"
    assert items(explorer)[0]["mean"] == pytest.approx(dense(explorer.attributions)[row["id"]].mean(), rel=1e-3)
    explorer.figure()


@pytest.mark.parametrize("level", ["taxon", "clade", "nucleotide"])
def test_other_levels_show_what_there_is(fitted, samples, level, tmp_path):
    result = aam.explain.attribute(fitted, samples, level=level, **({"top": 2} if level == "nucleotide" else {}))
    explorer = attributions(result)
    assert [name for name, _ in explorer.data["levels"]] == [level]
    assert explorer.level == level
    row = items(explorer)[0]
    assert row["mean"] == pytest.approx(result.by_feature()["mean"].get(row["id"]), rel=1e-3)
    assert explorer.export(tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert explorer.export(tmp_path / "a.html").is_file()
    if level == "nucleotide":
        assert explorer.asv == result.asv_ids[0]
        assert {f["letters"] for f in explorer.inside.values()} == {result.asv_ids[0]}
    else:
        explorer.group = row["id"]
        assert len(explorer.asvs) == row["asvs"]


def test_attributions_of_nothing_are_refused(result):
    nothing = replace(result, values=sparse.csr_array(result.values.shape))
    with pytest.raises(ExplorerError, match="is empty: no sample has a feature"):
        attributions(nothing)


def test_classes_say_what_is_explained(result):
    check = result.check.assign(output=["a", "a", "b", "b"])
    explorer = attributions(replace(result, check=check, unit="log-odds", output="each sample's predicted class"))
    assert "log-odds, each sample's predicted class" in explorer.sentence()
    assert "means over samples mix classes" in explorer.sentence()
    assert {explorer.sample_a, explorer.sample_b} == set(result.sample_ids[:2])


# -- traits ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trait", "value", "words"),
    [
        ("level", "species", "level is 'species'. Expected one of the levels: asv, taxon, clade"),
        ("rank", "species", "rank is 'species'. Expected one of the ranks: phylum, genus"),
        ("asv", "ACGT", "1 of 1 ASVs were not explained"),
        ("group", "node 9999", "'node 9999' is not a taxon or clade here"),
        ("top", 0, "top is 0. Expected a whole number from 1 to 60"),
        ("start", 0, "start is 0"),
        ("sample_a", "nobody", "sample_a is 'nobody'"),
        ("letters", "deeplift", "letters is 'deeplift'"),
    ],
)
def test_what_is_not_there_is_refused_and_told(explorer, trait, value, words):
    before = getattr(explorer, trait)
    with pytest.raises((ExplorerError, UnknownIdError)) as raised:
        setattr(explorer, trait, value)
    assert words in str(raised.value)
    explorer.set_state({trait: value})
    assert words in explorer.error
    assert getattr(explorer, trait) == before
    explorer.set_state({"selected": [explorer.sample_ids[0]]})
    assert explorer.error == ""


def test_what_the_browser_sets_is_answered(explorer, result):
    explorer.set_state({"level": "taxon"})
    assert list(explorer.levels) == ["taxon: genus"]
    explorer.set_state({"rank": "phylum"})
    assert list(explorer.levels) == ["taxon: phylum"]
    explorer.set_state({"level": "asv", "asv": result.asv_ids[0]})
    assert list(explorer.levels) == ["asv"]
    assert explorer.error == ""


# -- twin and files ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["png", "csv", "html"])
def test_it_is_written_to_files(explorer, tmp_path, kind):
    starts = {"png": b"\x89PNG", "html": b"<!doctype html>"}
    assert explorer.export(tmp_path / f"a.{kind}").read_bytes().startswith(starts.get(kind, b"asv_id"))


def test_a_page_has_every_level_and_the_asvs_looked_into(result):
    explorer = attributions(result, asvs=result.by_asv().index[:2])
    state = explorer.saved_state()
    assert set(state["levels"]) == {"asv", "taxon: phylum", "taxon: genus", "clade"}
    assert {f["id"] for f in state["inside"].values()} == set(result.by_asv().index[:2])


def test_names_from_files_are_text_in_the_twin_and_on_the_page(result, believed, samples, tmp_path):
    ids = pd.Index([f"{HOSTILE}{k}" for k in range(len(result.sample_ids))], name="sample_id")
    hostile = replace(
        result, target=HOSTILE, unit=HOSTILE, output=HOSTILE, reference=HOSTILE, sample_ids=ids, check=result.check.set_axis(ids),
        features=result.features.assign(genus=HOSTILE), model=None, query=None, study=None,
    )  # fmt: skip
    explorer = attributions(hostile, faithfulness=replace(believed, target=HOSTILE))
    explorer.level = "taxon"
    for text in (explorer._repr_html_(), explorer.export(tmp_path / "a.html").read_text()):
        assert "<img src=x" not in text
        assert "<script>alert" not in text
    state = json.loads(re.search(r'<script type="application/json">(.*?)</script>', explorer.page(), re.S)[1])
    assert state["data"]["samples"] == list(ids)
    assert state["levels"]["taxon: genus"]["items"][0]["label"].startswith(HOSTILE)
    explorer.export(tmp_path / "a.png")
