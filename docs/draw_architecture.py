"""Draws `docs/architecture.svg` from the code: the floors with what imports what, and the way of a study through `fit`.

    python docs/draw_architecture.py            draw it again
    python docs/draw_architecture.py --check    exit 1 where the picture is not what the code says

Floors and their order come from `pyproject.toml`, modules from the folders, arrows from the import statements. The way through `fit` is
that of a real fit on a tiny simulated study: the functions of `STAGES` in the order in which they were first called, each with the first
line of its docstring.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html import escape
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "aam_nb"
PICTURE = ROOT / "docs" / "architecture.svg"

STAGES = (
    "aam_nb.train.estimator:AAM.fit",
    "aam_nb.model.objectives.tasks:task_for",
    "aam_nb.model.objectives.regression:Regression.learn",
    "aam_nb.model.module:Network.__init__",
    "aam_nb.study.study:Study.hold_out",
    "aam_nb.batch.batches:Batches.__init__",
    "aam_nb.train.optim:make_optimizer",
    "aam_nb.train.trainer:Trainer.run",
    "aam_nb.train.trainer:Trainer.train_epoch",
    "aam_nb.batch.batches:Batches.batch",
    "aam_nb.train.trainer:Trainer.train_step",
    "aam_nb.model.encoder:Encoder.forward",
    "aam_nb.model.encoder:AsvEncoder.forward",
    "aam_nb.model.encoder:SampleEncoder.forward",
    "aam_nb.model.objectives.regression:Regression.forward",
    "aam_nb.model.objectives.regression:Regression.loss",
    "aam_nb.train.optim:clip_gradients",
    "aam_nb.train.trainer:Trainer.validate",
)
"""What a reader should meet on the way, as module:name."""

INK, GREY, PALE, BLUE, ORANGE = "#1b1f23", "#57606a", "#f3f6f9", "#0b5c8f", "#b45309"
LEGEND_DOWN = (
    "Blue, right: imports from; wider where more modules do. Nearly all import from study/ and config/: not drawn."
)
LEGEND_UP = (
    "Orange, left: upward, only within a function, as for result.plot(). Below all floors: arrays.py and version.py."
)
EVERYWHERE = ("config", "study")
"""Floors that nearly every other one imports from: their arrows are left out."""
WIDTH, MARGIN, ROW, ROOM = 1480, 24, 50, 100
BOX, BOX_WIDTH = MARGIN + ROOM, 450
STACK = ROOM + BOX_WIDTH + ROOM
"""Widths in pixels: the page, its edge, a stage, the room for arrows on either side, the boxes."""
FONT = "font-family='Helvetica, Arial, DejaVu Sans, sans-serif'"


# -- what the code says ------------------------------------------------------------------------------------------------


@dataclass
class Floor:
    """A folder of the package: its modules, and how many modules of it import from each other floor, plainly or within functions."""

    name: str
    modules: list[str]
    imports: Counter[str] = field(default_factory=Counter)
    imports_late: Counter[str] = field(default_factory=Counter)


def read_floors() -> list[Floor]:
    """The floors from the highest to the lowest, as `pyproject.toml` orders them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = next(c for c in settings["tool"]["importlinter"]["contracts"] if c["type"] == "layers")["layers"]
    names = [name.strip("() ") for layer in layers for name in layer.split("|")]
    floors = [Floor(name, modules_of(PACKAGE / name)) for name in names if (PACKAGE / name).is_dir()]
    known = {floor.name for floor in floors}
    for floor in floors:
        for path in sorted((PACKAGE / floor.name).rglob("*.py")):
            early, late = imported_floors(path, known - {floor.name})
            floor.imports.update(early)
            floor.imports_late.update(late - early)
    return floors


def modules_of(folder: Path) -> list[str]:
    """The modules of a folder, a line; those of each folder within it, a line each."""
    lines = [modules_in(folder)] if modules_in(folder) else []
    folders = sorted(p for p in folder.iterdir() if p.is_dir() and any(p.glob("*.py")))
    return [*lines, *(f"{p.name}/  {modules_in(p)}" for p in folders)]


def modules_in(folder: Path) -> str:
    """The modules of one folder."""
    return "  ".join(sorted(p.stem for p in folder.glob("*.py") if not p.stem.startswith("__")))


def imported_floors(path: Path, known: set[str]) -> tuple[set[str], set[str]]:
    """The floors that a module imports from when it is loaded, and those it imports from within functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    early: set[str] = set()
    late: set[str] = set()
    for statement, is_late in import_statements(tree):
        parts = (statement.module or "").split(".")
        if parts[0] == "aam_nb":
            targets = parts[1:2] or [alias.name for alias in statement.names]
            (late if is_late else early).update(known.intersection(targets))
    return early, late


def import_statements(node: ast.AST, *, late: bool = False) -> Iterator[tuple[ast.ImportFrom, bool]]:
    """Each `from … import …`, and whether it stands in a function or is for the type checker."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ImportFrom):
            yield child, late
        else:
            only_types = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from import_statements(child, late=late or only_types or inside)


def stages_of_fit() -> list[tuple[str, str, str]]:
    """Floor, name and first docstring line of each stage, in the order in which a real fit first calls them."""
    import aam_nb as aam

    train = aam.simulate_study(n_samples=24, n_asvs=60, seed=0)
    calls = Counter[str]()
    order = list[str]()

    def note(frame: FrameType, event: str, argument: Any) -> None:
        name = f"{frame.f_globals.get('__name__')}:{frame.f_code.co_qualname}"
        if event == "call" and name in STAGES and not calls[name]:
            calls[name] += 1
            order.append(name)

    model = aam.AAM(aam.ModelConfig(width=16, num_layers=1))
    sys.setprofile(note)
    try:
        model.fit(train, target="age", config=aam.TrainConfig(epochs=1, progress=False))
    finally:
        sys.setprofile(None)
    if missed := set(STAGES) - set(order):
        raise SystemExit(
            f"A fit no longer calls {', '.join(sorted(missed))}. Name what it calls instead in STAGES of {__file__}."
        )
    return [(name.split(".")[1].split(":")[0], name.split(":")[1], first_line(name)) for name in order]


def first_line(name: str) -> str:
    """The first line of a function's docstring; of a method without one, that of its class."""
    module, _, path = name.partition(":")
    thing: Any = import_module(module)
    text = ""
    for part in path.split("."):
        thing = getattr(thing, part)
        own = thing.__doc__ if inspect.isclass(thing) or inspect.isfunction(thing) else None
        text = inspect.cleandoc(own) if own else text
    return text.split("\n\n")[0].replace("\n", " ").replace("`", "")


# -- the picture -------------------------------------------------------------------------------------------------------


def text(x: float, y: float, words: str, size: int = 13, fill: str = INK, extra: str = "") -> str:
    """A line of text, at its left end and base line."""
    return f"<text x='{x:g}' y='{y:g}' font-size='{size}' fill='{fill}' {extra}>{escape(words)}</text>"


def draw_floors(floors: list[Floor], top: float) -> tuple[list[str], float]:
    """Boxes from the highest floor to the lowest, with arcs to the floors that each imports from."""
    parts, middles, y = list[str](), dict[str, float](), top
    for floor in floors:
        lines = [part for line in floor.modules for part in textwrap.wrap(line, 76, subsequent_indent="    ")]
        height = 26 + 15 * len(lines)
        parts.append(
            f"<rect x='{BOX}' y='{y:g}' width='{BOX_WIDTH}' height='{height}' rx='6' fill='{PALE}' stroke='#d0d7de'/>"
        )
        parts.append(text(BOX + 10, y + 18, floor.name + "/", 14, BLUE, "font-weight='bold'"))
        parts += [text(BOX + 10, y + 35 + 15 * i, line, 11, GREY) for i, line in enumerate(lines)]
        middles[floor.name] = y + height / 2
        y += height + 8
    places = list(middles)
    for floor in floors:
        for other, number in sorted({**floor.imports_late, **floor.imports}.items()):
            below = places.index(other) > places.index(floor.name)
            if below and other not in EVERYWHERE:
                parts.append(arc(middles[floor.name], middles[other], number, up=False))
            elif not below:
                parts.append(arc(middles[floor.name], middles[other], number, up=True))
    return parts, y


def arc(start: float, end: float, number: int, *, up: bool) -> str:
    """An arc between two floors, wider where more modules import: downward on the right of the boxes, upward on their left."""
    side, color = (-1, ORANGE) if up else (1, BLUE)
    x = BOX if up else BOX + BOX_WIDTH
    reach = x + side * (14 + min(ROOM - 30, abs(end - start) * 0.2))
    width = min(3.5, 0.7 + 0.16 * number)
    shift = -4 if up else 4
    dashes = " stroke-dasharray='4 3'" if up else ""
    return (
        f"<path d='M {x:g} {start + shift:g} C {reach:g} {start + shift:g}, {reach:g} {end - shift:g}, {x + 2 * side:g} {end - shift:g}' "
        f"fill='none' stroke='{color}' stroke-opacity='0.6' stroke-width='{width:.2g}'{dashes} marker-end='url(#{color[1:]})'/>"
    )


def draw_fit(stages: list[tuple[str, str, str]], top: float) -> tuple[list[str], float]:
    """One row a stage, its dot in the lane of its floor, the rows joined in the order of the calls."""
    lanes = ["study", "batch", "model", "train"]
    left, step = MARGIN + STACK + 40, 62
    words = left + step * len(lanes) + 4
    bottom = top + ROW * len(stages)
    parts, points = list[str](), list[str]()
    for i, lane in enumerate(lanes):
        x = left + step * i
        parts.append(f"<line x1='{x}' y1='{top - 4:g}' x2='{x}' y2='{bottom - 20:g}' stroke='#d0d7de'/>")
        parts.append(text(x, top - 12, lane + "/", 12, BLUE, "font-weight='bold' text-anchor='middle'"))
    for k, (floor, name, line) in enumerate(stages):
        x, y = left + step * lanes.index(floor), top + 14 + ROW * k
        points.append(f"{x:g},{y:g}")
        parts.append(f"<circle cx='{x:g}' cy='{y:g}' r='5' fill='{BLUE}'/>")
        parts.append(text(words, y + 1, name, 13, INK, "font-weight='bold'"))
        parts += [text(words, y + 15 + 13 * i, part, 11, GREY) for i, part in enumerate(textwrap.wrap(line, 84)[:2])]
    parts.insert(
        0, f"<polyline points='{' '.join(points)}' fill='none' stroke='{BLUE}' stroke-opacity='0.45' stroke-width='2'/>"
    )
    return parts, bottom


def draw() -> str:
    """The whole picture, SVG."""
    top = 92
    floors, low = draw_floors(read_floors(), top)
    stages, low_of_fit = draw_fit(stages_of_fit(), top + 16)
    height = max(low, low_of_fit) + MARGIN
    heads = "".join(
        f"<marker id='{color[1:]}' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' markerHeight='7' markerUnits='userSpaceOnUse' "
        f"orient='auto'><path d='M 0 0 L 8 4 L 0 8 z' fill='{color}'/></marker>"
        for color in (BLUE, ORANGE)
    )
    titles = [
        text(MARGIN, 34, "The floors", 18, INK, "font-weight='bold'"),
        text(MARGIN, 54, LEGEND_DOWN, 11, GREY),
        text(MARGIN, 69, LEGEND_UP, 11, GREY),
        text(MARGIN + STACK + 20, 34, "A study on its way through fit", 18, INK, "font-weight='bold'"),
        text(
            MARGIN + STACK + 20,
            54,
            "Stages in the order of their first call, with the first line of each docstring.",
            11,
            GREY,
        ),
    ]
    body = "\n".join([*titles, *floors, *stages])
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height:g}' width='{WIDTH}' height='{height:g}' {FONT} role='img'>\n"
        "<title>The floors of aam_nb and what each imports, and the stages that a study passes in a fit</title>\n"
        f"<defs>{heads}</defs>\n<rect width='100%' height='100%' fill='#ffffff'/>\n{body}\n</svg>\n"
    )


def main(arguments: list[str], write: Callable[[str], object] = print) -> int:
    """Draw the picture, or say whether it is fresh."""
    picture = draw()
    if arguments == ["--check"]:
        fresh = PICTURE.is_file() and PICTURE.read_text(encoding="utf-8") == picture
        write(
            "The picture is fresh."
            if fresh
            else "The picture is out of date. Draw it: `python docs/draw_architecture.py`."
        )
        return 0 if fresh else 1
    PICTURE.write_text(picture, encoding="utf-8")
    write(f"Drew {PICTURE.relative_to(ROOT)}.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
