"""Cross-validation: every contender in every fold is a job, measured, saved as soon as it is done, and not done twice.

Several jobs may run at once, in processes.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from aam_nb.arrays import Bools
from aam_nb.baselines.settings import SharedSettings
from aam_nb.config import (
    UserError,
    count_noun,
    to_dict,
)
from aam_nb.config.schema import anything, fields, number, text
from aam_nb.config.stored import StoredFile
from aam_nb.evaluate.comparison.contenders import Contender
from aam_nb.evaluate.comparison.fitting import Pretrainings, fit_and_predict, pretraining_key
from aam_nb.evaluate.comparison.workers import without_interrupts, worker_pool
from aam_nb.study.atomic import scratch_folder, whole_file
from aam_nb.study.csv_files import write_csv
from aam_nb.study.lock import lock_folder
from aam_nb.study.splits import Split
from aam_nb.study.study import Study
from aam_nb.study.writable import check_writable_folder
from aam_nb.version import __version__

JOB_FORMAT = 3
"""Changes when the same job would give other predictions, so that old ones are not found."""
OF_BASELINES = (
    "tune",
    "inner_folds",
    "num_trees",
    "feature_prevalence",
    "baseline_samples",
    "baseline_cells",
    "seed",
)
"""Settings on which fits depend."""
DONE_IN = "folds"
"""Folder of the finished jobs within `out`."""
MEGABYTE = 2**20
MEASURED = {"fit_seconds", "predict_seconds", "memory_mb"}
FOLD = fields(
    {"facts": fields(dict.fromkeys(sorted(MEASURED), number()), others=anything)}, {"sha256": text()}, others=anything
)
"""Facts that every job has."""
EVERY_SECONDS = 0.02
"""Between two looks at the memory in use."""


class CompareError(UserError, RuntimeError):
    """A comparison cannot be made, or not to the end."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Fold:
    """One way to cut the samples in two.

    Parameters
    ----------
    repeat, number
        Counted from 0.
    test
        Mask of the samples held out, shape (n_samples,).
    split
        What the training side's `split_info` says.
    """

    repeat: int
    number: int
    test: Bools
    split: Split

    @property
    def name(self) -> str:
        return f"{self.split.fold}" + (f", repeat {self.repeat + 1}" if self.repeat else "")


@dataclass(frozen=True, kw_only=True)
class Job:
    """One contender in one fold; `key` is a digest of all that determines what comes out."""

    contender: Contender
    fold: Fold
    key: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a job gave.

    Parameters
    ----------
    prediction
        Of the fold's test samples, as `AAM.predict` gives it.
    facts
        `fit_seconds`, `predict_seconds`, `memory_mb` (most memory in use at once, less that at the start), and what
        `fit_baseline` tells.
    """

    prediction: pd.DataFrame
    facts: dict[str, Any]


def make_jobs(
    study: Study, contenders: Sequence[Contender], folds: Sequence[Fold], settings: SharedSettings
) -> list[Job]:
    """Every contender in every fold, fold by fold."""
    config = to_dict(settings.config)
    common = {
        "format": [JOB_FORMAT, __version__],
        "study": study.content_hash(),
        "metadata": hashlib.sha256(study.metadata.to_csv().encode()).hexdigest(),
        "target": [settings.target, settings.classes],
        "group": settings.group,
        "covariates": settings.covariates,
        "config": {k: config[k] for k in OF_BASELINES},
    }
    jobs = []
    for fold in folds:
        side = hashlib.sha256(np.packbits(fold.test).tobytes()).hexdigest()
        for contender in contenders:
            text = json.dumps([common, contender.spec(), fold.repeat, side], sort_keys=True)
            jobs.append(Job(contender=contender, fold=fold, key=hashlib.sha256(text.encode()).hexdigest()))
    return jobs


def run_jobs(
    study: Study,
    jobs: Sequence[Job],
    settings: SharedSettings,
    *,
    processes: int = 1,
    out: Path | None = None,
    progress: bool = True,
) -> dict[str, Outcome]:
    """Run the jobs that are not done yet.

    Parameters
    ----------
    study
        The samples that the folds' masks are of.
    jobs
        From `make_jobs`.
    settings
        What all contenders are given alike.
    processes
        Jobs that run at once.
    out
        Folder that keeps what is done: later calls take it from there.
    progress
        Whether to show a bar.

    Returns
    -------
    Outcomes by key.

    Raises
    ------
    CompareError
        A contender cannot be fitted, or a process was lost.
    """
    processes = min(processes, len(jobs))
    # Processes hand their results over as files: in a folder of their own where none is kept.
    own_folder = processes > 1 and out is None
    own_place = Path(tempfile.gettempdir()) / "aam_nb-compare"
    with scratch_folder(own_place) if own_folder else nullcontext(out) as opened:
        folder = None if opened is None else Path(opened) / DONE_IN
        done = {
            j.key: outcome
            for j in jobs
            if folder is not None and (outcome := _read(folder, j, study.sample_ids, settings)) is not None
        }
        todo = [j for j in {j.key: j for j in jobs}.values() if j.key not in done]
        bar = tqdm(
            total=len(jobs), initial=len(jobs) - len(todo), desc="comparing", unit="fit", delay=2, disable=not progress
        )
        try:
            with bar:
                processes = min(processes, len(todo))
                if processes > 1 and folder is not None:
                    outcomes = _in_processes(study, todo, settings, folder, bar, processes)
                else:
                    outcomes = _one_by_one(study, todo, settings, folder, bar)
                for key, outcome in outcomes:
                    done[key] = outcome
                    bar.update()
        except KeyboardInterrupt:
            tqdm.write(_stopped(len(done), len(jobs), out))
            raise
        return done


def _stopped(done: int, total: int, out: Path | None) -> str:
    head = f"Stopped after {done} of {total} fits."
    if out is None:
        return f"{head} They are lost. Keep them with `out=`: the same call then goes on where it stopped."
    return f"{head} They are kept in {out}: the same call, with the same `out`, goes on from there."


def _one_by_one(
    study: Study, jobs: Sequence[Job], settings: SharedSettings, folder: Path | None, bar: Any
) -> Iterator[tuple[str, Outcome]]:
    sides: dict[int, tuple[Study, Study]] = {}
    pretrainings: Pretrainings = {}
    for job in jobs:
        bar.set_postfix_str(f"{job.contender.name}, {job.fold.name}")
        if id(job.fold) not in sides:
            sides, pretrainings = {id(job.fold): make_sides(study, job.fold)}, {}
        outcome = run_job(job, *sides[id(job.fold)], settings, pretrainings)
        if folder is not None:
            _write(folder, job, outcome)
        yield job.key, outcome


def make_sides(study: Study, fold: Fold) -> tuple[Study, Study]:
    """Training and test study of a fold."""
    train, test = study.keep_samples(~fold.test), study.keep_samples(fold.test)
    return replace(train, split_info=fold.split), replace(test, split_info=replace(fold.split, part="test"))


def group_jobs(jobs: Sequence[Job], settings: SharedSettings) -> list[list[Job]]:
    """Jobs that share a pre-training, together; each of the others by itself; in the order of their first."""
    groups: dict[Any, list[Job]] = {}
    for job in jobs:
        key = pretraining_key(job.contender, settings.config.seed + job.fold.repeat)
        groups.setdefault(job.key if key is None else (id(job.fold), key), []).append(job)
    return list(groups.values())


def run_job(
    job: Job,
    train: Study,
    test: Study,
    settings: SharedSettings,
    pretrainings: Pretrainings,
    *,
    threads: int | None = None,
) -> Outcome:
    """Fit, predict, and measure time and memory; `pretrainings` are those of this training side."""
    with watch_memory() as most:
        try:
            seed = settings.config.seed + job.fold.repeat
            frame, facts = fit_and_predict(job.contender, train, test, settings, seed, threads, pretrainings)
        except UserError as error:
            raise CompareError(f"{job.contender.name} could not be fitted ({job.fold.name}): {error}") from error
    return Outcome(prediction=frame, facts=facts | {"memory_mb": most()})


@contextmanager
def watch_memory() -> Iterator[Callable[[], float]]:
    """Watch the memory of this process; the function given says, afterwards, by how many MB it rose at most."""
    import psutil

    process, over = psutil.Process(), threading.Event()
    start = most = process.memory_info().rss

    def watch() -> None:
        nonlocal most
        while not over.wait(EVERY_SECONDS):
            most = max(most, process.memory_info().rss)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield lambda: (most - start) / MEGABYTE
    finally:
        over.set()
        thread.join()
        most = max(most, process.memory_info().rss)


# -- on disk ----------------------------------------------------------------------------------------------------------


@contextmanager
def claimed(out: str | Path | None) -> Iterator[Path | None]:
    """The folder, for this comparison alone, after a check that it can be written to: before hours of fits rather than after the first.

    Raises
    ------
    NotWrittenError, FolderInUseError
        It cannot; another process writes it.
    """
    if out is None:
        yield None
        return
    with lock_folder(check_writable_folder(out)):
        yield Path(out)


def note_other_fits(out: Path | None, jobs: Sequence[Job]) -> list[str]:
    """That a folder also holds fits of other comparisons: they are no part of this result, and stay."""
    if out is None:
        return []
    own = {job.key for job in jobs}
    others = sum(path.stem not in own for path in (out / DONE_IN).glob("*.json"))
    if not others:
        return []
    return [
        f"{out / DONE_IN} also holds {count_noun(others, 'fit')} of other comparisons (other samples, settings or contenders), which this "
        "result does not use. They are kept for calls that ask for them again; delete them if there will be none."
    ]


def _write(folder: Path, job: Job, outcome: Outcome) -> None:
    """The predictions, then the facts: a job is done once its facts are there."""
    write_csv(outcome.prediction.rename_axis("sample_id"), folder / f"{job.key}.csv")
    record = {
        "contender": job.contender.name,
        "fold": job.fold.name,
        "spec": job.contender.spec(),
        "facts": outcome.facts,
        "sha256": _digest(folder / f"{job.key}.csv"),
    }
    with whole_file(folder / f"{job.key}.json") as path:
        path.write_text(json.dumps(record, indent=1), encoding="utf-8")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read(folder: Path, job: Job, sample_ids: pd.Index, settings: SharedSettings) -> Outcome | None:
    """What a finished job gave, None where it is not done or what is there is damaged."""
    table = folder / f"{job.key}.csv"
    try:
        record = StoredFile(path=folder / f"{job.key}.json").read_json(FOLD, nan=True)
        facts = record["facts"]
        frame = StoredFile(path=table).read_table(["sample_id"]).set_index("sample_id")
        intact = record.get("sha256", "") in ("", _digest(table))
        complete = set(frame.index) == set(sample_ids[job.fold.test])
        complete = complete and frame.index.is_unique
        if not intact or not complete or not facts.keys() >= MEASURED:
            return None
        numbers = [c for c in frame if settings.classes is None or c != settings.target]
        wanted = [settings.target, *(f"p({c})" for c in settings.classes or ())]
        return Outcome(prediction=frame[wanted].astype(dict.fromkeys(numbers, float)), facts=facts)
    except (OSError, ValueError, KeyError, TypeError):
        return None


# -- in processes -----------------------------------------------------------------------------------------------------

_worker: dict[str, Any] = {}
"""What this worker process was given when it began."""


def _in_processes(
    study: Study, jobs: Sequence[Job], settings: SharedSettings, folder: Path, bar: Any, processes: int
) -> Iterator[tuple[str, Outcome]]:
    from concurrent.futures import as_completed
    from concurrent.futures.process import BrokenProcessPool

    import torch

    workers: list[Any] = []
    threads = max(1, torch.get_num_threads() // processes)
    with scratch_folder(folder.parent / "study") as temporary:
        study.save(temporary / "study")
        given = (str(temporary / "study"), str(folder), settings, threads)
        try:
            with worker_pool(processes, _start_worker, given) as pool:
                with without_interrupts():
                    waiting = {pool.submit(_run_in_worker, group): group for group in group_jobs(jobs, settings)}
                    workers += (pool._processes or {}).values()
                for future in as_completed(waiting):
                    future.result()
                    for job in waiting[future]:
                        bar.set_postfix_str(f"{job.contender.name}, {job.fold.name}")
                        outcome = _read(folder, job, study.sample_ids, settings)
                        assert outcome is not None
                        yield job.key, outcome
        except BrokenProcessPool as error:
            if any(worker.exitcode == -9 for worker in workers):
                raise CompareError(
                    "A worker process was killed (signal 9), as the system does when memory runs out. Expected memory for "
                    f"{processes} at a time. Use `jobs=1`, fewer contenders, or a machine with more memory."
                ) from error
            raise CompareError(
                "A worker process ended before its work was done. Expected it to finish: memory may have run out, or the call stands in a "
                "script outside `if __name__ == '__main__':`. Put it there, or use `jobs=1`."
            ) from error


def _start_worker(study: str, folder: str, settings: SharedSettings, threads: int) -> None:
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(threads)
    _worker.update(
        study=Study.load(study),
        folder=Path(folder),
        settings=settings,
        threads=threads,
        limits=threadpool_limits(threads),
    )


def _run_in_worker(jobs: Sequence[Job]) -> None:
    """Jobs of one fold, which share a pre-training where they are several."""
    train, test = make_sides(_worker["study"], jobs[0].fold)
    settings, threads, pretrainings = _worker["settings"], _worker["threads"], Pretrainings()
    for job in jobs:
        _write(_worker["folder"], job, run_job(job, train, test, settings, pretrainings, threads=threads))
