"""What cross features add to scores, compiled for single requests."""

from interactrank.models.cross_terms.program import CrossTerms

__all__ = ["CrossTerms"]
