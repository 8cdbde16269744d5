"""Files of a study as strangers send them: valid ones of each format, and what is right of what is read, by readers that share no code."""

from __future__ import annotations

import gzip
import io
import json
import re
import warnings
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import biom
import h5py
import numpy as np
import pandas as pd
from scipy import sparse

import aam_nb as aam
from aam_nb.config import UserError
from aam_nb.study.study import Study

DNA = [
    "ACGTACGTACGTTTGA",
    "ACGTACGTACGTTTGC",
    "GGGTACGAACGTTCGA",
    "TTGTACGTACGATTGA",
    "CCGTACGTACGTTAAA",
    "ACGGGCGTACGTTTTT",
]
SAMPLES = ["s1", "s2", "0012", "a b", "s-5"]
COUNTS = np.array(
    [[3, 0, 2, 7, 0, 1], [0, 4, 1, 0, 0, 9], [5, 5, 0, 0, 1, 0], [12, 0, 0, 3, 2, 2], [0, 1, 1, 1, 1, 120]]
)
RANKS = ["Kingdom", "Phylum", "Class", "Order", "Family", "Genus"]
LINEAGES = [f"d__Bacteria; p__P{k % 2}; c__C{k}; o__O{k}; f__; g__" for k in range(6)]
NEWICK = f"((({DNA[0]}:0.1,{DNA[1]}:0.2):0.05,({DNA[2]}:1e-3,{DNA[3]}:0.4)0.98:0.1):0.2,('{DNA[4]}':0.3,{DNA[5]}:0.25):0.02);"
METADATA = "sample-id\tage\tdiet\tday\thost\n#q2:types\tnumeric\tcategorical\tcategorical\tcategorical\n" + "".join(
    f"{s}\t{20 + 1.5 * k}\t{'meat' if k % 2 else 'plants, raw'}\t2026-01-0{k + 1}\t00{k // 2}\n"
    for k, s in enumerate(SAMPLES)
)


def _rows(corner: str, separator: str, *, turned: bool = False) -> str:
    names, ids, table = (DNA, SAMPLES, COUNTS) if not turned else (SAMPLES, DNA, COUNTS.T)
    lines = [separator.join([corner, *names])]
    lines += [separator.join([i, *map(str, row)]) for i, row in zip(ids, table, strict=True)]
    return "\n".join(lines) + "\n"


def _artifact(kind: str, name: str, content: bytes) -> bytes:
    memory = io.BytesIO()
    root = "5d2b6f2e-0000-4000-8000-000000000001"
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, raw in {
            "VERSION": b"QIIME 2\narchive: 5\nframework: 2024.5\n",
            "metadata.yaml": f"uuid: {root}\ntype: {kind}\nformat: X\n".encode(),
            f"data/{name}": content,
        }.items():
            archive.writestr(zipfile.ZipInfo(f"{root}/{member}"), raw, compress_type=zipfile.ZIP_DEFLATED)
    return memory.getvalue()


def make_study_files(folder: Path) -> dict[str, dict[str, bytes]]:
    """Valid files by kind and name."""
    table = biom.Table(COUNTS.T, DNA, SAMPLES, [{"taxonomy": line.split("; ")} for line in LINEAGES])
    with h5py.File(folder / "made.biom", "w") as file:
        table.to_hdf5(file, "a test")
    biom2 = (folder / "made.biom").read_bytes()
    biom1 = table.to_json("a test").encode()
    dense = json.loads(biom1)
    dense.update(matrix_type="dense", data=COUNTS.T.tolist())
    text = {
        "samples.tsv": _rows("", "\t"),
        "asvs.tsv": "# Constructed from biom file\n" + _rows("#OTU ID", "\t", turned=True),
        "dada2.csv": _rows('""', ","),
        "asvs.csv": _rows("Feature ID", ",", turned=True),
    }
    lineages = "Feature ID\tTaxon\tConfidence\n" + "".join(
        f"{d}\t{t}\t0.9{k}\n" for k, (d, t) in enumerate(zip(DNA, LINEAGES, strict=True))
    )
    ranks = ",".join(["", *RANKS]) + "\n" + "".join(f"{d},Bacteria,P{k % 2},C{k},O{k},,NA\n" for k, d in enumerate(DNA))
    fasta = "".join(f">asv{k} size={k}\n{d[:8]}\n{d[8:].lower()}\n" for k, d in enumerate(DNA))
    shared = "label\tGroup\tnumOtus\t" + "\t".join(f"Otu{k + 1:02d}" for k in range(6)) + "\n"
    shared += "".join(
        f"0.03\t{s.replace(' ', '_')}\t6\t" + "\t".join(map(str, r)) + "\n"
        for s, r in zip(SAMPLES, COUNTS, strict=True)
    )
    otus = "".join(f">Otu{k + 1:02d}\n{d}\n" for k, d in enumerate(DNA))
    cons = "OTU\tSize\tTaxonomy\n" + "".join(
        f"Otu{k + 1:02d}\t{10 * k + 1}\tBacteria(100);Firmicutes(9{k});X{k}(80);\n" for k in range(6)
    )
    files: dict[str, dict[str, bytes]] = {
        "table_text": {name: t.encode() for name, t in text.items()},
        "table_biom1": {"sparse.biom": biom1, "dense.biom": json.dumps(dense).encode()},
        "table_biom2": {"table.biom": biom2},
        "table_mothur": {"x.shared": shared.encode()},
        "metadata": {
            "metadata.tsv": METADATA.encode(),
            "metadata.csv": "\n".join(
                ",".join(f'"{c}"' if "," in c else c for c in line.split("\t"))
                for line in METADATA.split("\n")
                if "#q2" not in line
            ).encode(),
            "semicolons.csv": METADATA.replace(",", "").replace("\t", ";").encode(),
            "xlsx.csv": _workbook(),
        },
        "tree": {
            "tree.nwk": NEWICK.encode(),
            "quoted.nwk": ("[a comment] " + NEWICK.replace("0.02", "2E-2").replace(",", ",\n ")).encode(),
        },
        "taxonomy": {"taxonomy.tsv": lineages.encode(), "ranks.csv": ranks.encode(), "cons.taxonomy": cons.encode()},
        "sequences": {"seqs.fasta": fasta.encode(), "otus.fasta": otus.encode()},
    }
    if find_spec("anndata") is not None:
        files["table_anndata"] = _anndata_files(folder)
    files["archive"] = {
        "table.qza": _artifact("FeatureTable[Frequency]", "feature-table.biom", biom2),
        "tree.qza": _artifact("Phylogeny[Rooted]", "tree.nwk", NEWICK.encode()),
        "taxonomy.qza": _artifact("FeatureData[Taxonomy]", "taxonomy.tsv", lineages.encode()),
        "sequences.qza": _artifact(
            "FeatureData[Sequence]", "dna-sequences.fasta", "".join(f">{k}\n{d}\n" for k, d in enumerate(DNA)).encode()
        ),
    }
    files["gzip"] = {
        "table.tsv.gz": gzip.compress(text["asvs.tsv"].encode(), mtime=0),
        "metadata.tsv.gz": gzip.compress(METADATA.encode(), mtime=0),
        "tree.nwk.gz": gzip.compress(NEWICK.encode(), mtime=0),
        "table.biom.gz": gzip.compress(biom1, mtime=0),
    }
    every = ("table_text", "table_biom1", "table_biom2", "metadata", "tree", "taxonomy", "sequences", "archive", "gzip")
    files["info"] = {f"{kind}.{name}": raw for kind in every for name, raw in files[kind].items()}
    return files


def _anndata_files(folder: Path) -> dict[str, bytes]:
    """Counts as AnnData keeps them: by rows, by columns, and all cells."""
    import anndata

    files = {}
    for name, make in {"rows": sparse.csr_matrix, "columns": sparse.csc_matrix, "dense": np.asarray}.items():
        data = anndata.AnnData(make(COUNTS.astype(np.float32)))
        data.obs_names, data.var_names = SAMPLES, DNA
        data.obs["ph"] = [5.5, 7.0, 6.25, 8.0, 7.5]
        data.obs["diet"] = pd.Categorical(["meat", "plants", "meat", "plants", "meat"])
        data.var["genus"] = [f"g__G{k}" for k in range(6)]
        data.write_h5ad(folder / "made.h5ad")
        files[f"{name}.h5ad"] = (folder / "made.h5ad").read_bytes()
    return files


def _workbook() -> bytes:
    """The parts of an Excel workbook that matter to a reader that does not read them."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for name in ("[Content_Types].xml", "xl/workbook.xml", "xl/worksheets/sheet1.xml"):
            archive.writestr(zipfile.ZipInfo(name), f"<{name[:2]}/>")
    return memory.getvalue()


# -- what is right --------------------------------------------------------------------------------------------------------


def check_study(study: Study) -> Study:
    """Laws of every study."""
    table = sparse.csr_array(study.table)
    assert table.dtype == np.int64, table.dtype
    assert table.shape == (len(study.sample_ids), len(study.asv_ids))
    assert table.nnz == 0 or table.data.min() > 0
    for ids in (study.sample_ids, study.asv_ids):
        assert ids.is_unique
        assert all(isinstance(i, str) and i for i in ids)
    assert all(re.fullmatch("[ACGTURYSWKMBDHVN]+", a) for a in study.asv_ids)
    assert list(study.metadata.index) == list(study.sample_ids)
    return study


def cells(study: Study) -> dict[tuple[str, str], int]:
    """Counts above 0 by sample and ASV."""
    table = sparse.coo_array(study.table)
    return {(study.sample_ids[i], study.asv_ids[j]): int(v) for i, j, v in zip(*table.coords, table.data, strict=True)}


def plain_table(raw: bytes) -> dict[tuple[str, str], int] | None:
    """Counts of text that leaves no doubt; None of any other."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return None
    lines = text.removesuffix("\n").split("\n")
    lines = lines[1:] if lines[0] == "# Constructed from biom file" else lines
    separator = max("\t,", key=lines[0].count)
    rows = [line.split(separator) for line in lines]
    names, ids, body = rows[0][1:], [r[0] for r in rows[1:]], [r[1:] for r in rows[1:]]
    if (
        re.search(r"[^\w\t,. \n#-]", text, re.ASCII)
        or not names
        or not ids
        or any(len(r) != len(rows[0]) for r in rows)
    ):
        return None
    if not all(re.fullmatch(r"0|[1-9]\d{0,8}", c) for row in body for c in row):
        return None
    are_dna = [[bool(re.fullmatch("[ACGT]{10,}", i)) for i in axis] for axis in (names, ids)]
    if sorted([all(are_dna[0]), all(are_dna[1])]) != [False, True] or any(are_dna[0]) == any(are_dna[1]):
        return None
    if any(i != i.strip() or not i or i.startswith("#") for i in names + ids):
        return None
    found = {}
    for i, row in zip(ids, body, strict=True):
        for name, cell in zip(names, row, strict=True):
            found[(i, name) if all(are_dna[0]) else (name, i)] = int(cell)
    return {k: v for k, v in found.items() if v} if len(found) == len(ids) * len(names) else None


def read_table_text(path: Path) -> None:
    """Text: as split at its separators."""
    raw = path.read_bytes() if path.is_file() else b""
    study = check_study(aam.read_study(path))
    expected = plain_table(raw)
    if expected is not None:
        assert cells(study) == expected, "other counts than the text has"


def read_biom(path: Path) -> None:
    """BIOM: as the biom-format package reads it."""
    study = check_study(aam.read_study(path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            table = biom.load_table(str(path))
            shape, ids = table.shape, (table.ids("sample"), table.ids("observation"))
            matrix = sparse.coo_array(table.matrix_data)
        except Exception:
            return  # stricter, or broken by it
    if shape != (len(ids[1]), len(ids[0])) or not (np.isfinite(matrix.data) & (matrix.data < 2**31)).all():
        return
    other: dict[tuple[str, str], float] = {}
    for i, j, v in zip(*matrix.coords, matrix.data, strict=True):
        key = (str(ids[0][j]), str(ids[1][i]).upper().replace("U", "T"))
        other[key] = other.get(key, 0) + v
    ours = cells(study)
    found = {k: int(v) for k, v in other.items() if v and k[0] in study.sample_ids}
    assert ours == found, "other counts than biom-format reads"


def read_lazily(path: Path) -> None:
    """BIOM 2.1 on disk: as in memory."""
    lazy = aam.read_study(path, lazy=True)
    counts = sparse.vstack([part for _, part in lazy.blocks()]) if lazy.num_samples else lazy.table
    whole = check_study(aam.read_study(path))
    assert (sparse.csr_array(counts) != sparse.csr_array(whole.table)).nnz == 0


def read_anndata(path: Path) -> None:
    """AnnData: as h5py reads its parts."""
    study = check_study(aam.read_study(path))
    try:
        with h5py.File(path) as file:
            ids = [file[axis][file[axis].attrs["_index"]].asstr()[:] for axis in ("obs", "var")]
            x = file["X"]
            if isinstance(x, h5py.Group):
                kind = {"csr_matrix": sparse.csr_array, "csc_matrix": sparse.csc_array}[x.attrs["encoding-type"]]
                parts = (x["data"][:], x["indices"][:], x["indptr"][:])
                matrix = sparse.coo_array(kind(parts, shape=tuple(x.attrs["shape"])))
            else:
                matrix = sparse.coo_array(x[:])
        found: dict[tuple[str, str], int] = {}
        for i, j, v in zip(*matrix.coords, matrix.data, strict=True):
            key = (str(ids[0][i]), str(ids[1][j]).upper().replace("U", "T"))
            found[key] = found.get(key, 0) + int(v)
    except (KeyError, TypeError, ValueError, AttributeError, OSError):
        return  # kept in another way, of an older release
    ours = cells(study)
    assert ours == {k: v for k, v in found.items() if v and k[0] in study.sample_ids}, "other counts than h5py reads"


def read_mothur(path: Path) -> None:
    """mothur's shared file: laws only."""
    sequences = path.parent / "otus.fasta"
    sequences.write_text("".join(f">Otu{k + 1:02d}\n{d}\n" for k, d in enumerate(DNA)))
    check_study(aam.read_study(path, sequences=sequences))


def read_metadata(path: Path) -> None:
    """Metadata: where no quote or comment leaves doubt, ids and cells as split at the tabs."""
    raw = path.read_bytes() if path.is_file() else b""
    frame = aam.read_metadata(path)
    assert frame.index.is_unique
    assert frame.columns.is_unique
    assert all(isinstance(i, str) and i for i in frame.index)
    for name in frame:
        assert frame[name].dtype.kind in "ifMOUT" or pd.api.types.is_string_dtype(frame[name]), frame[name].dtype
        if frame[name].dtype.kind == "f":
            assert not np.isinf(frame[name]).any(), f"infinity in {name!r}"
    text = raw.decode("utf-8", "replace").removesuffix("\n")
    rows = [line.split("\t") for line in text.split("\n")]
    if re.search(r"[^\w\t.,\n -]", text.replace("#q2:types", ""), re.ASCII) or any(
        len(r) != len(rows[0]) for r in rows
    ):
        return
    body = [r for r in rows[1:] if r[0] != "#q2:types" and r[0].strip()]
    if any(c != c.strip() for r in rows for c in r) or any(not any(r[1:]) for r in body) or not all(rows[0]):
        return
    assert list(frame.index) == [r[0] for r in body], "other ids than the text has"
    for k, name in enumerate(rows[0][1:], 1):
        for i, row in enumerate(body):
            value, cell = frame[name].iloc[i], row[k]
            if pd.isna(value) or frame[name].dtype.kind == "M":
                continue
            assert value == (cell if isinstance(value, str) else float(cell)), (
                f"{name} of {row[0]} is {value!r}, not {cell!r}"
            )


def read_tree(path: Path) -> None:
    """Trees: tips and the way from each to the root, as scikit-bio reads them."""
    from skbio import TreeNode

    text = path.read_bytes().decode("utf-8", "replace") if path.is_file() else ""
    for root in ("given", "midpoint"):
        try:
            tree = _tree(path, root)
        except UserError:
            if root == "given":
                raise
            continue
        assert len(tree.tips) == len(set(tree.tips))
        assert (tree.length[1:] >= 0).all()
        assert np.isfinite(tree.length[1:]).all()
        if root == "midpoint" or re.search(r"['\[\]_]", text):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            node = TreeNode.read([text], format="newick", convert_underscores=False)
        total = {
            tip.name: tip.distance(tip.root())
            for tip in node.tips()
            if all(a.length is not None for a in [tip, *tip.ancestors()[:-1]])
        }
        ours = {tree.names[i]: i for i in range(len(tree.names)) if tree.names[i] in set(tree.tips)}
        for name, value in total.items():
            way, i = 0.0, ours[name]
            while i > 0:
                way, i = way + tree.length[i], tree.parent[i]
            assert np.isclose(way, value, rtol=1e-9), f"{name} is {way} from the root, not {value}"


def _tree(path: Path, root: Any) -> Any:
    from aam_nb.study.tree import Tree

    return Tree.read(path, root=root)


def read_taxonomy(path: Path) -> None:
    """Taxonomies: laws only."""
    frame = aam.read_taxonomy(path)
    assert frame.index.is_unique
    assert all(isinstance(i, str) and i for i in frame.index)
    for name in frame:
        if name != "confidence":
            known = frame[name].dropna()
            assert all(isinstance(v, str) and v.strip() == v and v for v in known)


def read_sequences(path: Path) -> None:
    """Sequences: as their lines joined, where nothing but records is there."""
    series = aam.read_sequences(path)
    assert series.index.is_unique
    assert series.map(lambda s: bool(re.fullmatch("[ACGTRYSWKMBDHVN]+", s))).all()
    text = path.read_bytes().decode()
    if re.search(r"[^\w>\n =]", text, re.ASCII) or not text.startswith(">"):
        return
    expected: dict[str, str] = {}
    name = ""
    for line in text.split("\n"):
        if line.startswith(">"):
            name = line[1:].split()[0]
            expected[name] = ""
        else:
            expected[name] += line.strip().upper().replace("U", "T").replace(" ", "")
    assert series.to_dict() == expected, "other sequences than the text has"


def read_archive(path: Path) -> None:
    """What is packed: the laws of what it is called."""
    name = path.name
    if name.startswith("table"):
        check_study(aam.read_study(path))
    elif name.startswith("tree"):
        assert len(_tree(path, "given").tips)
    elif name.startswith("taxonomy"):
        read_taxonomy(path)
    elif name.startswith("sequences"):
        assert aam.read_sequences(path).index.is_unique
    else:
        assert aam.read_metadata(path).index.is_unique


def read_info(path: Path) -> None:
    """`aam-nb info`: one line."""
    from aam_nb.cli.files import describe_file

    text = describe_file(path)
    assert isinstance(text, str)
    assert text
