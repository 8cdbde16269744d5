"""The report: one HTML page of a study and its models, to mail to a collaborator; see `report`."""

from aam_nb.show.report.page import report

__all__ = ["report"]
