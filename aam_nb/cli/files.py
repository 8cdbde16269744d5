"""The commands `info` and `unifrac`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import tyro

from aam_nb.cli.args import TableArgs
from aam_nb.cli.messages import MAX_PATH_LENGTH, UsageError, explain_error, print_message
from aam_nb.config import UnifracConfig, UserError, to_one_line
from aam_nb.config.spreadsheet import escape_cell
from aam_nb.study.atomic import recover_folder, whole_file
from aam_nb.study.writable import own_descriptor


@dataclass(frozen=True, kw_only=True)
class Info:
    """Show what each file is and its size, or why it would be refused: tables, metadata, sequences, taxonomies, trees, run folders."""

    files: tyro.conf.Positional[tuple[Path, ...]]
    """Files, saved studies or run folders."""

    def __call__(self) -> None:
        if not self.files:
            raise UsageError("No file was given. Expected one or more. Try `aam-nb info table.biom metadata.tsv`.")
        refused = 0
        for path in self.files:
            name = str(path)
            name = to_one_line(name if len(name) <= MAX_PATH_LENGTH else f"{name[:80]}… ({len(name)} characters)")
            try:
                print(f"{name}: {to_one_line(describe_file(path))}")
            except (UserError, OSError) as error:
                refused += 1
                print(f"{name}: would be refused. {to_one_line(explain_error(error))}")
        if refused:
            raise UsageError(
                f"{refused} of {len(self.files)} {'files' if len(self.files) > 1 else 'file'} would be refused. "
                "See above for the reason and what to do."
            )


@dataclass(frozen=True, kw_only=True)
class Unifrac:
    """Compute UniFrac distances between all samples, as a square TSV table or as HDF5 that QIIME 2, ssu and scikit-bio read."""

    study: TableArgs
    out: Path
    """The file to write: .tsv or .h5; .h5 is written in blocks, so that the matrix need not fit into memory."""
    unifrac: UnifracConfig = field(default_factory=UnifracConfig)

    def __call__(self) -> None:
        if self.out.suffix not in (".tsv", ".h5") and own_descriptor(self.out) is None:
            raise UsageError(
                f"--out is {self.out}. Expected a name that ends in .tsv or .h5. Try `--out {self.out.with_suffix('.tsv')}`."
            )
        from aam_nb.diversity.unifrac import unifrac, write_unifrac

        study = self.study.read()
        if self.out.suffix == ".h5":
            write_unifrac(study, self.out, config=self.unifrac)
        else:
            distances = unifrac(study, config=self.unifrac)
            named = type(distances)(
                distances.data, ids=[escape_cell(i) for i in distances.ids]
            )  # not run by a spreadsheet
            with whole_file(self.out) as fresh:
                named.write(str(fresh))
        print_message(f"Wrote {study.num_samples} x {study.num_samples} distances to {self.out}")


def describe_file(path: Path) -> str:
    """A file's kind and size, or the error that reading it would give."""
    from aam_nb.study.info import what_is

    recover_folder(path)
    if path.is_dir():  # only a run folder needs torch
        from aam_nb.train.run_files import FILES

        if (path / FILES[0]).is_file():
            from aam_nb.train.load import load

            return f"run folder, {load(path, device='cpu')!r}"
        if (path / "checkpoints").is_dir():
            return f"unfinished training. Continue it with `aam-nb resume --run {path}`"
    return what_is(path)
