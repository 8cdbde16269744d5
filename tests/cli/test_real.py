"""The main job on a real study, as a user would run it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from aam_nb.cli import main


@pytest.mark.real
@pytest.mark.slow
def test_soil_ph_is_predicted_from_a_real_table(real_data: Path, tmp_path: Path) -> None:
    """88 soils of the Americas: pre-train, fit, evaluate, report. pH is a strong signal (a random forest reaches R² 0.84)."""
    table = [
        *(
            "--table",
            str(real_data / "soils88" / "soils88.biom"),
            "--metadata",
            str(real_data / "soils88" / "soils88.tsv"),
        ),
        *("--tree", str(real_data / "soils88" / "soils88.nwk"), "--min-prevalence", "8"),
    ]
    train = ["--target", "ph", "--batch-size", "8", "--no-progress"]
    small = ["--width", "32", "--num-layers", "1"]
    pre, run, out = tmp_path / "pre", tmp_path / "ph", tmp_path / "again"
    assert main(["pretrain", *table, *train, *small, "--epochs", "2", "--out", str(pre)]) == 0
    fit = [*train, "--epochs", "30", "--freeze", "asvs", "--pretrained", str(pre)]
    assert main(["fit", *table, *fit, "--out", str(run)]) == 0
    metrics = pd.DataFrame(json.loads((run / "evaluation.json").read_text())["metrics"]).set_index(["model", "metric"])
    assert metrics.loc[("aam", "r2"), "value"] > 0.5
    assert metrics.loc[("aam", "mae"), "value"] < 0.7 * metrics.loc[("dummy", "mae"), "value"]
    assert main(["evaluate", "--run", str(run), *table, "--out", str(out)]) == 0
    first, again = (pd.read_csv(folder / "predictions.csv", index_col="sample_id") for folder in (run, out))
    pd.testing.assert_series_equal(first["prediction"], again["prediction"])
    assert main(["report", "--run", str(run), *table, "--out", str(tmp_path / "report.html")]) == 0
    assert "ph" in (tmp_path / "report.html").read_text()
