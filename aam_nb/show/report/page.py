"""One self-contained HTML page: the study, the models, how well they predict, why, and where they are wrong.

The page opens from disk and loads nothing. Its explorers are those of the notebook, drawn by the same JavaScript; without
JavaScript the page shows figures instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup, escape

from aam_nb.baselines.predictions import read_target
from aam_nb.config import count_noun, telling_of_memory
from aam_nb.evaluate.judged_truth import refuse_other_truth
from aam_nb.show import widgets
from aam_nb.show.report.pictures import picture
from aam_nb.show.report.sections import model_section
from aam_nb.show.widgets.page import embed
from aam_nb.study.atomic import whole_file
from aam_nb.study.study import Study
from aam_nb.study.writable import check_writable_file
from aam_nb.train.estimator import AAM
from aam_nb.train.run import versions
from aam_nb.version import __version__


@telling_of_memory("writing the report", "fewer samples or ASVs, or a machine with more memory")
def report(model: AAM | Sequence[AAM], study: Study, path: str | Path, *, title: str = "Microbiome report") -> Path:
    """Write a report of one or several fitted models of a study.

    Parameters
    ----------
    model
        Fitted models. A model that has not been evaluated is evaluated on the samples of `study` that were not used to train it.
    study
        The whole study, test samples included. The PCoA is of unweighted UniFrac where there is a tree, else of Bray-Curtis.
    path
        The HTML file to write; missing folders are made.
    title
        Heading of the page.

    Returns
    -------
    The path.

    Raises
    ------
    NotFittedError
        A model has no target.
    UnknownIdError
        The study holds no sample that the model has not seen.
    TargetError
        Values of a target are not what the model learned, or not those that it was evaluated by.
    NotWrittenError
        The page cannot be written there.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=16, n_asvs=60, seed=0)
    >>> train, test = study.split(test_size=0.25, target="age", seed=0)
    >>> model = aam.AAM(aam.ModelConfig(width=16, num_layers=1))
    >>> model = model.fit(train, target="age", config=aam.TrainConfig(epochs=1, progress=False))
    >>> result = model.evaluate(test, config=aam.EvaluateConfig(num_trees=5, num_resamples=20))
    >>> aam.report(model, study, "report.html").name
    'report.html'
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    check_writable_file(path)  # before the work
    models = [model] if isinstance(model, AAM) else list(model)
    for of_model in models:  # what can be refused is refused before the first is evaluated
        for name in of_model.require_task().targets:
            if name in study.metadata.columns:
                read_target(study, of_model.require_task().only(name))
        if (result := of_model.evaluation) is not None:
            remedy = "Give the study that was evaluated, or evaluate again: `model.evaluate(test)`."
            of, truth = f"the evaluation of {of_model!r}", result.predictions["truth"]
            refuse_other_truth(truth, study, target=result.target, of=of, remedy=remedy)
    sections = [model_section(m, study) for m in models]
    explorers = [widgets.explore(study), *(e for section in sections for e in section.explorers.values())]
    embedded = embed(explorers)
    drawn = [
        {"place": place, "still": picture(e.figure(), f"{e.title}. {e.sentence()}", "")}
        for place, e in zip(embedded.places, explorers, strict=True)
    ]
    of_models = iter(drawn[1:])
    pages = Environment(loader=PackageLoader("aam_nb.show.report", "."), autoescape=True, undefined=StrictUndefined)
    pages.filters["code"] = _code
    text = pages.get_template("report.html.j2").render(
        title=title,
        version=__version__,
        study_line=f"{count_noun(study.num_samples, 'sample')}, {count_noun(study.num_asvs, 'ASV')}",
        provenance=study.provenance,
        sha256=study.content_hash(),
        study_explorer=drawn[0],
        models=[section.fields | {name: next(of_models) for name in section.explorers} for section in sections],
        versions=versions(),
        embedded=embedded,
    )
    with whole_file(path) as fresh:
        fresh.write_text(text, encoding="utf-8", errors="backslashreplace")
    return Path(path)


def _code(text: str) -> Markup:
    """Escaped text; what stands between backticks is marked as code."""
    pieces = text.split("`")
    return Markup("").join(Markup("<code>{}</code>").format(t) if k % 2 else escape(t) for k, t in enumerate(pieces))
