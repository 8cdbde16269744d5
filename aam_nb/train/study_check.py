"""Does a study fit a trained model? What it shares with the training samples, and what would be read as something else.

A model keeps a short digest of each ASV it was trained on, so that it can be asked of any other whether it was among them.
"""

from __future__ import annotations

import base64
import hashlib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aam_nb.arrays import Bools, Floats
from aam_nb.config import Notice, UserError, count_noun, to_one_line
from aam_nb.study.study import Study

if TYPE_CHECKING:
    from aam_nb.model.covariates import Covariates
    from aam_nb.model.objectives import Task

DIGEST_BYTES = 6
"""Of each ASV: among 100,000 known ones a new ASV is taken for one of them once in three billion times."""
START = 32
"""Nucleotides by which ASVs of another length are recognised."""
MOST_LENGTHS = 50
"""Lengths of training ASVs that are looked for in longer ones, the most frequent first."""
WORD = 8
"""Nucleotides of the words that are compared where no ASV is known."""
NOTABLE_SHARE, FEW_KNOWN = 0.1, 0.01
"""Share of the reads, or ASVs, from which another length is told; share of the reads known below which that is told."""
REVERSED_SHARE = 0.01
"""Share of the ASVs, or reads, that are reverse complements of known ones, from which that is told."""
COMPLEMENT = str.maketrans("ACGT", "TGCA")


class StudyWarning(Notice):
    """A study does not look like what the model was trained on, so its predictions may mean little."""


class DamagedAsvsError(UserError, ValueError):
    """What was saved of the training ASVs cannot be read."""


def reverse_complement(dna: str) -> str:
    """The other strand, in its own direction: AACG gives CGTT."""
    return dna.translate(COMPLEMENT)[::-1]


def digest_of(dna: str) -> bytes:
    """The digest of a sequence."""
    return hashlib.blake2b(dna.encode(), digest_size=DIGEST_BYTES).digest()


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainingAsvs:
    """What is kept of the ASVs of a training.

    Parameters
    ----------
    whole, starts
        Digests of the ASVs, and of their first `START` nucleotides.
    lengths
        Lengths of the ASVs, and how many have each.
    """

    whole: frozenset[bytes] = frozenset()
    starts: frozenset[bytes] = frozenset()
    lengths: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, study: Study) -> TrainingAsvs:
        """Of the ASVs that the samples of a study hold."""
        asvs = study.asv_ids[study.prevalence.to_numpy() > 0]
        lengths = asvs.str.len().value_counts()
        return cls(
            whole=frozenset(map(digest_of, asvs)),
            starts=frozenset(digest_of(asv[:START]) for asv in asvs),
            lengths=dict(zip(lengths.index.tolist(), lengths.tolist(), strict=True)),
        )

    def __or__(self, other: TrainingAsvs) -> TrainingAsvs:
        lengths = dict(self.lengths)
        for length, number in other.lengths.items():
            lengths[length] = lengths.get(length, 0) + number
        return TrainingAsvs(whole=self.whole | other.whole, starts=self.starts | other.starts, lengths=lengths)

    def __repr__(self) -> str:
        return f"TrainingAsvs({count_noun(len(self.whole), 'ASV')})"

    def knows(self, asvs: Iterable[str]) -> Bools:
        """Of each ASV, whether it is one of these."""
        return np.array([digest_of(asv) in self.whole for asv in asvs], dtype=bool)

    def is_other_length(self, asv: str) -> bool:
        """Whether an ASV that is not among these is one of them with more nucleotides at an end, or fewer at its end than all of them."""
        common = sorted(self.lengths, key=lambda n: -self.lengths[n])[:MOST_LENGTHS]
        if any(digest_of(part) in self.whole for n in common if n < len(asv) for part in (asv[:n], asv[-n:])):
            return True
        return START <= len(asv) < min(self.lengths, default=0) and digest_of(asv[:START]) in self.starts

    def to_dict(self) -> dict[str, Any]:
        """As JSON: digests one after another, in base 64."""
        packed = {k: base64.b64encode(b"".join(sorted(getattr(self, k)))).decode() for k in ("whole", "starts")}
        return packed | {"lengths": [[length, number] for length, number in sorted(self.lengths.items())]}

    @classmethod
    def from_dict(cls, saved: Any) -> TrainingAsvs:
        """From what `to_dict` gave.

        Raises
        ------
        DamagedAsvsError
            It is not that.
        """
        try:
            unpacked = {k: base64.b64decode(saved[k], validate=True) for k in ("whole", "starts")}
            if any(len(v) % DIGEST_BYTES for v in unpacked.values()):
                raise ValueError("a digest is cut short")
            lengths = dict(saved["lengths"])
            if not all(type(n) is int and n > 0 for pair in lengths.items() for n in pair):
                raise ValueError("a length is none")
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedAsvsError(
                f"What is saved of the training ASVs is damaged ({error}). Expected digests and lengths. Restore the run folder from a "
                "copy, or fit again."
            ) from error
        parts = {
            k: frozenset(v[i : i + DIGEST_BYTES] for i in range(0, len(v), DIGEST_BYTES)) for k, v in unpacked.items()
        }
        return cls(**parts, lengths=lengths)


@dataclass(frozen=True, eq=False, kw_only=True)
class StudyCheck:
    """What a study shares with the samples that a model was trained on.

    Parameters
    ----------
    num_asvs
        ASVs that the samples of the study hold.
    known, reversed, other_length, outside
        How many of them are known from training; are reverse complements of known ones; are known ones with another start or end; are
        shorter or longer than all in training. The last three count none that is known.
    known_reads, reversed_reads, other_length_reads, outside_reads
        Shares of the study's reads in these, 0 to 1.
    lengths, trained_lengths
        Shortest and longest ASV of the study, and of the training.
    words, reversed_words
        Mean share of an ASV's words of 8 nucleotides that are in the model's reference ASVs, and of those of its reverse complement; NaN
        where it was not looked at, since enough is known.
    columns
        Sentences on covariates, and on groups of the target, whose values the model does not know.

    The counts of known ASVs are None for a run folder that was saved before these were kept.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=24, n_asvs=60, seed=0)
    >>> config = aam.TrainConfig(epochs=1, progress=False, device="cpu")
    >>> model = aam.AAM(aam.ModelConfig(width=16, num_layers=1)).fit(study, target="age", config=config)
    >>> model.check(study)
    StudyCheck(58 of 58 ASVs and 100% of the reads known from training)
    >>> model.check(study).sentences()
    []
    """

    num_asvs: int
    known: int | None
    known_reads: float
    reversed: int
    reversed_reads: float
    other_length: int
    other_length_reads: float
    outside: int
    outside_reads: float
    lengths: tuple[int, int]
    trained_lengths: tuple[int, int]
    words: float = float("nan")
    reversed_words: float = float("nan")
    columns: tuple[str, ...] = ()

    def sentences(self) -> list[str]:
        """What the user must know, a sentence or two each; empty where the study looks like the training samples."""
        return [text for text in (self._orientation(), self._other_lengths(), self._few_known()) if text] + [
            *self.columns
        ]

    def to_frame(self) -> pd.DataFrame:
        """Counts and shares, a row each: `value`."""
        return pd.DataFrame({"value": {k: v for k, v in asdict(self).items() if k != "columns"}}).rename_axis(
            "quantity"
        )

    def __repr__(self) -> str:
        told = "".join(f"\n  ! {to_one_line(s)}" for s in self.sentences())
        if self.known is None:
            return (
                f"StudyCheck({count_noun(self.num_asvs, 'ASV')}; the run keeps no digests of its training ASVs){told}"
            )
        known = f"{self.known:,} of {count_noun(self.num_asvs, 'ASV')} and {_percent(self.known_reads)} of the reads"
        return f"StudyCheck({known} known from training){told}"

    def _orientation(self) -> str:
        fix = "Turn them (DADA2: `rc()`; vsearch: `--orient`), and make the table again."
        if self.reversed and max(self.reversed / self.num_asvs, self.reversed_reads) >= REVERSED_SHARE:
            return (
                f"{self.reversed:,} of {count_noun(self.num_asvs, 'ASV')} ({_percent(self.reversed_reads)} of the reads) are the reverse "
                f"complement of an ASV from training, which the model takes for another organism. {fix}"
            )
        if self.reversed_words > max(0.2, 2 * self.words):
            return (
                f"The {count_noun(self.num_asvs, 'ASV')} look like reverse complements of those from training: "
                f"{_percent(self.reversed_words)} of their words of {WORD} nucleotides occur there read backwards, {_percent(self.words)} "
                f"as they are. {fix}"
            )
        return ""

    def _other_lengths(self) -> str:
        here, there = (
            f"{low} to {high} nt" if low < high else f"{low} nt" for low, high in (self.lengths, self.trained_lengths)
        )
        if max(self.other_length / max(1, self.num_asvs), self.other_length_reads) >= NOTABLE_SHARE:
            return (
                f"{self.other_length:,} of {count_noun(self.num_asvs, 'ASV')} ({_percent(self.other_length_reads)} of the reads) are ASVs "
                f"from training with another start or end ({here} here, {there} in training), so that none of them is known. Trim the "
                "reads as those of training were, primers included."
            )
        if max(self.outside / max(1, self.num_asvs), self.outside_reads) >= NOTABLE_SHARE:
            return (
                f"{self.outside:,} of {count_noun(self.num_asvs, 'ASV')} ({_percent(self.outside_reads)} of the reads) are shorter or "
                f"longer than all from training: {here} here, {there} in training. Trim the reads as those of training were, or "
                "expect less."
            )
        return ""

    def _few_known(self) -> str:
        if self.known is None or self.known_reads >= FEW_KNOWN or self._orientation() or self._other_lengths():
            return ""
        strange = ""
        if self.words < 0.1:
            strange = f", and only {_percent(self.words)} of their words of {WORD} nucleotides occur there: another gene or region?"
        return (
            f"{self.known:,} of {count_noun(self.num_asvs, 'ASV')} ({_percent(self.known_reads)} of the reads) are known from "
            f"training{strange or '.'} The model has to predict from ASVs it never saw: compare primers, region, trimming and habitat "
            "with those of training."
        )


class StudyChecks:
    """What a model knows of its training samples, and how it compares a study with them: a part of `AAM`."""

    covariates: Covariates | None
    reference_asvs: tuple[str, ...]
    samples: dict[str, list[str]]

    def __init__(self) -> None:
        self.trained_asvs: dict[str, TrainingAsvs] = {}
        self._told: list[tuple[frozenset[str], frozenset[str]]] = []

    @property
    def task(self) -> Task | None:
        """What is predicted, None where nothing is."""
        return None

    @property
    def seen(self) -> set[str]:
        """Ids of the samples that the weights depend on: pre-trained on, trained on, or used to choose the best epoch."""
        return {i for use in ("pretrain", "train", "validation") for i in self.samples.get(use, ())}

    def training_side(self, study: Study) -> Study | None:
        """The samples of `study` that `fit` used, for baselines to learn from; None where the study has none of them."""
        was_used = study.sample_ids.isin([*self.samples.get("train", ()), *self.samples.get("validation", ())])
        return study.keep_samples(was_used) if was_used.any() else None

    def check(self, study: Study) -> StudyCheck:
        """What a study shares with the training samples, and what the model would read as something else: see `StudyCheck`.

        Every verb that predicts makes this check first, and warns (`StudyWarning`) of what it finds.
        """
        columns = [] if self.covariates is None else self.covariates.describe_unseen(study)
        columns += [] if self.task is None else self.task.describe_unseen(study)
        trained: TrainingAsvs | None = None
        for asvs in self.trained_asvs.values():
            trained = asvs if trained is None else trained | asvs
        return check_study(study, trained, self.reference_asvs, columns)

    def remember_asvs(self, train: Study, stage: str) -> None:
        """Keep digests of the ASVs of a training; a new pre-training begins anew."""
        before = {} if stage == "pretrain" else {k: v for k, v in self.trained_asvs.items() if k == "pretrain"}
        self.trained_asvs, self._told = before | {stage: TrainingAsvs.of(train)}, []

    def warn_of(self, study: Study) -> None:
        """Warn of what `check` finds, once for the same ASVs and columns: a part of a study that was told is not told again."""
        checked = self.check(study)
        asvs, heads = frozenset(study.asv_ids), frozenset(text.split(":")[0] for text in checked.columns)
        if not checked.sentences() or any(asvs <= told and heads <= columns for told, columns in self._told):
            return
        self._told.append((asvs, heads))
        for text in checked.sentences():
            warnings.warn(StudyWarning(text), stacklevel=4)


def check_study(
    study: Study, trained: TrainingAsvs | None, references: Sequence[str], columns: Iterable[str] = ()
) -> StudyCheck:
    """Compare a study with what a model keeps of its training.

    Parameters
    ----------
    study
        Any samples.
    trained
        What is kept of the training ASVs, None where nothing is.
    references
        The model's reference ASVs.
    columns
        Sentences on metadata columns.
    """
    reads = np.zeros(study.num_asvs)
    for _, table in study.blocks():
        reads += np.asarray(table.sum(axis=0)).ravel()
    present = study.prevalence.to_numpy() > 0
    asvs, share = study.asv_ids[present], reads[present] / max(1.0, reads.sum())
    lengths = asvs.str.len().to_numpy()
    known = np.zeros(len(asvs), dtype=bool) if trained is None else trained.knows(asvs)
    flags = {name: np.zeros(len(asvs), dtype=bool) for name in ("reversed", "other_length", "outside")}
    trained_lengths = (min(trained.lengths, default=0), max(trained.lengths, default=0)) if trained else (0, 0)
    if trained is not None:
        unknown = np.flatnonzero(~known)
        flags["reversed"][unknown] = trained.knows(reverse_complement(a) for a in asvs[unknown])
        rest = unknown[~flags["reversed"][unknown]]
        flags["other_length"][rest] = [trained.is_other_length(a) for a in asvs[rest]]
        flags["outside"] = ~known & ((lengths < trained_lengths[0]) | (lengths > trained_lengths[1]))
    words = (float("nan"), float("nan"))
    if references and len(asvs) and known @ share < FEW_KNOWN:
        words = compare_words(asvs, share, references)
    return StudyCheck(
        num_asvs=len(asvs),
        known=None if trained is None else int(known.sum()),
        known_reads=float(known @ share) if trained is not None else float("nan"),
        reversed=int(flags["reversed"].sum()),
        reversed_reads=float(flags["reversed"] @ share),
        other_length=int(flags["other_length"].sum()),
        other_length_reads=float(flags["other_length"] @ share),
        outside=int(flags["outside"].sum()),
        outside_reads=float(flags["outside"] @ share),
        lengths=(int(lengths.min()), int(lengths.max())) if len(asvs) else (0, 0),
        trained_lengths=trained_lengths,
        words=words[0],
        reversed_words=words[1],
        columns=tuple(columns),
    )


def compare_words(asvs: pd.Index, share: Floats, references: Sequence[str], most: int = 500) -> tuple[float, float]:
    """Mean share of the words of the ASVs, and of their reverse complements, that are in the references; of the `most` with most reads."""
    there = {word for dna in references for word in _words(dna)}
    chosen = asvs[np.argsort(-share, kind="stable")[:most]]
    here = [(_words(a), _words(reverse_complement(a))) for a in chosen]
    means = [np.mean([len(w & there) / len(w) for w in side if w] or [np.nan]) for side in zip(*here, strict=True)]
    return float(means[0]), float(means[1])


def _words(dna: str) -> set[str]:
    return {dna[i : i + WORD] for i in range(len(dna) - WORD + 1)}


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.1 or share == 0 else f"{100 * share:.2g}%"
