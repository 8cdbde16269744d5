"""A host, study or the like looked up, by hand values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from aam_nb.baselines.fit import fit_baseline
from aam_nb.baselines.group_lookup import look_up
from aam_nb.baselines.settings import SharedSettings
from aam_nb.config import CompareConfig
from aam_nb.model.objectives import Classification, Regression
from aam_nb.study.study import Study


def test_lookup_by_hand() -> None:
    ids = pd.Index(["a", "b", "c"], dtype=str)
    known, values = np.array([1.0, 3.0, 8.0]), np.array(["h1", "h1", "h2"])
    found = look_up(known, values, np.array(["h1", "h2", "new"]), ids, Regression("y"))
    assert list(found["y"]) == [2.0, 8.0, 4.0]  # the mean of its host; of all where the host is new
    task = Classification("y", classes=("p", "q"))
    truth = np.array(["p", "q", "q"], dtype=object)
    found = look_up(truth, values, np.array(["h1", "h2", "new"]), ids, task)
    assert found["p(q)"].tolist() == pytest.approx([0.5, 1.0, 2 / 3])
    assert list(found["y"]) == ["p", "q", "q"]


def test_a_value_that_is_missing_is_not_looked_up(study: Study) -> None:
    holes = study.metadata["host_id"].astype(object).mask(np.arange(study.num_samples) % 3 == 0)
    holed = replace(study, metadata=study.metadata[["age"]].assign(host_id=holes))
    train, test = holed.keep_samples(study.sample_ids[:40]), holed.keep_samples(study.sample_ids[40:])
    config = CompareConfig(num_trees=20, inner_folds=2)
    settings = SharedSettings(target="age", classes=None, group=None, covariates=(), config=config)
    predict, facts = fit_baseline("group_lookup", train, settings)
    found = predict(test)
    assert facts["column"] == "host_id"
    ages = train.metadata["age"]
    for sample, host in test.metadata["host_id"].items():
        same = ages[train.metadata["host_id"] == host]
        assert found.loc[sample, "age"] == pytest.approx(same.mean() if len(same) else ages.mean())
