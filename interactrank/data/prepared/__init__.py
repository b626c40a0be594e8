"""The format of a prepared dataset: what its files and columns are, and how they are opened."""
