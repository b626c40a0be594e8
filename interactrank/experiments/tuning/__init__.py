"""Tuning: search a space of settings on the validation period, with Optuna's sampler and storage."""
