"""One file a migration, named `v<number>_<what>.py`."""
