"""Who can be compared: names, recipes of our model, and its ablations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import QUICK, TINY

import aam_nb as aam
from aam_nb.baselines.fit import BASELINES
from aam_nb.baselines.settings import SharedSettings
from aam_nb.config import CompareConfig
from aam_nb.evaluate.comparison.ablations import RandomDNA, remove_abundance
from aam_nb.evaluate.comparison.contenders import OURS, ContenderError, Recipe, make_contenders
from aam_nb.evaluate.comparison.cross_validation import Fold, group_jobs, make_jobs
from aam_nb.evaluate.comparison.fitting import Pretrainings, fit_and_predict, pretraining_key
from aam_nb.study.errors import MissingTipError
from aam_nb.study.study import Study

AGE = SharedSettings(target="age", classes=None, group="host_id", covariates=(), config=CompareConfig())
RECIPE = Recipe(model=TINY, pretrain=QUICK, fit=QUICK)


# -- who can be named ---------------------------------------------------------------------------------------------------


def test_names(study: Study, fitted: aam.AAM) -> None:
    found, notes = make_contenders([fitted, "dummy", aam.AAM(TINY)], RECIPE, study)
    assert [c.name for c in found] == ["aam", "dummy", "aam_2"]
    assert [n for n in notes if "weights of aam" in n] == [notes[0]]
    assert "are not used" in notes[0]
    assert f"saw {len(fitted.seen)} of the 48 samples" in notes[0]
    named, _ = make_contenders({"mine": fitted, "forest": "random_forest"}, RECIPE, study)
    assert [(c.name, c.kind) for c in named] == [("mine", "aam"), ("forest", "random_forest")]
    for unknown in ("xgboost", "logistic_clr"):
        with pytest.raises(ContenderError, match=f"'{unknown}' is not a contender") as error:
            make_contenders([unknown], RECIPE, study)
        assert all(name in str(error.value) for name in [*OURS, *BASELINES])
    for bad in (["dummy", "dummy"], [], {"truth": "dummy"}):
        with pytest.raises(ContenderError):
            make_contenders(bad, RECIPE, study)
    bare = replace(study, tree=None)
    with pytest.raises(MissingTipError):
        make_contenders(["knn_unifrac"], RECIPE, bare)
    found, notes = make_contenders(["aam"], RECIPE, bare)
    assert found[0].recipe is not None
    assert found[0].recipe.objectives == ("nucleotides",)
    assert "no tree" in notes[0]


def test_recipe_of_a_model(fitted: aam.AAM, sides: tuple[Study, Study]) -> None:
    found = Recipe.of(fitted)
    assert (found.model, found.pretrain, found.fit) == (TINY, QUICK, QUICK)
    assert [o["name"] for o in found.objectives if isinstance(o, dict)] == ["unifrac", "nucleotides"]
    weighted = aam.AAM(TINY).pretrain(sides[0], objectives=[aam.UniFrac("weighted_normalized")], config=QUICK)
    (spec,) = Recipe.of(weighted).objectives
    assert isinstance(spec, dict)
    assert spec["metric"] == "weighted_normalized"
    target = aam.Quantiles("age", hidden=(8,))
    plain = aam.AAM(TINY).fit(sides[0], target=target, covariates=["season"], config=QUICK)
    found = Recipe.of(plain)
    assert found.pretrain is None
    assert found.quantiles
    assert found.covariates == ("season",)
    task = found.task("age", classes=False)
    assert isinstance(task, aam.Quantiles)
    assert task.config.hidden == (8,)


# -- ours and its ablations ---------------------------------------------------------------------------------------------


def test_our_model_is_the_estimator(sides: tuple[Study, Study], fitted: aam.AAM) -> None:
    """Seed 0 of a repeat is the model that a user fits by hand."""
    train, test = sides
    ours = make_contenders(["aam"], RECIPE, train)[0][0]
    frame, facts = fit_and_predict(ours, train, test, AGE, 0, 1)
    pd.testing.assert_frame_equal(frame, fitted.predict(test).astype(float))
    assert facts["fit_seconds"] > 0


def test_a_shared_pretraining_changes_no_bit(sides: tuple[Study, Study]) -> None:
    """Contenders that begin alike are pre-trained once on a training side, and predict what each predicts by itself."""
    train, test = sides
    frozen = replace(RECIPE, fit=replace(QUICK, freeze="asvs"))
    models, _ = make_contenders(["aam"], RECIPE, train)
    models += [replace(models[0], name="frozen", recipe=frozen)]
    shared: Pretrainings = {}
    for contender in models:
        together, facts = fit_and_predict(contender, train, test, AGE, 0, 1, shared)
        alone, _ = fit_and_predict(contender, train, test, AGE, 0, 1)
        assert (together["age"].to_numpy() == alone["age"].to_numpy()).all()
        assert facts["fit_seconds"] > next(iter(shared.values())).seconds  # what it would cost by itself
    assert len(shared) == 1


def test_what_makes_a_pretraining_another(study: Study) -> None:
    names = ["aam", "aam_no_abundance", "aam_ids_only", "aam_no_pretraining", "dummy"]
    chosen, _ = make_contenders(names, RECIPE, study)
    own = [pretraining_key(c, 0) for c in chosen]
    assert own[3:] == [None, None]
    for changed in (
        {"model": replace(TINY, width=32)},
        {"pretrain": replace(QUICK, epochs=7)},
        {"objectives": ("nucleotides",)},
    ):
        own.append(pretraining_key(replace(chosen[0], recipe=replace(RECIPE, **changed)), 0))
    own.append(pretraining_key(chosen[0], 1))
    told = [k for k in own if k is not None]
    assert len(set(told)) == len(told) == 7
    assert pretraining_key(replace(chosen[0], recipe=replace(RECIPE, fit=replace(QUICK, epochs=9))), 0) == own[0]
    # Jobs that share one go to the same process.
    twin = replace(chosen[0], name="twin", recipe=replace(RECIPE, fit=replace(QUICK, epochs=9)))
    masks = study.fold_masks(2, seed=0)
    folds = [Fold(repeat=0, number=k, test=m.test, split=m.split) for k, m in enumerate(masks)]
    groups = group_jobs(make_jobs(study, [*chosen, twin], folds, AGE), AGE)
    assert [[j.contender.name for j in g] for g in groups] == 2 * [["aam", "twin"], *([n] for n in names[1:])]


def test_remove_abundance_counts_are_one(hand_study: Study) -> None:
    seen = remove_abundance(hand_study)
    assert seen.table[:].toarray().tolist() == [[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
    assert hand_study.table[:].toarray().max() == 5


def test_random_dna_keeps_identity_and_tree(study: Study) -> None:
    from aam_nb.diversity.unifrac import unifrac

    hide = RandomDNA(study.asv_ids, seed=0)
    seen = hide(study)
    assert not set(seen.asv_ids) & set(study.asv_ids)
    assert list(seen.asv_ids.str.len()) == list(study.asv_ids.str.len())
    assert seen.asv_ids.is_unique
    assert (seen.table[:] != study.table[:]).nnz == 0
    assert np.allclose(unifrac(seen, cache=False).data, unifrac(study, cache=False).data)
    assert list(hide(study.keep_samples(study.sample_ids[:3])).asv_ids) == list(seen.asv_ids)


@pytest.mark.slow
def test_ablations_differ(sides: tuple[Study, Study]) -> None:
    train, test = sides
    found = {}
    for c in make_contenders([*OURS], RECIPE, train)[0]:
        found[c.name] = fit_and_predict(c, train, test, AGE, 0, 1)[0]["age"].to_numpy()
    assert len({tuple(np.round(v, 6)) for v in found.values()}) == 4
