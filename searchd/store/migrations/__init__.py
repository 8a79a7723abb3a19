"""Alembic migrations of the store; a released one is never edited."""
