"""Ablation: a grid of models from plain to full, several seeds, intervals, tests and the paper's findings."""
