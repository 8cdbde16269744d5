"""What the browser gets of attention: the maps of a sample and of an ASV, with the names of what is in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from aam_nb.arrays import Array, Ints
from aam_nb.config import cut_list
from aam_nb.explain.attention.heads import NOT_IMPORTANCE, HeadMaps
from aam_nb.explain.attention.maps import AttentionMaps
from aam_nb.explain.attention.maps import attention as attention_maps
from aam_nb.show.widgets.asv_names import AsvNames
from aam_nb.show.widgets.payload import pack_halves, to_json_value
from aam_nb.study.errors import UnknownIdError
from aam_nb.study.study import Study
from aam_nb.train.estimator import AAM

PREDICTED = 500
"""Samples up to which all are predicted at the start; of a larger study, each sample when it is chosen."""
POSITIONS = 300
"""Most positions of an ASV drawn one by one; of more, neighbours are drawn as one."""


@dataclass(frozen=True)
class View:
    """What is shown of a sample or an ASV: the maps, and what the browser gets of them."""

    maps: AttentionMaps
    payload: dict[str, Any]


def choose_samples(study: Study, samples: list[str]) -> list[str]:
    """The samples whose maps are made at the start: those named, or the first one that has reads.

    Raises
    ------
    UnknownIdError, EmptySampleError
        A sample is not in the study; no sample has reads.
    """
    ids = study.sample_ids
    if unknown := [s for s in samples if s not in ids]:
        raise UnknownIdError(
            f"{len(unknown)} of {len(samples)} samples are not in the study ({cut_list(unknown)}). It has {len(ids)} samples such as "
            f"{cut_list(ids[:3])}. Take ids from `study.sample_ids`."
        )
    if samples:
        return list(dict.fromkeys(samples))
    with_reads = ids[(study.depth > 0).to_numpy()]
    if with_reads.empty:
        study.require_reads()  # an error that says so
    return [str(s) for s in with_reads[:1]]


def explorer_payload(model: AAM, study: Study, *, most: int, naming: str) -> dict[str, Any]:
    """What does not change while an explorer is open: samples, targets and, of a small study, predictions.

    Parameters
    ----------
    most
        ASVs that can be shown one by one.
    naming
        How ASVs are named, a sentence.
    """
    targets = list(model.task.targets) if model.task else []
    predict_all = study.num_samples <= PREDICTED and bool((study.depth > 0).all())
    predicted = model.predict(study) if targets and predict_all else None
    outcomes = [
        {
            "name": name,
            "truth": study.metadata.get(name),
            "prediction": None if predicted is None else predicted[name],
        }
        for name in targets
    ]
    condition = "" if targets else ", once the model is fitted to a target"
    return to_json_value(
        {
            "samples": list(study.sample_ids),
            "asvs": study.richness,
            "reads": study.depth,
            "outcomes": outcomes,
            "layers": model.config.num_layers,
            "heads": model.config.num_attn_heads,
            "most": most,
            "notImportance": NOT_IMPORTANCE,
            "moves": f"For what moves predictions, see `aam.widgets.attributions(aam.explain.attribute(model, study))`{condition}.",
            "naming": naming,
        }
    )


# -- a sample ---------------------------------------------------------------------------------------------------------------


def view_sample(model: AAM, study: Study, sample: str, *, most: int, names: AsvNames) -> View:
    """The maps of a sample, among its ASVs and where they are pooled.

    Raises
    ------
    EmptySampleError
        It has no reads.
    """
    alone = study.keep_samples([sample]).in_memory()
    alone.require_reads()
    alone = alone.keep_asvs((alone.prevalence > 0).to_numpy())
    maps = attention_maps(model, alone, samples=[sample], levels=("asv", "pooling"), top=most)
    task = model.task
    row = model.predict(alone).iloc[0] if task else None
    predictions = {} if task is None or row is None else {name: row[name] for name in task.targets}
    return View(maps, sample_payload(maps, sample, count_reads(study, sample), predictions=predictions, names=names))


def sample_payload(
    maps: AttentionMaps, sample: str, reads: dict[str, int], *, predictions: dict[str, Any], names: AsvNames
) -> dict[str, Any]:
    """The maps of a sample: keys one by one, and the others folded into one.

    Parameters
    ----------
    maps
        At levels "asv" and "pooling".
    reads
        Of each of the sample's ASVs; the model may not see all of them.
    predictions
        Of the sample, by target.
    names
        Of ASVs.
    """
    heads, pooling, rolled = maps.asv[sample], maps.pooling[sample], maps.rollout(sample)
    keys = heads.names[heads.names.isin(pooling.index)]
    others = pooling.index.difference(keys, sort=False)
    num_tokens = sum(map(is_token, keys))
    num_asvs = len(pooling) - num_tokens
    rows = [*keys, *([others] if len(others) else [])]
    by_head = pooling.drop(columns="mean")
    num_heads = heads.weights.shape[1]
    return to_json_value(
        {
            "id": sample,
            "tokens": num_tokens,
            "numAsvs": num_asvs,
            "unseen": len(reads) - num_asvs,
            "others": len(others),
            "reads": sum(reads.values()),
            "predictions": predictions,
            "keys": {
                "ids": list(keys),
                "labels": names.labels(keys),
                "lineages": names.lineages(keys),
                "reads": [
                    *(reads.get(key) for key in keys),
                    *([sum(reads[asv] for asv in others)] if len(others) else []),
                ],
            },
            "pooling": np.array([by_head.loc[row].to_numpy().reshape(-1, num_heads).sum(0) for row in rows], float),
            "rolled": np.array([rolled[row].sum() for row in rows], float),
            "weights": pack_halves(heads.weights),
            "statistics": maps.heads(),
        }
    )


def count_reads(study: Study, sample: str) -> dict[str, int]:
    """Reads of the ASVs that a sample holds."""
    row = study.table[np.array([study.sample_ids.get_loc(sample)])].tocoo()
    return dict(zip(study.asv_ids[row.coords[1]], map(int, row.data), strict=True))


def most_attended_asv(maps: AttentionMaps, sample: str) -> str:
    """The ASV of a sample with the most pooling attention."""
    return next(str(name) for name in maps.pooling[sample].index if not is_token(name))


def is_token(name: object) -> bool:
    """Whether a key is no ASV: those are named by their DNA."""
    return str(name).startswith("(")


# -- an ASV -----------------------------------------------------------------------------------------------------------------


def view_asv(model: AAM, study: Study, asv: str, *, names: AsvNames) -> View:
    """The maps of an ASV, among its nucleotides; they are the same in every sample."""
    any_sample = study.sample_ids[:1]  # an ASV is encoded by itself: nothing depends on the sample
    alone = Study(sparse.csr_array([[1]]), any_sample, pd.Index([asv]), pd.DataFrame(index=any_sample))
    maps = attention_maps(model, alone, samples=list(any_sample), asvs=[asv], levels=("nucleotide",))
    return View(maps, asv_payload(maps, asv, prevalence=int(study.prevalence[asv]), names=names))


def asv_payload(maps: AttentionMaps, asv: str, *, prevalence: int, names: AsvNames) -> dict[str, Any]:
    """The maps of an ASV, at level "nucleotide", in at most `POSITIONS` positions."""
    heads, pooling, rolled = maps.nucleotide[asv], maps.nucleotide_pooling[asv], maps.rolled[asv]
    weights, starts = folded_positions(heads, POSITIONS)
    spans = [_span(name) for name in heads.names]
    ends = [*starts[1:], len(spans)]
    return to_json_value(
        {
            "id": asv,
            "label": names.labels([asv])[0],
            "lineage": names.lineages([asv])[0],
            "prevalence": prevalence,
            "together": int(ends[0] - starts[0]),
            "spans": [[spans[a][0], spans[b - 1][1]] for a, b in zip(starts, ends, strict=True)],
            "pooling": np.add.reduceat(pooling.drop(columns="mean").to_numpy(float), starts, axis=0),
            "rolled": np.add.reduceat(rolled.to_numpy(float), starts),
            "weights": pack_halves(weights),
            "statistics": maps.heads(),
        }
    )


def folded_positions(maps: HeadMaps, most: int) -> tuple[Array, Ints]:
    """Maps of at most so many positions: of neighbours that become one, columns are summed and rows averaged.

    Returns
    -------
    The maps, whose rows still sum to 1, and where each new position starts among the old ones.
    """
    P = maps.weights.shape[-1]
    starts = np.arange(0, P, -(-P // most))
    sizes = np.diff([*starts, P])
    if len(starts) == P:
        return maps.weights, starts
    summed = np.add.reduceat(maps.weights, starts, axis=-1)
    return np.add.reduceat(summed, starts, axis=-2) / sizes[:, None], starts


def _span(name: object) -> tuple[int, int]:
    """First and last nucleotide of a position named "5-8"."""
    first, _, last = str(name).partition("-")
    return int(first), int(last or first)
