"""The errors that several parts of the package raise about a study, its files, and packages that are not installed."""

from aam_nb.config.messages import UserError


class FormatError(UserError, ValueError):
    """A file does not have the format that it must have."""


class StudyError(UserError, ValueError):
    """The input is not a study: ids, counts or sequences are not what they must be."""


class UnknownIdError(UserError, KeyError):
    """A sample, an ASV or a metadata column of that name is not in the study."""


class EmptySampleError(UserError, ValueError):
    """A sample has no reads where reads are needed."""


class MissingTipError(UserError, ValueError):
    """The study has no tree, or ASVs that are not tips of it."""


class TargetError(UserError, ValueError):
    """A metadata column cannot be predicted."""


class MissingExtraError(UserError, ImportError):
    """A package that a feature needs is not installed."""
