"""Programs that run in pods of the serving image, whose Python and httpx they use."""
