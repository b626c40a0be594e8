"""The error of a run that cannot go on for a reason that its user can mend."""

from interactrank.errors import UserError

__all__ = ["TrainingError"]


class TrainingError(UserError, ValueError):
    """Model, loader, settings and folder of a run do not fit each other, or the ranks differ."""
