"""The pre-ranker behind HTTP: ``interactrank serve``."""
