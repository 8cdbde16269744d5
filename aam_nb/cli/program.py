"""The commands by name, and the main function of `aam-nb`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from aam_nb.cli.analysis import Compare, Errors, Explain
from aam_nb.cli.demo import Demo
from aam_nb.cli.files import Info, Unifrac
from aam_nb.cli.messages import UsageError, explain_error, explain_shortage, is_main, one_line_warnings
from aam_nb.cli.notebook import Lab, Notebook
from aam_nb.cli.output import Writes, claim_output, heedless_streams
from aam_nb.cli.parsing import parse
from aam_nb.cli.runs import Evaluate, Predict, Report
from aam_nb.cli.training import ARGV, Fit, Pretrain, Resume
from aam_nb.config import UserError, is_out_of_memory
from aam_nb.threads import settings

COMMANDS: dict[str, type[Any]] = {
    "demo": Demo,
    "info": Info,
    "unifrac": Unifrac,
    "pretrain": Pretrain,
    "fit": Fit,
    "resume": Resume,
    "predict": Predict,
    "evaluate": Evaluate,
    "compare": Compare,
    "explain": Explain,
    "errors": Errors,
    "report": Report,
    "notebook": Notebook,
    "lab": Lab,
}
WRITES: dict[str, Writes] = {
    **dict.fromkeys(("predict", "report", "unifrac"), "file"),
    **dict.fromkeys(("pretrain", "fit", "resume"), "run"),
    **dict.fromkeys(("demo", "evaluate", "explain", "errors", "compare", "notebook"), "folder"),
}
"""What each command writes to `--out`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code: 0, 1 if a notebook failed, 2 for a mistake of the user, 130 if interrupted."""
    with heedless_streams():
        return _run(list(sys.argv[1:] if argv is None else argv))


def _run(args: list[str]) -> int:
    """What `main` does, where what is printed may be lost."""
    if not args or args[0] in ("-h", "--help", "--version"):
        print(settings if args[:1] == ["--version"] else format_usage())
        return 0 if args else 2
    verb, kind = args[0], None
    ARGV.set(tuple(args))
    try:
        if verb not in COMMANDS:
            raise UsageError(f"{verb!r} is not a command. There are {', '.join(COMMANDS)}. See `aam-nb --help`.")
        kind = COMMANDS[verb]
        command = Notebook.parse(args[1:]) if kind is Notebook else parse(kind, verb, args[1:])
        if command is not None:
            with one_line_warnings(), claim_output(command, verb, WRITES.get(verb, "")) as command:
                return command() or 0
    except (
        BrokenPipeError
    ):  # the program that read a file from standard output has ended, as in `aam-nb predict --out - | head`
        return 1
    except (UserError, OSError) as error:
        if is_main():
            print(f"aam-nb {verb}: {' '.join(explain_error(error).split())}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError, ValueError, ImportError) as error:
        if not is_out_of_memory(error):
            raise
        if is_main():
            print(f"aam-nb {verb}: {explain_shortage(kind, error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"aam-nb {verb}: interrupted", file=sys.stderr)
        return 130
    return 0


def format_usage() -> str:
    """The list of commands."""
    width = max(map(len, COMMANDS))
    lines = [f"  {verb:<{width}}  {kind.__doc__}" for verb, kind in COMMANDS.items()]
    return "\n".join(
        ["usage: aam-nb COMMAND [OPTIONS]", "", *lines, "", "`aam-nb COMMAND --help` lists the options of a command."]
    )
