"""Which samples are split or compared: without those that have no group, or are of a rare class. The same for commands and notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from aam_nb.study.filtering import take_rows
from aam_nb.study.splits import SplitError

if TYPE_CHECKING:
    from aam_nb.study.study import Study


def choose_samples(
    study: Study,
    *,
    targets: Sequence[str],
    group: str | None = None,
    min_class_size: int = 0,
    drop_missing_group: bool = False,
) -> Study:
    """The samples that are used; what is left out is in `study.provenance`.

    Parameters
    ----------
    study
        All samples.
    targets
        What is predicted: the classes of a single one are counted.
    group
        The column of samples that belong together.
    min_class_size
        Samples of classes that have fewer are left out; 0 leaves out none.
    drop_missing_group
        Leave out samples without a value of the group.

    Raises
    ------
    SplitError
        There is no group, or no single target, that this could be about; or no sample would be left.
    UnknownIdError, TargetError
        There is no such column, or it is missing or constant.
    """
    for target in targets:
        study.target(target)
    if drop_missing_group:
        study = _drop_missing_group(study, group)
    if min_class_size:
        study = _drop_rare_classes(study, choose_split_target(targets), min_class_size)
    return study


def choose_split_target(targets: Sequence[str]) -> str | None:
    """The column that a split is stratified by: the only target. With several, samples that lack some of them stay, so there is none."""
    return targets[0] if len(targets) == 1 else None


def refuse_split_without_target() -> None:
    """Refuse settings of a split where nothing is split, since no target was given (`SplitError`)."""
    raise SplitError(
        "Settings of a split (such as `group`, `--group`) were given without a target. The split is that of `fit`, by its target. Add "
        "`--target COLUMN`, or leave them out."
    )


def _drop_missing_group(study: Study, group: str | None) -> Study:
    if group is None:
        raise SplitError(
            "`drop_missing_group` (`--drop-missing-group`) was given without a group. It drops samples without a value of the group. Add "
            "`--group COLUMN`."
        )
    present = study.column(group).notna()
    if not present.any():
        raise SplitError(
            f"None of the {study.num_samples} samples has a value of {group!r}. A split by groups needs them. Choose another group "
            "(`--group`)."
        )
    return _keep(study, present, f"those that have a {group}")


def _drop_rare_classes(study: Study, target: str | None, least: int) -> Study:
    if target is None:
        raise SplitError(
            "`min_class_size` (`--min-class-size`) was given with several targets. It is for a single target with classes. Leave it out."
        )
    values = study.target(target)
    sizes = values.value_counts()
    if sizes.max() < least:
        raise SplitError(
            f"No class of {target!r} has {least} samples or more; the largest has {sizes.max()}. Expected classes that several samples "
            "share. Use a smaller `min_class_size` (`--min-class-size`), or leave it out, as for numbers."
        )
    return _keep(study, values.isin(sizes.index[sizes >= least]), f"classes of at least {least}")


def _keep(study: Study, kept: pd.Series, which: str) -> Study:
    """The samples that are kept, with which they are in the provenance; the study itself where that is all of them."""
    rows = np.flatnonzero(kept)
    if len(rows) == study.num_samples:
        return study
    return take_rows(study, rows, f"kept {len(rows)} of {study.num_samples} samples: {which}")
