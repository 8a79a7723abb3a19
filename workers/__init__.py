"""What runs on a device: Celery slots, the warm child process, training, measuring, exporting.

Workers know `searchd.wire`, `searchd.errors`, `spaces` and `kernels`, and never the database or the daemon's inside.
"""
