"""No cell that aam_nb writes is run by a spreadsheet, and each is read back as it was."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pandas as pd
import pytest

import aam_nb as aam
from aam_nb.cli.program import main
from aam_nb.config.spreadsheet import escape_cell, format_csv, restore_cell

HOSTILE = ['=HYPERLINK("http://x","y")', "+1+1", "-2+3", "@SUM(A1)", "=1", "'=1", "''@x", "-20C", "+A1-B1", "--1"]
HARMLESS = ["a", "-0.5", "+1", "-1e-05", "-", "+", "=", "", "'", "'a", "'-3", "12", "a=b", "日本"]


def would_run(cell: str) -> bool:
    """What OWASP's page on CSV injection warns of, less plain numbers and single signs."""
    try:
        float(cell)
    except ValueError:
        return len(cell) > 1 and cell[0] in "=+-@\t\r\n"
    return False


@pytest.mark.parametrize("text", [*HOSTILE, "\t=1", "\r=1", "-1\n", *HARMLESS])
def test_every_text_is_restored_and_none_is_run(text: str) -> None:
    cell = escape_cell(text)
    assert not would_run(cell)
    assert restore_cell(cell) == text
    assert (cell == text) == (text in HARMLESS)


def test_a_table_is_escaped_in_its_cells_columns_and_index() -> None:
    frame = pd.DataFrame(
        {"=a": ["@b1", None], "x": [-0.5, float("-inf")], "k": pd.Categorical(["+1+1", "n"])}, index=["-1-1", "s"]
    )
    text = format_csv(frame.rename_axis("@id"))
    assert text == "'@id,'=a,x,k\n'-1-1,'@b1,-0.5,'+1+1\ns,,-inf,n\n"
    pair = frame.set_index("=a", append=True)
    assert format_csv(pair).splitlines()[1].startswith("'-1-1,'@b1,")


@pytest.fixture(scope="module")
def study() -> aam.Study:
    study = aam.simulate_study(n_samples=24, n_asvs=60, seed=0)
    ids = [f"{HOSTILE[i % len(HOSTILE)]}{i}" for i in range(study.num_samples)]
    metadata = study.metadata.set_axis(ids, axis=0)
    metadata["=kind"] = ["=yes()", "-no-"] * (len(ids) // 2)
    return aam.Study(
        table=study.table, sample_ids=pd.Index(ids), asv_ids=study.asv_ids, metadata=metadata, taxonomy=study.taxonomy
    )


def test_files_of_every_verb_are_safe_and_read_back(
    study: aam.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    study.save("study")
    again = aam.Study.load("study")
    assert list(again.sample_ids) == list(study.sample_ids)
    assert list(again.metadata["=kind"]) == list(study.metadata["=kind"])
    aam.write_biom(study, "table.biom")
    files = ["--table", "table.biom", "--metadata", "study/metadata.tsv"]
    small = ["--width", "16", "--num-layers", "1", "--num-attn-heads", "2", "--epochs", "1", "--no-progress"]
    assert main(["fit", *files, "--target", "=kind", "--out", "run", *small]) == 0
    assert main(["predict", "--run", "run", "--table", "table.biom", "--out", "predictions.csv"]) == 0
    assert main(["evaluate", "--run", "run", *files, "--out", "evaluated"]) == 0
    assert main(["errors", "--run", "run", *files, "--out", "errors"]) == 0
    assert main(["explain", "--run", "run", *files, "--out", "explained", "--no-check"]) == 0

    tables = [p for p in tmp_path.rglob("*") if p.suffix in (".csv", ".tsv")]
    assert len(tables) > 6
    for path in tables:
        delimiter = "\t" if path.suffix == ".tsv" else ","
        with path.open(newline="", encoding="utf-8") as file:
            cells = [cell for row in csv.reader(file, delimiter=delimiter) for cell in row]
        assert not [cell for cell in cells if would_run(cell)], path
    # What docs/files.md says of pandas.
    frame = pd.read_csv("predictions.csv", index_col="sample_id")
    frame.index = frame.index.str.replace(r"^'(?='*[=+\-@\t\r\n])", "", regex=True)
    assert list(frame.index) == list(study.sample_ids)
    assert set(aam.load("run").evaluation.predictions.index) <= set(study.sample_ids)
    assert json.loads(Path("run/splits.json").read_text())["test"][0] in set(study.sample_ids)


def test_the_downloads_of_explorers_use_the_same_rule() -> None:
    script = (Path(aam.__file__).parent / "show/widgets/js/kit/plot.js").read_text(encoding="utf-8")
    from aam_nb.config.spreadsheet import FORMULA

    [ours] = re.findall(r"const FORMULA = /\^(.*)/;", script)
    assert ours.replace("$)", r"\Z)").removesuffix("[^]") == FORMULA.pattern.removesuffix(".")
