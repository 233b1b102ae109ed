"""Hostile input: what is fed with it, and how it is made.

pytest runs it in tests/faults/test_fuzz.py with random mutations, and guided by coverage where
atheris is installed; `PYTHONPATH=.:tests python -m fuzz.guided TARGET` does the latter by hand.
"""
