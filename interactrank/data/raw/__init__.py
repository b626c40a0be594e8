"""Reading of raw logs."""
