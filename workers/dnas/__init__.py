"""Differentiable architecture search: the mixture, its losses, the latency table, and what comes out of it as files."""
