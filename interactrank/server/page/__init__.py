"""The search page: what a model makes of a search, next to simpler rankings, and why."""

from interactrank.server.page.routes import routes

__all__ = ["routes"]
