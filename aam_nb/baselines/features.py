"""What a baseline sees of a sample: reads of each ASV, their shares or log-ratios, depth and richness, covariates as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin

from aam_nb.arrays import Array, Floats
from aam_nb.baselines.scaling import UnitFree
from aam_nb.model.objectives import class_names
from aam_nb.study.columns import is_numeric_column
from aam_nb.study.study import Study

PSEUDO_COUNT = 0.5
"""Reads added to every cell before logarithms are taken."""


# -- tables of reads --------------------------------------------------------------------------------------------------


def count_reads(study: Study, asv_ids: pd.Index) -> Floats:
    """Reads of each of `asv_ids`, 0 for those that the study does not hold, and in the last column all reads of the sample.

    Shape (n_samples, len(asv_ids) + 1), dense.
    """
    column = asv_ids.get_indexer(study.asv_ids)
    reads = np.zeros((study.num_samples, len(asv_ids) + 1))
    for rows_of_block, table in study.blocks():
        rows, columns = table.nonzero()
        listed = column[columns] >= 0
        reads[rows[listed] + rows_of_block.start, column[columns[listed]]] = table.data[listed]
    reads[:, -1] = study.depth.to_numpy()
    return reads


def relative_abundance(study: Study, asv_ids: pd.Index) -> npt.NDArray[np.float32]:
    """Share of each of `asv_ids` in each sample, shape (n_samples, len(asv_ids)); 0 for ASVs that the study does not hold."""
    column = asv_ids.get_indexer(study.asv_ids)
    depth = study.depth.to_numpy()
    dense = np.zeros((study.num_samples, len(asv_ids)), dtype=np.float32)
    for rows_of_block, table in study.blocks():
        rows, columns = table.nonzero()
        rows += rows_of_block.start
        shares = (table.data / depth[rows]).astype(np.float32)
        listed = column[columns] >= 0
        dense[rows[listed], column[columns[listed]]] = shares[listed]
    return dense


def depth_and_richness(study: Study) -> Floats:
    """Log of reads and of the number of ASVs, n_samples x 2."""
    return np.log1p(np.column_stack([study.depth.to_numpy(float), study.richness.to_numpy(float)]))


# -- the first step of a pipeline ---------------------------------------------------------------------------------------


class AsvFeatures(TransformerMixin, BaseEstimator):
    """ASVs that enough samples hold, as shares of a sample's reads or as centred log-ratios; other columns pass unchanged.

    Parameters
    ----------
    num_asvs
        Columns that hold reads of an ASV. The next one holds all reads of the sample (`count_reads`), and those after it are covariates.
    space
        "share": reads over the sample's total. "clr": log of reads plus `PSEUDO_COUNT`, less the sample's mean of these (Aitchison
        1986), over the ASVs kept.
    min_prevalence
        Samples of those fitted to that must hold an ASV; the commonest ASVs are kept where none reaches it.
    """

    def __init__(self, num_asvs: int = 0, space: str = "share", min_prevalence: int = 1) -> None:
        self.num_asvs, self.space, self.min_prevalence = num_asvs, space, min_prevalence

    def fit(self, X: Array, y: Any = None) -> AsvFeatures:
        """Choose the ASVs from these samples, n_samples x (n_asvs + 1 + n_covariates)."""
        prevalence = (X[:, : self.num_asvs] > 0).sum(0)
        self.kept_ = np.flatnonzero(prevalence >= min(self.min_prevalence, prevalence.max(initial=0)))
        return self

    def transform(self, X: Array) -> Array:
        """The features of samples, n_samples x (n_kept + n_covariates)."""
        reads = X[:, : self.num_asvs]
        if self.space == "share":
            features = reads[:, self.kept_] / np.maximum(X[:, [self.num_asvs]], 1)
        else:
            logs = np.log(reads[:, self.kept_] + PSEUDO_COUNT)
            features = logs - logs.mean(1, keepdims=True)
        return np.hstack([features, X[:, self.num_asvs + 1 :]])


# -- covariates -------------------------------------------------------------------------------------------------------


class CovariateColumns:
    """Metadata columns as numbers: those of numbers standardised, with the training mean where they are missing, others with a column for
    each training category."""

    def __init__(self, train: Study, columns: Sequence[str]) -> None:
        self.numbers, self.categories = dict[str, UnitFree](), dict[str, list[str]]()
        for column in columns:
            values = train.column(column)
            if is_numeric_column(values):
                known = values.astype(float).dropna().to_numpy()
                self.numbers[column] = UnitFree().fit(known[:, None] if len(known) else np.zeros((1, 1)))
            else:
                self.categories[column] = sorted(class_names(values).dropna().unique())

    def __call__(self, study: Study) -> Floats:
        """n_samples x n_columns."""
        # A missing number becomes 0, the mean.
        numbers = [
            np.nan_to_num(scaler.transform(study.column(c).astype(float).to_numpy(na_value=np.nan)[:, None]))
            for c, scaler in self.numbers.items()
        ]
        for column, categories in self.categories.items():
            values = class_names(study.column(column)).to_numpy()
            numbers.append((values[:, None] == np.array(categories, dtype=object)[None]).astype(float))
        return np.hstack(numbers) if numbers else np.empty((study.num_samples, 0))
