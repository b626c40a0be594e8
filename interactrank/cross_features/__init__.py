"""Numbers of a (request, item) pair: engagement shares, cosines and BM25, as of the request."""
