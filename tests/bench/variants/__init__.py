"""What other crops, embeddings and centroids would gain: `python -m tests.bench.variants`."""
