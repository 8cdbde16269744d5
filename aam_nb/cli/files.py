"""Commands about files: info, unifrac."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import tyro

import aam_nb as aam
from aam_nb.cli.args import TableArgs
from aam_nb.cli.messages import LONGEST, UsageError, say, why
from aam_nb.config import (
    UnifracConfig,
    UserError,
    to_one_line,
)
from aam_nb.study.atomic import whole_file


@dataclass(frozen=True, kw_only=True)
class Info:
    """Say what files are, how large, and what would be refused: tables, metadata, sequences, taxonomies, trees, run folders."""

    files: tyro.conf.Positional[tuple[Path, ...]]
    """Files, saved studies or run folders."""

    def __call__(self) -> None:
        if not self.files:
            raise UsageError("No file was given. Expected one or more. Try `aam-nb info table.biom metadata.tsv`.")
        refused = 0
        for path in self.files:
            name = str(path) if len(str(path)) <= LONGEST else f"{str(path)[:80]}… ({len(str(path))} characters)"
            try:
                print(f"{name}: {to_one_line(what_is(path))}")
            except (UserError, OSError) as error:
                refused += 1
                print(f"{name}: would be refused. {to_one_line(why(error))}")
        if refused:
            raise UsageError(
                f"{refused} of {len(self.files)} files would be refused. The lines above say why, and what to do."
            )


@dataclass(frozen=True, kw_only=True)
class Unifrac:
    """UniFrac distances between all samples: a square TSV, or HDF5 that QIIME 2, ssu and scikit-bio read."""

    study: TableArgs
    out: Path
    """The file to write: .tsv, or .h5, which is written in blocks so that the matrix is never in memory."""
    unifrac: UnifracConfig = field(default_factory=UnifracConfig)

    def __call__(self) -> None:
        if self.out.suffix not in (".tsv", ".h5"):
            raise UsageError(
                f"--out is {self.out}. Expected a name that ends in .tsv or .h5. Try `--out {self.out.with_suffix('.tsv')}`."
            )
        study = self.study.read()
        if self.out.suffix == ".h5":
            aam.write_unifrac(study, self.out, config=self.unifrac)
        else:
            distances = aam.unifrac(study, config=self.unifrac)
            with whole_file(self.out) as fresh:
                distances.write(str(fresh))
        say(f"Wrote {study.num_samples} x {study.num_samples} distances to {self.out}")


def what_is(path: Path) -> str:
    """A file's kind and size, or the error that reading it would give."""
    from aam_nb.study import info
    from aam_nb.train.run import FILES

    if (path / FILES[0]).is_file():
        return f"run folder, {aam.load(path, device='cpu')!r}"
    return info.what_is(path)
