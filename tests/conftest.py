"""Before any test is collected: the tests' own user for this process and those that it starts, and where folders are.

Temporary folders are in memory where there is such a file system with room: a record is made safe on disk at every
step, and on a disk that took a third of the time of all tests.
"""

import gc
import os
import shutil
from pathlib import Path

from tests.checking import check_schemas_once
from tests.user import FOLDER, VARIABLES

_MEMORY, _ROOM = Path("/dev/shm"), 2 << 30  # noqa: S108 - pytest makes a folder of this user's own in it
if _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK | os.X_OK) and shutil.disk_usage(_MEMORY).free > _ROOM:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))

_given = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part and part != FOLDER]
os.environ |= VARIABLES | {"PYTHONPATH": os.pathsep.join([FOLDER, *_given])}
from tests.user import sitecustomize as sitecustomize  # noqa: E402 - it looks for the variables

check_schemas_once()


def pytest_collection_finish() -> None:
    """What collection left lives to the end: looking for garbage among it took a fifth of the time of all tests."""
    gc.collect()
    gc.freeze()
