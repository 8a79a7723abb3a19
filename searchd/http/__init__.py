"""The HTTP face of the daemon: FastAPI over the views (reads) and `Commands` (everything that changes a study)."""
