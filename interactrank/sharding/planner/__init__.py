"""Which rank holds what of each ID table, for ranks that are here and for clusters that are not."""
