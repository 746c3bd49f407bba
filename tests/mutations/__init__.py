"""Faults planted in the package, to see whether the everyday tests find them; run by hand.

`make mutants` or `python -m tests.mutations --seed 7`; see README.md beside this file.
"""
