"""Crash injection: real processes under a seeded random schedule of faults, and what must hold afterwards.

`python -m tests.crash --faults 200 --seed 1 --database sqlite` (or `make crash`); docs/reliability.md has the figures.
"""
