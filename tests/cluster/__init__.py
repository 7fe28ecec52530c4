"""Tests of the chart on a real Kubernetes: `make cluster-test`; README.md says what they need."""
