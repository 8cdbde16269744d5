"""QIIME 2's own valid and invalid metadata files, as scikit-bio brings them along and reads them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import skbio

import aam_nb as aam
from aam_nb.config import UserError

FILES = Path(skbio.__file__).parent / "metadata" / "tests" / "data"
VALID, INVALID = (sorted(p.name for p in (FILES / kind).glob("*")) for kind in ("valid", "invalid"))
LINE_BREAKS = "non-standard-characters.tsv"
"""Has a sample id over three lines, which no table of BIOM as text, and no list of ids, could name."""
MISSING = ("null", "N/A", "NA", "missing", "not applicable", "not collected", "not provided", "restricted access")
LENIENT = {
    "column-name-conflicts-with-id-header.tsv": ["col1", "featureid", "col3"],
    "directive-after-directives-section.tsv": ["col1", "col2", "col3"],
    "directive-longer-than-header.tsv": ["col1", "col2", "col3"],
    "duplicate-directives.tsv": ["col1", "col2", "col3"],
    "id-conflicts-with-id-header.tsv": ["col1", "col2", "col3"],
    "invalid-header.tsv": ["col1", "col2", "col3"],
    "missing-unknown-scheme.tsv": ["col1", "col2", "col3"],
}
"""Refused by QIIME 2 for what its own programs need, and read here: columns and samples are clear."""

pytestmark = pytest.mark.skipif(not VALID, reason="this scikit-bio was installed without its tests")


@pytest.mark.parametrize("name", [n for n in VALID if n != LINE_BREAKS])
@pytest.mark.filterwarnings("ignore")
def test_valid_files_are_read_as_scikit_bio_reads_them(name: str) -> None:
    theirs = skbio.metadata.SampleMetadata.load(str(FILES / "valid" / name)).to_dataframe()
    ours = aam.read_metadata(FILES / "valid" / name)
    assert list(ours.index) == list(theirs.index)
    assert list(ours.columns) == list(theirs.columns)
    for column in theirs.columns:
        for own, other in zip(ours[column], theirs[column], strict=True):
            if pd.isna(own):  # words for a missing value are one here, whatever the file says of them
                assert pd.isna(other) or other in MISSING, column
            else:
                assert own == other or float(own) == float(other), column


@pytest.mark.parametrize("name", [*INVALID, LINE_BREAKS])
@pytest.mark.filterwarnings("ignore")
def test_invalid_files_are_refused_or_clear(name: str) -> None:
    path = next(p for p in (FILES / "invalid" / name, FILES / "valid" / name) if p.exists())
    if name in LENIENT:
        assert list(aam.read_metadata(path).columns) == LENIENT[name]
        return
    with pytest.raises(UserError):
        aam.read_metadata(path)
