"""Before any test is collected: this process and those that it starts get the tests' own user."""

import os

from tests.user import FOLDER, VARIABLES

_given = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part and part != FOLDER]
os.environ |= VARIABLES | {"PYTHONPATH": os.pathsep.join([FOLDER, *_given])}
from tests.user import sitecustomize as sitecustomize  # noqa: E402 - it looks for the variables
