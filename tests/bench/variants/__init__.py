"""Compares variants of crops, embeddings and centroids: `python -m tests.bench.variants`."""
