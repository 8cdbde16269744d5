"""Explorers: widgets for a study, a training, a model's attention and attributions, its errors, and a comparison of models.

Each is returned, not displayed (but `training`, while a model trains); its state lies in traits (`explorer.selected` holds sample
ids, so that `study.keep_samples(explorer.selected)` is the next step). Viewers without widgets see a figure. `explorer.export(path)`
writes the figure, the table or a page of its own. An explorer works with the mouse and with the keyboard.
"""

from aam_nb.show.widgets.attention import AttentionExplorer, attention
from aam_nb.show.widgets.attributions import AttributionsExplorer, attributions
from aam_nb.show.widgets.comparison import ComparisonExplorer, compare
from aam_nb.show.widgets.errors import ErrorsExplorer, errors
from aam_nb.show.widgets.explorer import Explorer
from aam_nb.show.widgets.study import StudyExplorer, explore
from aam_nb.show.widgets.training import TrainingMonitor, training
from aam_nb.show.widgets.twin import ExplorerError

__all__ = [
    "AttentionExplorer",
    "AttributionsExplorer",
    "ComparisonExplorer",
    "ErrorsExplorer",
    "Explorer",
    "ExplorerError",
    "StudyExplorer",
    "TrainingMonitor",
    "attention",
    "attributions",
    "compare",
    "errors",
    "explore",
    "training",
]
