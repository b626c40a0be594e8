"""A run: its config, its directories, and how it is launched."""
