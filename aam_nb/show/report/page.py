"""One self-contained HTML page: the study, the model, how well, why, and where it errs. Opens from disk, loads nothing.

Its explorers are those of the notebook, drawn by the same JavaScript; without JavaScript their figures are seen instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup, escape

from aam_nb.show import widgets
from aam_nb.show.report.pictures import picture
from aam_nb.show.report.sections import model_part
from aam_nb.show.widgets.page import embed
from aam_nb.study.atomic import whole_file
from aam_nb.study.study import Study
from aam_nb.train.estimator import AAM
from aam_nb.train.run import versions
from aam_nb.version import __version__


def report(
    model: AAM | Sequence[AAM], study: Study, path: str | Path, *, title: str = "What the microbes tell"
) -> Path:
    """Write a report of one or several fitted models of a study.

    Parameters
    ----------
    model
        Fitted models. One that has not been evaluated is evaluated on the samples of `study` that it has not seen.
    study
        The whole study, test samples included; with a tree, PCoA is of unweighted UniFrac.
    path
        The HTML file to write; missing folders are made.
    title
        Heading of the page.

    Returns
    -------
    The path.

    Raises
    ------
    NotFittedError, UnknownIdError
        A model has no target; the study holds no sample that the model has not seen.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    models = [model] if isinstance(model, AAM) else list(model)
    parts = [model_part(m, study) for m in models]
    shown = [widgets.explore(study), *(e for part in parts for e in part.explorers.values())]
    found = embed(shown)
    drawn = [
        {"place": place, "still": picture(e.figure(), f"{e.title}. {e.sentence()}", "")}
        for place, e in zip(found.places, shown, strict=True)
    ]
    rest = iter(drawn[1:])
    pages = Environment(loader=PackageLoader("aam_nb.show.report", "."), autoescape=True, undefined=StrictUndefined)
    pages.filters["code"] = _code
    text = pages.get_template("report.html.j2").render(
        title=title,
        version=__version__,
        study_line=f"{study.num_samples} samples, {study.num_asvs} ASVs",
        provenance=study.provenance,
        sha256=study.content_hash(),
        study_explorer=drawn[0],
        models=[part.words | {name: next(rest) for name in part.explorers} for part in parts],
        versions=versions(),
        embedded=found,
    )
    with whole_file(path) as fresh:
        fresh.write_text(text, encoding="utf-8")
    return Path(path)


def _code(text: str) -> Markup:
    """Escaped text in which what stands between backticks is set as code."""
    parts = text.split("`")
    return Markup("").join(Markup("<code>{}</code>").format(t) if k % 2 else escape(t) for k, t in enumerate(parts))
