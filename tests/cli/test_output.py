"""What a command prints may be lost, and its work goes on; where it writes is looked at before it works."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aam_nb.cli import COMMANDS
from aam_nb.cli.program import WRITES, main

PRINTS = "import sys\nfrom aam_nb.cli.output import heedless_streams\nwith heedless_streams():\n{}\nopen(sys.argv[1], 'w').write('done')\n"


def test_every_command_with_an_out_is_looked_at() -> None:
    with_out = {verb for verb, kind in COMMANDS.items() if "out" in getattr(kind, "__dataclass_fields__", {})}
    assert with_out <= WRITES.keys()


@pytest.mark.parametrize("verb", ["predict", "report", "evaluate", "explain", "errors", "compare", "fit", "pretrain"])
def test_an_out_that_cannot_be_written_is_refused_before_anything_is_read(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    inputs = ["--table", "none.biom", *([] if verb == "pretrain" else ["--metadata", "none.tsv"])]
    inputs += ["--target", "age"] if verb in ("fit", "compare") else []
    inputs += ["--run", "none"] if verb in ("predict", "report", "evaluate", "explain", "errors") else []
    assert main([verb, *inputs, "--out", str(tmp_path / "file" / "x")]) == 2
    error = capsys.readouterr().err
    assert "file/x cannot be written (Not a directory)" in error
    assert error.count("\n") == 1


@pytest.mark.skipif(os.name != "posix", reason="pipes of Unix")
@pytest.mark.parametrize("lost", ["both", "closed"])
def test_work_goes_on_when_nobody_reads(lost: str, tmp_path: Path) -> None:
    body = "    for k in range(2000): print('line', flush=True); print('line', file=sys.stderr)"
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-c", PRINTS.format(body), str(tmp_path / "done")]
    if lost == "closed":
        command = ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *command]
    process = subprocess.run(command, stdout=write, stderr=write, check=False)
    os.close(write)
    assert process.returncode == 0
    assert (tmp_path / "done").read_text() == "done"


@pytest.mark.skipif(os.name != "posix", reason="SIGHUP")
def test_work_goes_on_when_the_terminal_closes(tmp_path: Path) -> None:
    body = "    import os, signal; os.kill(os.getpid(), signal.SIGHUP)"
    process = subprocess.run([sys.executable, "-c", PRINTS.format(body), str(tmp_path / "done")], check=False)
    assert process.returncode == 0


def test_letters_that_the_terminal_lacks_are_shown_as_numbers(tmp_path: Path) -> None:
    body = "    print('\\xd7 \\udcff')"
    command = [sys.executable, "-c", PRINTS.format(body), str(tmp_path / "done")]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert process.stdout == "\\xd7 \\udcff\n"


@pytest.mark.parametrize(
    ("verb", "flag"), [("predict", "table"), ("report", "metadata"), ("unifrac", "tree"), ("report", "taxonomy")]
)
def test_a_file_that_is_read_is_not_written_over(
    verb: str, flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, same = tmp_path / "x.tsv", tmp_path / "y.tsv"
    file.write_text("mine")
    same.symlink_to(file)
    inputs = {"table": "none.biom", **({} if verb == "unifrac" else {"run": "none"}), flag: str(same)}
    inputs |= {"metadata": str(same) if flag == "metadata" else "none.tsv"} if verb == "report" else {}
    inputs |= {"tree": str(same)} if verb == "unifrac" else {}
    assert main([verb, *(word for k, v in inputs.items() for word in (f"--{k}", v)), "--out", str(file)]) == 2
    assert f"x.tsv, which is also --{flag}. Expected a file that is not read." in capsys.readouterr().err
    assert file.read_text() == "mine"


def test_a_file_of_a_run_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_text("mine")
    out = tmp_path / "model.safetensors"
    assert main(["predict", "--run", str(tmp_path), "--table", "none.biom", "--out", str(out)]) == 2
    assert "a file of a run folder" in capsys.readouterr().err
    assert out.read_text() == "mine"


def test_names_with_control_letters_stay_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "a\nb\x1b[31m"]) == 2
    out = capsys.readouterr().out
    assert out.startswith("a\\nb\\x1b[31m: would be refused.")
    assert out.count("\n") == 1
