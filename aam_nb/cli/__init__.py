"""The command line `aam-nb COMMAND`. Each command is a dataclass that holds config dataclasses; tyro makes its flags and help."""

from aam_nb.cli.program import COMMANDS, main

__all__ = ["COMMANDS", "main"]
