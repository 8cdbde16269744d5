"""`aam-nb VERB`: one dataclass a command, the config dataclasses inside it, flags and help made from both by tyro."""

from aam_nb.cli.program import COMMANDS, main

__all__ = ["COMMANDS", "main"]
