"""Feature tables in every format that labs have. Oracles: biom-format, pandas, anndata and hand-written files write them."""

from __future__ import annotations

import csv
import gzip
import io
import json
import uuid
import zipfile
from pathlib import Path
from typing import Any

import biom
import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

import aam_nb as aam
from aam_nb.config import UserError
from aam_nb.study.alignment import NeedsSequencesError
from aam_nb.study.errors import FormatError, StudyError
from aam_nb.study.readers import archives, table_text
from aam_nb.study.readers.archives import Source
from aam_nb.study.readers.table_columns import Roles
from aam_nb.study.readers.table_layout import Layout
from aam_nb.study.study import Study

SAMPLES = ["0012", "b"]
ASVS = ["ACGTACGTAC", "ACGTACGTAG", "TTTTTTTTTT"]
COUNTS = np.array([[3, 0, 1], [0, 5, 2]])  # samples x ASVs
HASHES = ["4b5eeb300368260019c1fbc7a3c718fc", "fe30ff0f71a38a39cf1717ec2be3a2fc", "d29fe3c70564fc0f69f2c03e0d1e5561"]
FASTA = "".join(f">{h}\n{a}\n" for h, a in zip(HASHES, ASVS, strict=True))


def table_of(counts: Any = COUNTS, samples: list[str] = SAMPLES, asvs: list[str] = ASVS) -> biom.Table:
    return biom.Table(np.asarray(counts, dtype=float).T, asvs, samples)


def write_hdf5(path: Path, table: biom.Table | None = None) -> Path:
    with h5py.File(path, "w") as file:
        (table or table_of()).to_hdf5(file, "test")
    return path


def write_qza(path: Path, kind: str, member: str, content: bytes, **more: bytes) -> Path:
    """An artifact as QIIME 2 lays it out: `UUID/metadata.yaml` and `UUID/data/…`."""
    root = str(uuid.UUID(int=7))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{root}/VERSION", "QIIME 2\narchive: 5\nframework: 2024.10.1\n")
        archive.writestr(f"{root}/metadata.yaml", f"uuid: {root}\ntype: {kind}\nformat: SomeDirFmt\n")
        archive.writestr(f"{root}/data/{member}", content)
        for name, text in more.items():
            archive.writestr(f"{root}/{name}", text)
    return path


def text_table(rows: list[list[Any]], separator: str) -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=separator, lineterminator="\n").writerows(rows)
    return out.getvalue()


def by_feature(asvs: list[str] = ASVS, corner: str = "#OTU ID") -> list[list[Any]]:
    return [[corner, *SAMPLES], *([a, *map(int, c)] for a, c in zip(asvs, COUNTS.T, strict=True))]


def by_sample(asvs: list[str] = ASVS, corner: str = "") -> list[list[Any]]:
    return [[corner, *asvs], *([s, *map(int, c)] for s, c in zip(SAMPLES, COUNTS, strict=True))]


def assert_is_the_table(study: Study) -> None:
    assert list(study.sample_ids) == SAMPLES
    assert list(study.asv_ids) == ASVS
    np.testing.assert_array_equal(study.table[:].toarray(), COUNTS)


# -- every format gives the same study --------------------------------------------------------------------------------


def write_format(name: str, folder: Path) -> Path:
    path = folder / name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(write_format(name[:-3], folder).read_bytes()))
    elif name == "table.biom":
        write_hdf5(path)
    elif name == "json.biom":
        path.write_text(table_of().to_json("test"))
    elif name == "dense.biom":
        found = json.loads(table_of().to_json("test"))
        path.write_text(json.dumps(found | {"matrix_type": "dense", "data": COUNTS.T.tolist()}))
    elif name == "table.qza":
        write_qza(path, "FeatureTable[Frequency]", "feature-table.biom", write_hdf5(folder / "inner").read_bytes())
    elif name == "converted.tsv":
        path.write_text(table_of().to_tsv())  # as `biom convert --to-tsv` writes it
    elif name == "features.csv":
        path.write_text(text_table(by_feature(corner="id"), ","))
    elif name == "semicolons.csv":
        path.write_text(text_table(by_feature(), ";"))
    elif name == "samples.tsv":
        path.write_text(text_table(by_sample(corner="sample_id"), "\t"))
    elif name == "dada2.csv":  # R: write.csv(seqtab.nochim, ...)
        pd.DataFrame(COUNTS, SAMPLES, ASVS).to_csv(path, quoting=csv.QUOTE_NONNUMERIC)
    elif name == "dada2.txt":  # R: write.table(seqtab.nochim, ..., sep = "\t"): the header names the columns alone
        lines = ["\t".join(f'"{a}"' for a in ASVS)]
        lines += [f'"{s}"\t' + "\t".join(map(str, c)) for s, c in zip(SAMPLES, COUNTS, strict=True)]
        path.write_text("\n".join(lines) + "\n")
    elif name == "windows.tsv":
        path.write_bytes(b"\xef\xbb\xbf" + text_table(by_feature(), "\t").replace("\n", "\r\n").encode())
    elif name == "floats.tsv":
        path.write_text(text_table([[f"{x:.1f}" if isinstance(x, int) else x for x in r] for r in by_feature()], "\t"))
    else:
        import anndata

        found = anndata.AnnData(sparse.csr_matrix(COUNTS.astype(np.float32)))
        found.obs_names, found.var_names = SAMPLES, ASVS
        found.obs["ph"] = [5.5, 7.0]
        found.write_h5ad(path)
    return path


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning:anndata")
@pytest.mark.parametrize(
    "name",
    [
        *("table.biom", "json.biom", "dense.biom", "table.qza", "converted.tsv", "features.csv", "semicolons.csv"),
        *("samples.tsv", "dada2.csv", "dada2.txt", "windows.tsv", "floats.tsv"),
        pytest.param("table.h5ad", marks=pytest.mark.anndata),
        *("table.biom.gz", "converted.tsv.gz", "json.biom.gz", "dada2.csv.gz"),
    ],
)
def test_every_format_gives_the_same_study(name: str, tmp_path: Path) -> None:
    assert_is_the_table(aam.read_study(write_format(name, tmp_path)))


@pytest.mark.anndata
@settings(max_examples=80, deadline=20_000, derandomize=True, suppress_health_check=list(HealthCheck))
@given(at=st.floats(0, 1), piece=st.binary(min_size=1, max_size=64))
def test_mutated_anndata_is_a_study_or_one_of_our_errors(
    tmp_path_factory: pytest.TempPathFactory, at: float, piece: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp()
    if not (folder / "table.h5ad").exists():
        write_format("table.h5ad", folder)
    whole = (folder / "table.h5ad").read_bytes()
    place = int(at * len(whole))
    (folder / "hurt.h5ad").write_bytes(whole[:place] + piece + whole[place + len(piece) :])
    try:
        study = aam.read_study(folder / "hurt.h5ad")
    except UserError:
        return
    assert isinstance(study, Study)


@pytest.mark.anndata
def test_anndata_brings_its_metadata(tmp_path: Path) -> None:
    study = aam.read_study(write_format("table.h5ad", tmp_path))
    assert study.metadata["ph"].to_dict() == {"0012": 5.5, "b": 7.0}


def test_a_taxonomy_in_the_table_is_kept(tmp_path: Path) -> None:
    lineages = ["k__Bacteria; p__Firmicutes", "k__Bacteria; p__Bacteroidota", "k__Archaea; p__"]
    as_text, as_biom, as_json = tmp_path / "t.tsv", tmp_path / "t.biom", tmp_path / "t.json"
    rows = [[*by_feature()[0], "taxonomy"], *([*r, t] for r, t in zip(by_feature()[1:], lineages, strict=True))]
    as_text.write_text(text_table(rows, "\t"))
    table = table_of()
    table.add_metadata({a: {"taxonomy": t.split("; ")} for a, t in zip(ASVS, lineages, strict=True)}, "observation")
    write_hdf5(as_biom, table)
    as_json.write_text(table.to_json("test"))
    for path in (as_text, as_biom, as_json):
        study = aam.read_study(path)
        assert_is_the_table(study)
        assert study.taxonomy is not None
        assert study.taxonomy["domain"].tolist() == ["Bacteria", "Bacteria", "Archaea"]
        assert study.taxonomy["phylum"].tolist()[:2] == ["Firmicutes", "Bacteroidota"]
        assert study.taxonomy["phylum"].isna().tolist() == [False, False, True]


def test_a_large_random_table_is_read_as_biom_format_reads_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    asvs = ["".join(rng.choice(list("ACGT"), 30)) for _ in range(400)]
    counts = rng.poisson(0.3, (250, 400)) * rng.integers(1, 10**6, (250, 400))
    path = write_hdf5(tmp_path / "t.biom", table_of(counts, [f"s{i}" for i in range(250)], asvs))
    study, oracle = aam.read_study(path), biom.load_table(str(path))
    assert list(study.sample_ids) == list(oracle.ids())
    assert list(study.asv_ids) == list(oracle.ids(axis="observation"))
    np.testing.assert_array_equal(study.table[:].toarray(), oracle.matrix_data.toarray().T)


@pytest.mark.parametrize(
    ("above", "corner"),
    [
        ("# Constructed from biom file\n", "#OTU ID"),
        ("# Exported by A, B and C; 2024\n\n", "#OTU ID"),
        ("", "Feature ID"),
        ("# one\n# two\n", "ASV"),
    ],
)
def test_comments_above_the_header_are_passed_over(above: str, corner: str, tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text(above + text_table(by_feature(corner=corner), "\t"))
    assert_is_the_table(aam.read_study(tmp_path / "t.tsv"))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from("\t,;"), st.booleans(), st.booleans())
def test_the_quick_way_through_a_text_gives_what_the_slow_one_gives(
    seed: int, separator: str, quoted: bool, with_lineage: bool
) -> None:
    rng = np.random.default_rng(seed)
    shape = int(rng.integers(1, 9)), int(rng.integers(1, 9))
    counts = rng.integers(0, 2**31, shape) * (rng.random(shape) < 0.4)
    names = [f"f{i}{rng.choice(['', ' x', '-1'])}" for i in range(shape[0])]
    header = ["id", *(f"s{j}" for j in range(shape[1])), *(["taxonomy"] if with_lineage else [])]
    rows = [[n, *map(int, c), *(["k__A; p__B"] if with_lineage else [])] for n, c in zip(names, counts, strict=True)]
    out = io.StringIO()
    quoting = csv.QUOTE_NONNUMERIC if quoted else csv.QUOTE_MINIMAL
    csv.writer(out, delimiter=separator, lineterminator="\n", quoting=quoting).writerows([header, *rows])
    source = Source(Path("t"), "t")
    layout = Layout(separator, header, out.getvalue().split("\n", 1)[1], [])
    columns = list(range(1, shape[1] + 1))
    roles = Roles(0, columns, {-1: len(header) - 1} if with_lineage else {}, None, [], [])
    quick = table_text._parse_with_pandas(layout, roles)
    slow = table_text._parse_row_by_row(source, layout, roles)
    assert quick is not None
    for cells in (quick, slow):
        assert cells.names == [n.strip() for n in names]
        assert cells.texts == ({len(header) - 1: ["k__A; p__B"] * shape[0]} if with_lineage else {})
        np.testing.assert_array_equal(cells.counts.toarray(), counts)


# -- hashed ids -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", ["plain", "gz", "qza"])
@pytest.mark.parametrize("form", ["biom", "feature rows", "sample rows"])
def test_hashed_features_are_named_by_their_sequences(form: str, packed: str, tmp_path: Path) -> None:
    if form == "biom":
        table = write_hdf5(tmp_path / "t.biom", table_of(asvs=HASHES))
    else:
        rows = by_feature(HASHES, "id") if form == "feature rows" else by_sample(HASHES)
        table = tmp_path / "t.tsv"
        table.write_text(text_table(rows, "\t"))
    sequences = tmp_path / "rep-seqs"
    text = (FASTA + ">unused extra words\nGGGG\n").encode()
    if packed == "qza":
        write_qza(sequences, "FeatureData[Sequence]", "dna-sequences.fasta", text)
    else:
        sequences.write_bytes(gzip.compress(text) if packed == "gz" else text)
    study = aam.read_study(table, sequences=sequences)
    assert_is_the_table(study)
    assert any("named 3 of 3 features by their sequences; 1 sequences belong to none" in s for s in study.provenance)


def test_hashed_features_without_sequences_are_refused_by_name(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "t.biom", table_of(asvs=HASHES))
    with pytest.raises(
        NeedsSequencesError, match=rf"3 of 3 .*\({HASHES[0]}.*hashes.*`aam\.read_study\(\.\.\., sequences="
    ):
        aam.read_study(path)


def test_a_feature_that_has_no_sequence_is_named(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "t.biom", table_of(asvs=HASHES))
    (tmp_path / "s.fasta").write_text(FASTA[: FASTA.rindex(">")])
    with pytest.raises(
        StudyError, match=rf"1 of 3 features .*not among the 2 sequences \({HASHES[2]}\).*made with this table"
    ):
        aam.read_study(path, sequences=tmp_path / "s.fasta")


def test_tree_and_taxonomy_may_be_named_by_the_same_hashes(tmp_path: Path) -> None:
    table = write_hdf5(tmp_path / "t.biom", table_of(asvs=HASHES))
    (tmp_path / "s.fasta").write_text(FASTA)
    (tmp_path / "t.nwk").write_text(f"(({HASHES[0]}:1,{HASHES[1]}:2):0.5,{HASHES[2]}:1);")
    (tmp_path / "tax.tsv").write_text(
        "Feature ID\tTaxon\tConfidence\n" + "".join(f"{h}\td__Bacteria; p__P{i}\t0.9\n" for i, h in enumerate(HASHES))
    )
    study = aam.read_study(
        table, sequences=tmp_path / "s.fasta", tree=tmp_path / "t.nwk", taxonomy=tmp_path / "tax.tsv"
    )
    assert set(study.require_tree().tips) == set(ASVS)
    assert any("3 tips were renamed by their sequences, 0 of 3 ASVs not among them" in s for s in study.provenance)
    assert study.taxonomy is not None
    assert study.taxonomy["phylum"].to_dict() == dict(zip(ASVS, ["P0", "P1", "P2"], strict=True))
    assert study.taxonomy["confidence"].tolist() == [0.9] * 3


def test_samples_named_by_barcodes_are_samples(tmp_path: Path) -> None:
    barcodes, asvs = ["ACGTACGTACGT", "TTGGCCAATTGG"], [a * 4 for a in ASVS]
    (tmp_path / "h.tsv").write_text(text_table([["#OTU ID", *barcodes], *([h, 1, 2] for h in HASHES)], "\t"))
    with pytest.raises(NeedsSequencesError):
        aam.read_study(tmp_path / "h.tsv")
    rows = [["", *asvs], *([b, *map(int, c)] for b, c in zip(barcodes, COUNTS, strict=True))]
    (tmp_path / "d.csv").write_text(text_table(rows, ","))
    study = aam.read_study(tmp_path / "d.csv")
    assert list(study.sample_ids) == barcodes
    assert list(study.asv_ids) == asvs


def test_what_a_table_says_beside_counts_is_told(tmp_path: Path) -> None:
    table = table_of()
    table.add_metadata({s: {"age": "5"} for s in SAMPLES})
    table.add_metadata({a: {"origin": "x"} for a in ASVS}, "observation")
    write_hdf5(tmp_path / "t.biom", table)
    (tmp_path / "t.json").write_text(table.to_json("test"))
    for name in ("t.biom", "t.json"):
        told = " | ".join(aam.read_study(tmp_path / name).provenance)
        assert "left out what the table says of its samples (age): give it as metadata" in told
        assert "left out what the table says of its features (origin)" in told


def test_a_table_whose_taxonomy_makes_no_sense_is_read_without_it(tmp_path: Path) -> None:
    rows = [[*by_feature()[0], "taxonomy"], *([*r, "d__Bacteria;uncultured"] for r in by_feature()[1:])]
    (tmp_path / "t.tsv").write_text(text_table(rows, "\t"))
    study = aam.read_study(tmp_path / "t.tsv")
    assert_is_the_table(study)
    assert study.taxonomy is None
    assert any("left out the taxonomy in" in s and "d__Bacteria;uncultured" in s for s in study.provenance)
    (tmp_path / "x.tsv").write_text("Feature ID\tTaxon\n" + "".join(f"{a}\td__Archaea\n" for a in ASVS))
    better = aam.read_study(tmp_path / "t.tsv", taxonomy=tmp_path / "x.tsv")
    assert better.taxonomy is not None
    assert set(better.taxonomy["domain"]) == {"Archaea"}
    assert any("another is given" in s for s in better.provenance)


def test_two_lineages_of_one_asv_are_told(tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_text(f"Feature ID\tTaxon\n{ASVS[0]}\tk__B\n{ASVS[0].lower()}\tk__A\n")
    study = aam.read_study(write_hdf5(tmp_path / "t.biom"), taxonomy=tmp_path / "x.tsv")
    assert any("1 lineages in" in s and "1 of them not the same; the first is kept" in s for s in study.provenance)


def test_hdf5_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"root:x:0:0" * 20)
    for trick in ("storage", "link", "virtual"):
        path = write_hdf5(tmp_path / f"{trick}.biom")
        with h5py.File(path, "a") as file:
            del file["sample/ids"]
            if trick == "storage":
                file.create_dataset("sample/ids", shape=(2,), dtype="S40", external=[(str(secret), 0, 80)])
            elif trick == "link":
                file["sample/ids"] = h5py.ExternalLink(str(secret), "/x")
            else:
                layout = h5py.VirtualLayout(shape=(2,), dtype="S40")
                layout[:] = h5py.VirtualSource(str(secret), "x", shape=(2,))
                file.create_virtual_dataset("sample/ids", layout)
        with pytest.raises(FormatError, match=r"link to another place|in another file"):
            aam.read_study(path)


def test_lists_where_texts_are_expected_are_refused_before_the_library_crashes(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "t.biom")
    with h5py.File(path, "a") as file:
        del file["sample/ids"]
        file.create_dataset("sample/ids", shape=(2,), dtype=h5py.vlen_dtype(np.uint8))
    with pytest.raises(FormatError, match="sample/ids holds lists"):
        aam.read_study(path)


def test_a_heap_in_which_the_library_would_loop_is_refused(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "t.biom")
    raw = bytearray(path.read_bytes())
    at = raw.index(b"GCOL")
    raw[at + 24 : at + 32] = (2**64 - 16).to_bytes(8, "little")
    path.write_bytes(raw)
    with pytest.raises(FormatError, match=r"a heap of texts at byte \d.* overruns"):
        aam.read_study(path)


def test_more_counts_than_cells_are_refused_before_they_are_read(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "t.biom")
    with h5py.File(path, "a") as file:
        for name in ("data", "indices"):
            del file[f"sample/matrix/{name}"]
            file.create_dataset(f"sample/matrix/{name}", shape=(10**6,), dtype="i4", compression="gzip")
        file["sample/matrix/indptr"][:] = [0, 10, 10**6]
    with pytest.raises(FormatError, match=r"1,000,000 counts for 2 x 3 cells"):
        aam.read_study(path)


# -- sequences that are not quite DNA ---------------------------------------------------------------------------------


def test_small_letters_and_rna_are_normalised_and_told(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "t.biom", table_of(asvs=["acgtacgtac", "ACGUACGUAG", "TTTTTTTTTT"]))
    (tmp_path / "t.nwk").write_text("((acgtacgtac:1,ACGUACGUAG:2):0.5,TTTTTTTTTT:1);")
    study = aam.read_study(path, tree=tmp_path / "t.nwk")
    assert_is_the_table(study)
    told = " | ".join(study.provenance)
    assert "wrote 1 of 3 sequences in upper case" in told
    assert "wrote T for U in 1 of 3 sequences" in told
    assert "2 tips were renamed in capitals, with T for U" in told
    study.require_tree()


def test_ambiguity_codes_are_kept_and_told(tmp_path: Path) -> None:
    study = aam.read_study(write_hdf5(tmp_path / "t.biom", table_of(asvs=["ACGTRYSWKM", *ASVS[1:]])))
    assert study.asv_ids[0] == "ACGTRYSWKM"
    assert any("1 ASVs hold IUPAC ambiguity codes, which are kept (ACGTRYSWKM)" in s for s in study.provenance)


@pytest.mark.parametrize(
    ("bad", "said"),
    [("ACGT-CGT.C", "gaps"), ("ACGT1", "no nucleotide"), ("MKVLAAGIVGLLLAQ", "proteins"), ("AC GT", "")],
)
def test_gaps_digits_and_proteins_are_refused(bad: str, said: str, tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "t.biom", table_of(asvs=[bad, *ASVS[1:]]))
    with pytest.raises(ValueError, match=rf"1 of 3 sequences .*{said}"):
        aam.read_study(path)


def test_lengths_far_apart_are_told(tmp_path: Path) -> None:
    study = aam.read_study(write_hdf5(tmp_path / "t.biom", table_of(asvs=["ACGTACGT", "A" * 40, "C" * 12])))
    assert any("ASV lengths run from 8 to 40 nt (median 12)" in s for s in study.provenance)


def test_reverse_complements_are_told_and_kept_apart(tmp_path: Path) -> None:
    study = aam.read_study(write_hdf5(tmp_path / "t.biom", table_of(asvs=["AACCGGTTAG", "CTAACCGGTT", "ACGTACGTAC"])))
    assert study.num_asvs == 3
    assert any("2 ASVs are the reverse complement of another ASV" in s for s in study.provenance)


@pytest.mark.parametrize("second", ["ACGTACGTAC", "acgtacgtac"])
def test_the_same_asv_twice_is_summed_on_request_alone(second: str, tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "t.biom")
    with h5py.File(path, "a") as file:  # biom-format itself refuses to write the same id twice
        file["observation/ids"][:] = ["ACGTACGTAC", second, "TTTTTTTTTT"]
    with pytest.raises(
        StudyError, match=r"1 ASV occurs more than once \(ACGTACGTAC\).*sum_duplicates=True.*--sum-duplicates"
    ):
        aam.read_study(path)
    for lazy in (False, True):
        study = aam.read_study(path, sum_duplicates=True, lazy=lazy)
        assert list(study.asv_ids) == ["ACGTACGTAC", "TTTTTTTTTT"]
        assert study.table[:].toarray().tolist() == [[3, 1], [5, 2]]
        assert any("summed 3 columns of 2 distinct sequences" in s for s in study.provenance)


# -- what is no table -------------------------------------------------------------------------------------------------

CASES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", r"is empty \(0 bytes\)"),
    "blank": (b"  \n\n", r"is empty"),
    "sequences": (FASTA.encode(), r"is sequences in FASTA.*`sequences=`"),
    "reads": (b"@r1\nACGT\n+\nIIII\n", r"is raw reads in FASTQ.*DADA2"),
    "tree": (b"(ACGT:1,GGGG:1);", r"is a tree in Newick.*`tree=`"),
    "picture": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", r"a picture \(PNG\)"),
    "prose": (b"Dear colleague,\nplease find attached\n", r"row 1|Expected"),
    "one column": (b"#OTU ID\nACGTACGTAC\n", r"one column"),
    "header alone": (b"#OTU ID\ts1\ts2\n", r"a header and no rows"),
    "comments alone": (b"# Constructed from biom file\n", r"nothing but comments"),
    "ragged": (b"#OTU ID\ts1\ts2\nACGTACGTAC\t1\t2\nACGTACGTAG\t1\n", r"2 fields in row 2 .* and 3 in the header"),
    "words": (b"#OTU ID\ts1\ts2\nACGTACGTAC\t1\tmany\n", r"'many' in row ACGTACGTAC, column s2"),
    "missing": (b"#OTU ID\ts1\ts2\nACGTACGTAC\t1\t\n", r"'' in row ACGTACGTAC, column s2.*0 where nothing"),
    "open quote": (b'#OTU ID\ts1\n"ACGTACGTAC\t1\nGGGGGGGGGG\t2\n', r"cannot be read as a table|quotes"),
    "negative": (b"#OTU ID\ts1\nACGTACGTAC\t-4\n", r"first: -4 in sample"),
    "fraction": (b"#OTU ID\ts1\nACGTACGTAC\t0.25\n", r"first: 0\.25 in sample"),
    "nan": (b"#OTU ID\ts1\nACGTACGTAC\tnan\n", r"first: nan in sample"),
    "infinite": (b"#OTU ID\ts1\nACGTACGTAC\tinf\n", r"first: inf in sample"),
    "overflow": (b"#OTU ID\ts1\nACGTACGTAC\t2147483648\n", r"from 0 to 2,147,483,647 \(first: 2\.147"),
    "no axis": (b"id\ts1\ts2\nf1\t1\t2\nf2\t3\t4\n", r"Neither the rows \(f1, f2\) nor the columns \(s1, s2\)"),
    "all zero": (b"#OTU ID\ts1\ts2\nACGTACGTAC\t0\t0\n", r"All counts .* are zero \(2 samples x 1 ASVs\)"),
    "samples twice": (b"#OTU ID\ts1\ts1\nACGTACGTAC\t1\t2\n", r"1 sample id occurs more than once \(s1\)"),
    "features twice": (
        b"#OTU ID\ts1\nACGTACGTAC\t1\nACGTACGTAC\t2\n",
        r"1 ASV occurs more than once .*sum_duplicates=True",
    ),
    "no row names": (b'"ACGTACGTAC","ACGTACGTAG"\n17,0\n5,5\n', r"DNA above all its columns .*row\.names = TRUE"),
    "too long": (b"id,ACGTACGTAC,ACGTACGTAG\ns1,1,2,9,9\ns2,4,5,7,8\n", r"5 fields in row 1 .* and 3 in the header"),
    "true": (b"#OTU ID\ts1\nACGTACGTAC\tTrue\n", r"'True' in row ACGTACGTAC"),
    "underscores": (b"#OTU ID\ts1\nACGTACGTAC\t1_000\n", r"'1_000' in row ACGTACGTAC"),
    "other digits": ("#OTU ID\ts1\nACGTACGTAC\t\u0663\n".encode(), r"in row ACGTACGTAC.*Expected a count"),
    "spaces": (b'"s1" "s2"\n"ACGTACGTAC" 1 2\n', r"separated by spaces, as R's `write\.table`"),
    "byte-order mark": (b"\xef\xbb\xbf", r"is empty"),
    "a control letter": (b"\x1f", r"table\.txt"),
    "not JSON": (b'{"rows": [', r"cannot be read as BIOM 1\.0"),
    "deep JSON": (b'{"rows":' * 50_000, r"cannot be read as BIOM 1\.0"),
    "other JSON": (b'{"a": 1}', r"cannot be read as BIOM 1\.0 \('columns'\)"),
    "not gzip": (b"\x1f\x8b\x08\x00" + b"x" * 50, r"cannot be unpacked"),
    "not zip": (b"PK\x03\x04" + b"x" * 50, r"cannot be unpacked"),
    "latin-1": ("#OTU ID\tcafé\nACGTACGTAC\t1\n".encode("latin-1"), r"not UTF-8 text: byte 0xe9 in line 1.*iconv"),
    "utf-16": ("#OTU ID\ts1\nACGTACGTAC\t1\n".encode("utf-16"), r"not UTF-8 text but UTF-16"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_no_table_is_refused_in_a_sentence(case: str, tmp_path: Path) -> None:
    content, said = CASES[case]
    path = tmp_path / "table.txt"
    path.write_bytes(content)
    with pytest.raises((FormatError, StudyError), match=said) as error:
        aam.read_study(path)
    assert "table.txt" in str(error.value) or isinstance(error.value, StudyError)


def biom1(**changes: Any) -> bytes:
    return json.dumps(json.loads(table_of().to_json("test")) | changes).encode()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (biom1(shape=[5, 2]), r"its shape is \(5, 2\) for 3 rows and 2 columns"),
        (biom1(data=[[0, 0, 1], [9, 0, 1]]), r"a count lies outside of the table"),
        (biom1(data=[[0, 0, 1], [-1, 0, 1]]), r"a count lies outside of the table"),
        (biom1(data=[[0, 0, 1], [0, 0, 2]]), r"a cell has two counts"),
        (biom1(data=[[0, 0, "x"]]), r"cannot be read as BIOM 1\.0"),
        (biom1(data=[[0, 0, -2]]), r"first: -2 in sample 0012, ASV ACGTACGTAC"),
        (biom1(columns=[{"id": "a"}, {"id": "a"}]), r"1 sample id occurs more than once \(a\)"),
    ],
)
def test_biom_1_that_contradicts_itself_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "t.biom").write_bytes(content)
    with pytest.raises((FormatError, StudyError), match=said):
        aam.read_study(tmp_path / "t.biom")


def test_a_table_without_samples_or_asvs_is_refused(tmp_path: Path) -> None:
    for table in (biom.Table(np.zeros((3, 0)), ASVS, []), biom.Table(np.zeros((0, 2)), [], SAMPLES)):
        path = tmp_path / "t.biom"
        with h5py.File(path, "w") as file:
            table.to_hdf5(file, "test")
        with pytest.raises((FormatError, StudyError), match=r"has no (samples|features) \(|cannot be read"):
            aam.read_study(path)


def test_a_distance_matrix_is_no_table(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["order"], file["matrix"] = [b"a"], [[0.0]]
    with pytest.raises(FormatError, match=r"is a distance matrix in HDF5.*Give the feature table"):
        aam.read_study(tmp_path / "d.h5")


# -- artifacts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "member", "said"),
    [
        (
            "FeatureTable[RelativeFrequency]",
            "feature-table.biom",
            r"of type FeatureTable\[RelativeFrequency\].*counts, not",
        ),
        ("Visualization", "index.html", r"of type Visualization"),
        ("FeatureData[Sequence]", "dna-sequences.fasta", r"FASTA|FeatureData\[Sequence\]"),
        ("FeatureTable[Frequency]", "other.biom", r"without feature-table\.biom"),
    ],
)
def test_artifacts_of_another_type_are_refused(kind: str, member: str, said: str, tmp_path: Path) -> None:
    path = write_qza(tmp_path / "a.qza", kind, member, FASTA.encode())
    with pytest.raises(FormatError, match=said):
        aam.read_study(path)


def test_artifacts_in_the_wrong_place_are_refused(tmp_path: Path) -> None:
    table = write_hdf5(tmp_path / "t.biom")
    artifact = write_qza(tmp_path / "a.qza", "FeatureTable[Frequency]", "feature-table.biom", table.read_bytes())
    for argument in ("metadata", "tree", "taxonomy", "sequences"):
        with pytest.raises(ValueError, match=r"of type FeatureTable\[Frequency\].*Expected"):
            aam.read_study(table, **{argument: artifact})  # type: ignore[arg-type]


def test_an_unrooted_artifact_asks_how_to_root_it(tmp_path: Path) -> None:
    table = write_hdf5(tmp_path / "t.biom")
    newick = f"({ASVS[0]}:1,{ASVS[1]}:2,{ASVS[2]}:4);".encode()
    unrooted = write_qza(tmp_path / "u.qza", "Phylogeny[Unrooted]", "tree.nwk", newick)
    with pytest.raises(FormatError, match=r"unrooted tree.*root='midpoint'.*--root midpoint"):
        aam.read_study(table, tree=unrooted)
    study = aam.read_study(table, tree=unrooted, root="midpoint")
    assert any("3 tips, rooted at the midpoint" in s for s in study.provenance)
    assert aam.faith_pd(study.keep_asvs([ASVS[2]]).filter(min_depth=1)).tolist() == [3.0, 3.0]  # half of 4 + 2


def test_a_bomb_is_stopped_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "FREE_BYTES", 2**16)
    zeros = b"0" * 2**24
    bomb = write_qza(tmp_path / "bomb.qza", "FeatureTable[Frequency]", "feature-table.biom", zeros)
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(zeros))
    for path in (bomb, tmp_path / "bomb.gz"):
        with pytest.raises(FormatError, match=r"bomb.* unpacks to more than .* MiB from [\d,]+ packed bytes"):
            aam.read_study(path)


def test_a_real_bomb_is_stopped_without_changing_the_limits(tmp_path: Path) -> None:
    bomb = write_qza(
        tmp_path / "b.qza", "FeatureTable[Frequency]", "feature-table.biom", b"0" * (archives.FREE_BYTES + 2**21)
    )
    with pytest.raises(FormatError, match=r"unpacks to more than 64 MiB"):
        aam.read_study(bomb)


def test_names_in_an_archive_lead_nowhere(tmp_path: Path) -> None:
    """A member called ../../evil is not unpacked to that place, nor at all."""
    path = tmp_path / "deep" / "er" / "a.qza"
    path.parent.mkdir(parents=True)
    table = write_hdf5(tmp_path / "t.biom").read_bytes()
    write_qza(path, "FeatureTable[Frequency]", "feature-table.biom", table, **{"../../../evil.txt": b"x"})
    assert_is_the_table(aam.read_study(path))
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.qza", "deep", "er", "t.biom"]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("name", ["table.qza", "table.biom.gz", "table.biom", "json.biom"])
def test_truncated_files_are_refused(name: str, share: float, tmp_path: Path) -> None:
    whole = write_format(name, tmp_path).read_bytes()
    (tmp_path / "cut").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(FormatError, match=r"cut .*again"):
        aam.read_study(tmp_path / "cut")


def test_shares_are_refused_by_the_names_of_sample_and_asv_in_either_orientation(tmp_path: Path) -> None:
    below = "#OTU ID\tS1\tS2\nACGTACGT\t0.25\t3\nACGTACGA\t0.75\t1\n"
    beside = "\tACGTACGT\tACGTACGA\nS1\t0.25\t0.75\nS2\t3\t1\n"
    for text in (below, beside):
        (tmp_path / "shares.tsv").write_text(text)
        with pytest.raises(ValueError, match=r"sample S1.*ACGTACGT"):
            aam.read_study(tmp_path / "shares.tsv")


# -- layouts that other programs write --------------------------------------------------------------------------------

THREE = ["ACGTTGCAACGTACGTAGGT", "TTGCAAGCTACGTTAGCCAA", "GGCATTACGATCCGATTACC"]


def lines_of(*rows: list[object], separator: str = ",") -> str:
    return "".join(separator.join(map(str, row)) + "\n" for row in rows)


@pytest.mark.parametrize(
    "text",
    {
        "a tab at the end of the header": lines_of(
            ["#OTU ID", "a", "b", ""], *([s, k, 2] for k, s in enumerate(THREE)), separator="\t"
        ),
        "quoted names with commas": lines_of(['"id"', '"a"', '"b"'], *([f'"{s}"', k, 2] for k, s in enumerate(THREE))),
        "a title above": "Table S1\n\n" + lines_of(["ASV", "a", "b"], *([s, k, 2] for k, s in enumerate(THREE))),
        "Excel's sep line": "sep=;\n"
        + lines_of(["ASV", "a", "b"], *([s, k, 2] for k, s in enumerate(THREE)), separator=";"),
        "R's row names": lines_of(["a", "b"], *([s, k, 2] for k, s in enumerate(THREE)), separator="\t"),
        "blank rows": lines_of(
            ["ASV", "a", "b"], ["", "", ""], *([s, k, 2] for k, s in enumerate(THREE)), ["", "", ""]
        ),
        "a length": lines_of(["ASV", "length", "a", "b"], *([s, len(s), k, 2] for k, s in enumerate(THREE))),
        "a length by another name": lines_of(["ASV", "x", "a", "b"], *([s, len(s), k, 2] for k, s in enumerate(THREE))),
        "a total": lines_of(["ASV", "a", "b", "Total"], *([s, k, 2, k + 2] for k, s in enumerate(THREE))),
        "a total row": lines_of(["ASV", "a", "b"], *([s, k, 2] for k, s in enumerate(THREE)), ["Total", 3, 6]),
        "ranks": lines_of(
            ["ASV", "a", "b", "Kingdom", "Phylum"], *([s, k, 2, "Bacteria", "X"] for k, s in enumerate(THREE))
        ),
        "a lineage of semicolons": lines_of(
            ["ASV", "a", "b", "taxonomy"], *([s, k, 2, "k__Bacteria; p__X"] for k, s in enumerate(THREE)), separator=";"
        ),
    }.items(),
    ids=lambda case: case[0],
)
def test_layouts_of_other_programs_give_the_counts(text: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text(text[1])
    study = aam.read_study(tmp_path / "t.txt")
    assert list(study.sample_ids) == ["a", "b"]
    assert list(study.asv_ids) == THREE
    assert study.table[:].toarray().tolist() == [[0, 1, 2], [2, 2, 2]]
    told = " ".join(study.provenance)
    assert ("set aside" in told) == (text[0] in ("a length", "a length by another name", "a total", "a total row"))


@pytest.mark.parametrize("cell", ["1,204", "1 204", "1’204", "1,204,000"])
def test_thousands_are_refused_by_their_mark(cell: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(lines_of(["ASV", "a", "b"], [THREE[0], f'"{cell}"', 2], [THREE[1], 3, 4]))
    with pytest.raises(FormatError, match=f"'{cell}'.*column a.*mark between the thousands"):
        aam.read_study(tmp_path / "t.csv")


def test_a_shared_file_of_mothur_is_read_with_its_sequences(tmp_path: Path) -> None:
    (tmp_path / "x.shared").write_text("label\tGroup\tnumOtus\tOtu1\tOtu2\n0.03\ta\t2\t5\t0\n0.03\tb\t2\t1\t7\n")
    (tmp_path / "x.fasta").write_text(f">Otu1\n{THREE[0]}\n>Otu2\n{THREE[1]}\n")
    study = aam.read_study(tmp_path / "x.shared", sequences=tmp_path / "x.fasta")
    assert study.table[:].toarray().tolist() == [[5, 0], [1, 7]]
    assert list(study.sample_ids) == ["a", "b"]
    with pytest.raises(StudyError, match=r"mothur shared, are names .*--sequences"):
        aam.read_study(tmp_path / "x.shared")


def biom1(rows: list[object], columns: list[object], data: list[list[int]]) -> str:
    matrix = {"matrix_type": "sparse", "matrix_element_type": "int", "shape": [len(rows), len(columns)], "data": data}
    return json.dumps({"id": None, "format": "1.0.0", "type": "OTU table", "rows": rows, "columns": columns, **matrix})


def test_ranks_under_keys_of_their_own_are_the_taxonomy(tmp_path: Path) -> None:
    rows: list[object] = [
        {"id": THREE[0], "metadata": {"Kingdom": "k__Bacteria", "Phylum": "Bacillota", "Genus": None}},
        {"id": THREE[1], "metadata": {"Kingdom": "Bacteria", "Phylum": None, "Genus": "NA"}},
    ]
    columns: list[object] = [{"id": "a", "metadata": None}]
    (tmp_path / "t.biom").write_text(biom1(rows, columns, [[0, 0, 3], [1, 0, 4]]))
    study = aam.read_study(tmp_path / "t.biom")
    assert study.taxonomy is not None
    assert study.taxonomy["domain"].tolist() == ["Bacteria", "Bacteria"]
    assert study.taxonomy["phylum"].fillna("").tolist() == ["Bacillota", ""]
    table = biom.Table(np.array([[3], [4]]), THREE[:2], ["a"], [{"Rank1": "Bacteria", "Rank2": p} for p in "XY"], None)
    assert write_hdf5(tmp_path / "h.biom", table).is_file()
    again = aam.read_study(tmp_path / "h.biom").taxonomy
    assert again is not None
    assert again["phylum"].tolist() == ["X", "Y"]


@pytest.mark.parametrize("wrong", [None, True, 1.5, "", [1]])
def test_ids_that_are_no_text_are_refused(wrong: object, tmp_path: Path) -> None:
    (tmp_path / "t.biom").write_text(
        biom1([{"id": THREE[0], "metadata": None}], [{"id": wrong, "metadata": None}], [[0, 0, 3]])
    )
    with pytest.raises(FormatError, match="id of sample 1 of 1 is"):
        aam.read_study(tmp_path / "t.biom")


def test_a_transposed_table_is_called_so(tmp_path: Path) -> None:
    rows: list[object] = [{"id": i, "metadata": None} for i in ("P1", "P2")]
    columns: list[object] = [{"id": i, "metadata": None} for i in THREE]
    (tmp_path / "t.biom").write_text(biom1(rows, columns, [[0, 0, 3], [1, 2, 1]]))
    with pytest.raises(StudyError, match="looks transposed: its 3 samples are DNA"):
        aam.read_study(tmp_path / "t.biom")


def test_asvs_within_others_are_counted(tmp_path: Path) -> None:
    long = "ACGTTGCAACGTACGTAGGTACCA"
    names = [long, long[:20], long[:16], long[4:], "GGCATTACGATCCGATTACC"]
    (tmp_path / "t.tsv").write_text(lines_of(["#OTU ID", "a"], *([n, 1] for n in names), separator="\t"))
    told = " ".join(aam.read_study(tmp_path / "t.tsv").provenance)
    assert "2 ASVs are the beginning of a longer ASV" in told
    assert "1 ASV is the end of a longer ASV" in told


def test_halves_of_a_file_that_disagree_are_refused(tmp_path: Path) -> None:
    table = biom.Table(np.array([[3, 1], [4, 0]]), THREE[:2], ["a", "b"])
    for change in ("more", "other", "infinite", "none"):
        path = write_hdf5(tmp_path / f"{change}.biom", table)
        with h5py.File(path, "r+") as file:
            matrix = file["observation/matrix"]
            if change == "other":
                matrix["data"][0] = 5
            elif change == "infinite":
                matrix["data"][:2] = np.inf, -np.inf
            elif change == "more":
                data = [*matrix["data"][:], 2.0]
                del matrix["data"]
                matrix["data"] = data
            else:
                del file["observation/matrix"]
        if change == "none":
            assert aam.read_study(path).depth.tolist() == [7, 1]
            continue
        with pytest.raises(FormatError, match="by observation"):
            aam.read_study(path)


def test_a_comma_in_thousands_does_not_make_two_counts(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"x,P1,P2\n{THREE[0]},1,204,55\n{THREE[1]},2,317,8\n")
    with pytest.raises(FormatError, match=r"one field more.*1204, not 1,204"):
        aam.read_study(tmp_path / "t.csv")


def test_a_sample_of_counts_in_a_row_stays(tmp_path: Path) -> None:
    names = [*THREE, "CCATTACGATCCGATTACCA"]
    (tmp_path / "t.csv").write_text(lines_of(["ASV", "a", "b"], *([s, k + 1, 7] for k, s in enumerate(names))))
    assert list(aam.read_study(tmp_path / "t.csv").sample_ids) == ["a", "b"]
