"""Commands about notebooks: `notebook` runs a template on a user's files, `lab` opens JupyterLab with copies of all of them."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aam_nb.cli import templates
from aam_nb.cli.messages import UsageError, say
from aam_nb.cli.parsing import parse
from aam_nb.config import to_one_line
from aam_nb.study.atomic import whole_file


@dataclass(frozen=True, kw_only=True)
class Notebook:
    """Run a notebook template on your files (`--list` lists them); leaves the executed notebook and one HTML page."""

    template: Path
    """The notebook to run."""
    values: dict[str, Any]
    """Its parameters."""
    out: Path
    """Folder for the notebook, its HTML and what it writes."""
    progress: bool = True
    """Show a progress bar."""

    @classmethod
    def parse(cls, args: Sequence[str]) -> Notebook | None:
        """The command that `NAME --flags` describe; None after a list or help was printed."""
        if not args or args[0] in ("-h", "--help", "--list"):
            say(usage() if args[:1] != ["--list"] else listing())
            if not args:
                raise UsageError("No template was named. Expected one. Try `aam-nb notebook explore --help`.")
            return None
        if args[0].startswith("-"):
            raise UsageError(
                f"{args[0]} stands before the template's name. Expected the name first. Try `aam-nb notebook explore {args[0]} …`."
            )
        path = templates.find(args[0])
        given = parse(templates.flags(path), f"notebook {args[0]}", args[1:])
        if given is None:
            return None
        values = {f.name: getattr(given, f.name) for f in dataclasses.fields(given)}
        out, progress = values.pop("out"), values.pop("progress")
        templates.check(path.stem, values)
        for line in templates.parameters(
            path
        ):  # what is as in the template is not said again; a path is seen from elsewhere
            if not isinstance(values.get(line.name), Path) and values.get(line.name, line.default) == line.default:
                values.pop(line.name, None)
        return cls(template=path, values=values, out=out, progress=progress)

    def __call__(self) -> int:
        import papermill
        from jupyter_client.kernelspec import NoSuchKernel
        from nbclient.exceptions import DeadKernelError

        name, page = self.template.stem, self.out / f"{self.template.stem}.html"
        self.out.mkdir(parents=True, exist_ok=True)
        target = self.out / f"{name}.ipynb"
        if target.exists() and target.samefile(self.template):
            raise UsageError(
                f"--out {self.out} holds the notebook that is to be run, and it would be overwritten. Expected another folder. Choose one."
            )
        page.unlink(missing_ok=True)  # of an earlier run
        where = {"out": "."} if any(line.name == "out" for line in templates.parameters(self.template)) else {}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the libraries that start the kernel
                papermill.execute_notebook(
                    str(self.template),
                    str(target),
                    {k: plain(v, self.out) for k, v in self.values.items()} | where,
                    cwd=str(self.out),
                    progress_bar=self.progress,
                    store_widget_state=False,
                    extra_arguments=["--IPKernelApp.log_level=ERROR"],
                )
        except papermill.PapermillExecutionError as error:
            told = " ".join(f"{name} failed in cell {error.exec_count}: {error.ename}: {error.evalue}".split()).rstrip(
                "."
            )
            leave(target, page)
            print(f"aam-nb notebook: {to_one_line(told)}. See {target}", file=sys.stderr)
            return 1
        except DeadKernelError:
            said = "the kernel died, as it does when memory runs out"
            kept = f"What was done is in {leave(target, page)}" if target.exists() else "Nothing was kept"
            print(f"aam-nb notebook: {name} failed: {said}. {kept}", file=sys.stderr)
            return 1
        except NoSuchKernel as error:
            raise UsageError(
                f"{self.template} asks for the kernel {error.name!r}, which is not installed. Expected python3: choose it in "
                "JupyterLab, and save."
            ) from error
        except KeyboardInterrupt:
            if target.exists():
                say(f"What was done is in {leave(target, page)}")
            raise
        say(f"Wrote {target} and {leave(target, page)}")
        return 0


@dataclass(frozen=True, kw_only=True)
class Lab:
    """Open JupyterLab with the templates and tutorials in a folder of yours."""

    folder: Path = Path("aam-lab")
    """Folder to copy them to; what you changed there is kept."""
    port: int = 8888
    """Port; the next free one where it is taken."""
    open: bool = True
    """Open the browser."""
    allow_root: bool = False
    """Start although you are root, as in a container."""
    copy_only: bool = False
    """Copy the notebooks, and do not start JupyterLab."""

    def __call__(self) -> int:
        for name in ("notebooks", "tutorials"):
            copied, kept = copy(templates.folder_of(name), self.folder / name)
            say(
                f"{self.folder / name}: {copied} copied"
                + "".join(f"\n  kept {k}, which differs from ours" for k in kept)
            )
        if self.copy_only:
            return 0
        command = [sys.executable, "-m", "jupyterlab", str(self.folder), f"--port={self.port}"]
        command += [] if self.open else ["--no-browser"]
        command += ["--allow-root"] if self.allow_root else []
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is JupyterLab's, which asks before it ends
        try:
            return subprocess.Popen(command, preexec_fn=_ctrl_c_counts if os.name == "posix" else None).wait()
        finally:
            signal.signal(signal.SIGINT, before)


def _ctrl_c_counts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def copy(source: Path, folder: Path) -> tuple[int, list[str]]:
    """Copy notebooks that are not there yet; returns how many, and the names of those that are there and differ."""
    folder.mkdir(parents=True, exist_ok=True)
    copied, kept = 0, []
    for path in sorted(source.glob("*.ipynb")):
        there, ours = folder / path.name, path.read_bytes()
        if not there.exists():
            with whole_file(there) as fresh:
                fresh.write_bytes(ours)
            copied += 1
        elif there.read_bytes() != ours:
            kept.append(path.name)
    return copied, kept


def plain(value: Any, out: Path) -> Any:
    """A value as JSON has it; a path as seen from `out`, where the notebook runs."""
    if isinstance(value, Path):
        place = value.parent.resolve() / value.name
        try:
            return os.path.relpath(place, out.resolve())
        except ValueError:  # another drive
            return str(place)
    return list(value) if isinstance(value, tuple) else value


def leave(notebook: Path, page: Path) -> Path:
    """Tidy an executed notebook where it lies, and write its page."""
    import nbformat

    from aam_nb.cli.page import page_of, tidied

    found = tidied(nbformat.read(notebook, as_version=4))
    with whole_file(notebook) as fresh:
        nbformat.write(found, fresh)
    with whole_file(page) as fresh:
        fresh.write_text(page_of(found), encoding="utf-8")
    return page


def listing() -> str:
    """The templates, a line each."""
    width = max(map(len, templates.SOURCES))
    return "\n".join(f"  {name:<{width}}  {templates.heading(templates.find(name))}" for name in templates.SOURCES)


def usage() -> str:
    """How the command is used."""
    return "\n".join(
        [
            "usage: aam-nb notebook NAME [OPTIONS] --out DIR",
            "",
            listing(),
            "",
            "NAME may also be the path of a notebook of yours. `aam-nb notebook NAME --help` lists its options.",
        ]
    )
