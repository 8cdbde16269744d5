"""The commands `notebook`, which runs a template on a user's files, and `lab`, which opens JupyterLab with copies of all templates."""

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
from aam_nb.cli.messages import UsageError, print_message
from aam_nb.cli.parsing import parse
from aam_nb.config import cut_list, to_one_line, to_utf8
from aam_nb.study.atomic import whole_file
from aam_nb.study.child_process import end_with_this


@dataclass(frozen=True, kw_only=True)
class Notebook:
    """Run a notebook template on your files (`--list` lists them); writes the executed notebook and an HTML page."""

    template: Path
    """The notebook to run."""
    values: dict[str, Any]
    """Its parameters."""
    out: Path
    """Folder for the notebook, its HTML page and the files that it writes."""
    progress: bool = True
    """Show a progress bar; --no-progress does not."""

    @classmethod
    def parse(cls, args: Sequence[str]) -> Notebook | None:
        """The command from `NAME --flags`; None after a list or help was printed."""
        if not args or args[0] in ("-h", "--help", "--list"):
            print_message(list_templates() if args[:1] == ["--list"] else format_usage())
            if not args:
                raise UsageError(
                    "No template was named. Expected the name of one. Try `aam-nb notebook explore --help`."
                )
            return None
        if args[0].startswith("-"):
            raise UsageError(
                f"{args[0]} comes before the name of the template. Expected the name first. Try `aam-nb notebook explore {args[0]} …`."
            )
        path = templates.find_template(args[0])
        flags = parse(templates.make_flags(path), f"notebook {args[0]}", args[1:])
        if flags is None:
            return None
        values = {f.name: getattr(flags, f.name) for f in dataclasses.fields(flags)}
        out, progress = values.pop("out"), values.pop("progress")
        templates.check_values(path.stem, values)
        # Values as in the template are not passed on; paths are, since the notebook runs in another folder.
        for line in templates.read_parameters(path):
            if not isinstance(values.get(line.name), Path) and values.get(line.name, line.default) == line.default:
                values.pop(line.name, None)
        return cls(template=path, values=values, out=out, progress=progress)

    def __call__(self) -> int:
        import papermill
        from jupyter_client.kernelspec import NoSuchKernel
        from nbclient.exceptions import DeadKernelError

        odd = [str(v) for v in (self.template, self.out, *self.values.values()) if to_utf8(str(v)) != str(v)]
        if odd:
            raise UsageError(
                f"{cut_list(odd)}: a name that is not UTF-8, which a notebook cannot hold. Expected letters of UTF-8. Rename it, or give "
                "a link to it with another name."
            )
        name, page = self.template.stem, self.out / f"{self.template.stem}.html"
        self.out.mkdir(parents=True, exist_ok=True)
        target = self.out / f"{name}.ipynb"
        if target.exists() and target.samefile(self.template):
            raise UsageError(
                f"--out {self.out} is the folder of the notebook that is to be run, which would be overwritten. Expected another folder. "
                "Choose another `--out`."
            )
        page.unlink(missing_ok=True)  # of an earlier run
        parameters = {name: to_json_value(value, self.out) for name, value in self.values.items()}
        if any(line.name == "out" for line in templates.read_parameters(self.template)):
            parameters["out"] = "."
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the libraries that start the kernel
                papermill.execute_notebook(
                    templates.escape_path(self.template),
                    templates.escape_path(target),
                    parameters,
                    cwd=str(self.out),
                    progress_bar=self.progress,
                    store_widget_state=False,
                    extra_arguments=["--IPKernelApp.log_level=ERROR"],
                )
        except papermill.PapermillExecutionError as error:
            message = f"{name} failed in cell {error.exec_count}: {error.ename}: {error.evalue}"
            message = " ".join(message.split()).rstrip(".")
            write_page(target, page)
            print(f"aam-nb notebook: {to_one_line(message)}. See {target}", file=sys.stderr)
            return 1
        except DeadKernelError:
            reason = "the kernel died, as it does when memory runs out"
            saved = f"The cells that ran are in {write_page(target, page)}" if target.exists() else "Nothing was saved"
            print(f"aam-nb notebook: {name} failed: {reason}. {saved}", file=sys.stderr)
            return 1
        except NoSuchKernel as error:
            raise UsageError(
                f"{self.template} needs the kernel {error.name!r}, which is not installed. Expected python3. Choose it in JupyterLab, and "
                "save the notebook."
            ) from error
        except KeyboardInterrupt:
            if target.exists():
                print_message(f"The cells that ran are in {write_page(target, page)}")
            raise
        print_message(f"Wrote {target} and {write_page(target, page)}")
        return 0


@dataclass(frozen=True, kw_only=True)
class Lab:
    """Open JupyterLab with copies of the templates and tutorials in a folder of yours."""

    folder: Path = Path("aam-lab")
    """Folder to copy them to; notebooks that you changed there are not overwritten."""
    port: int = 8888
    """Port of JupyterLab; if it is in use, the next free one."""
    open: bool = True
    """Open the browser; --no-open does not."""
    allow_root: bool = False
    """Start JupyterLab also as the user root, as in a container."""
    copy_only: bool = False
    """Copy the notebooks without starting JupyterLab."""

    def __call__(self) -> int:
        for name in ("notebooks", "tutorials"):
            copied, kept = copy_notebooks(templates.find_folder(name), self.folder / name)
            changed = "".join(f"\n  kept {k}, which differs from the one in the package" for k in kept)
            print_message(f"{self.folder / name}: {copied} copied{changed}")
        if self.copy_only:
            return 0
        command = [sys.executable, "-m", "jupyterlab", str(self.folder), f"--port={self.port}"]
        command += [] if self.open else ["--no-browser"]
        command += ["--allow-root"] if self.allow_root else []
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # JupyterLab handles Ctrl-C: it asks before it ends
        try:
            command = end_with_this(command)
            return subprocess.Popen(command, preexec_fn=_accept_ctrl_c if os.name == "posix" else None).wait()
        finally:
            signal.signal(signal.SIGINT, before)


def _accept_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def copy_notebooks(source: Path, folder: Path) -> tuple[int, list[str]]:
    """Copy the notebooks that the folder lacks; returns how many, and the names of those that it has with another content."""
    folder.mkdir(parents=True, exist_ok=True)
    copied, kept = 0, []
    for path in sorted(source.glob("*.ipynb")):
        target, content = folder / path.name, path.read_bytes()
        if not target.exists():
            with whole_file(target) as fresh:
                fresh.write_bytes(content)
            copied += 1
        elif target.read_bytes() != content:
            kept.append(path.name)
    return copied, kept


def to_json_value(value: Any, out: Path) -> Any:
    """A parameter as a value that JSON has; a path becomes relative to `out`, where the notebook runs."""
    if isinstance(value, Path):
        path = value.parent.resolve() / value.name
        try:
            return os.path.relpath(path, out.resolve())
        except ValueError:  # another drive
            return str(path)
    return list(value) if isinstance(value, tuple) else value


def write_page(notebook: Path, page: Path) -> Path:
    """Clean up an executed notebook in its file, and write its HTML page; returns the page."""
    import nbformat

    from aam_nb.cli.page import clean_outputs, render_page

    executed = clean_outputs(nbformat.read(notebook, as_version=4))
    with whole_file(notebook) as fresh:
        nbformat.write(executed, fresh)
    with whole_file(page) as fresh:
        fresh.write_text(render_page(executed), encoding="utf-8")
    return page


def list_templates() -> str:
    """The templates, one on each line."""
    width = max(map(len, templates.SOURCES))
    headings = {name: templates.read_heading(templates.find_template(name)) for name in templates.SOURCES}
    return "\n".join(f"  {name:<{width}}  {heading}" for name, heading in headings.items())


def format_usage() -> str:
    """How the command is used."""
    return "\n".join(
        [
            "usage: aam-nb notebook NAME [OPTIONS] --out DIR",
            "",
            list_templates(),
            "",
            "NAME may also be the path of a notebook of yours. `aam-nb notebook NAME --help` lists its options.",
        ]
    )
