"""A user of the tests' own. Our code asks the system for the home, so that HOME decides nothing; this answers for it.

Whoever runs the tests may have a strict policy at home, and must not find the tests' state there afterwards.
"""

from pathlib import Path

HOME = "/nonexistent"
FOLDER = str(Path(__file__).parent)
VARIABLES = {"PYTHONPATH": FOLDER, "TESTS_HOME": HOME}
"""With these in its environment, a Python process loads `sitecustomize`."""
