import pytest

from tests.sandbox.door import Door, open_door


@pytest.fixture
def demo() -> Door:
    return open_door("demo", control=True)


@pytest.fixture
def empty() -> Door:
    return open_door("empty", control=True)
