"""Whether samples have a truth that a model can be fitted to again, or judged by: an explanation leaves out what needs it."""

from __future__ import annotations

from aam_nb.baselines.predictions import read_target
from aam_nb.study.errors import TargetError, UnknownIdError
from aam_nb.study.study import Study
from aam_nb.study.target_checks import refuse_target_among
from aam_nb.train.estimator import AAM


def find_lack_of_truth(model: AAM, test: Study) -> str:
    """Why the samples have no truth that the model can be fitted to again, or judged by; empty where they have.

    Parameters
    ----------
    model
        A fitted model; its training samples are looked at too.
    test
        The samples that are explained.
    """
    task = model.require_task()
    try:
        refuse_target_among(task.targets, model.covariates.names if model.covariates else ())
        for side in (test, *([] if model.train_study is None else [model.train_study])):
            for name in task.targets:
                read_target(side, task.only(name))
    except (TargetError, UnknownIdError) as error:
        return str(error)
    return ""
