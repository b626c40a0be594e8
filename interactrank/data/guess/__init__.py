"""The first minute on a log of one's own: what its columns seem to mean, as a config that runs."""
