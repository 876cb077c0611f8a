"""The names of keys that are made from one template: refused before anyone is asked, or names and nothing else."""

import sys

import pytest

if sys.platform == "win32":
    raise pytest.skip.Exception("secrets go into no file and no command there", allow_module_level=True)

import json
import os
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.bench import Person, changed_nothing, done, failed
from tests.e2e.striking import FAULTS, quick_folder, to_the_end
from tests.e2e.test_provisioning import KINDS, NAMES, PROVISION, Provisioning, second_create

pytestmark = pytest.mark.anyio


@pytest.fixture
def folder() -> Iterator[Path]:
    with quick_folder() as path:
        yield path


HOSTILE: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "twice": (["a", "a"], KINDS),
    "twice but for case": (["a", "A"], KINDS),
    "twice but for spaces": (["a", " a "], KINDS),
    "the same file": (["a/b", "a_b"], ("files", "dotenv")),
    "the same letters": (["\u00e9", "\u00e8"], ("files", "dotenv")),
    "blank": (["a", " "], KINDS),
    "a line feed": (["a\nVENICE_API_KEY=x"], KINDS),
    "right to left": (["a\u202eb"], KINDS),
    "invisible": (["a\u200bb"], KINDS),
    "too long": (["x" * 60], KINDS),
    "a key": (["VENICE_INFERENCE_KEY_" + "Ab1" * 12], KINDS),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_names_that_would_do_harm_are_refused_before_anyone_is_asked(folder: Path, name: str) -> None:
    names, refused_by = HOSTILE[name]
    for kind in refused_by:
        (folder / kind).mkdir()
        work, person = Provisioning.of(folder / kind, kind, names), Person()
        said = failed(await work.venice.call(PROVISION, work.arguments(), person=person))
        assert changed_nothing(said)
        assert "\n" not in said
        assert (person.questions, work.venice.edge.sent, work.saved()) == ([], [], {})


ODD = ["../../etc/passwd", "=1+1", "$(id)", "a,b", "'quoted'", "-rf", ".hidden", "\u6f22\u5b57"]


@pytest.mark.parametrize("kind", ["files", "csv", "json"])
async def test_odd_names_stay_names(folder: Path, kind: str) -> None:
    work = Provisioning.of(folder, kind, ODD)
    await work.assert_provisioned(await to_the_end(work.struck, PROVISION, work.arguments()))
    inside = {"files": "keys", "csv": "keys.csv", "json": "keys.json"}[kind]
    assert set(os.listdir(folder)) - {"state", "operator"} <= {inside, f".{inside}.lock"}


NAMES_FILES: dict[str, tuple[str, str]] = {
    "one column": ("list.csv", "acme\nBeta Ltd\nc-3\n"),
    "a column called name": ("list.csv", "id,Name\r\n1,acme\r\n2,Beta Ltd\r\n3,c-3\r\n"),
    "a list": ("list.json", json.dumps(NAMES)),
    "objects": ("list.json", json.dumps([{"name": name, "more": 1} for name in NAMES])),
}


@pytest.mark.parametrize("form", NAMES_FILES)
async def test_names_may_come_from_a_file_and_another_file_asks_anew(folder: Path, form: str) -> None:
    work = Provisioning.of(folder, "csv")
    name, text = NAMES_FILES[form]
    (folder / name).write_text(text)
    arguments = work.arguments(names_file=str(folder / name))
    del arguments["names"]
    story = await to_the_end(work.struck, PROVISION, arguments)
    await work.assert_provisioned(story)
    (folder / name).write_text(text.replace("acme", "acne"))
    no = Person("decline")
    failed(await work.venice.call(PROVISION, arguments, person=no))
    assert "Create 1 new INFERENCE key?" in no.questions[0]
    assert "There already under such a name, and left alone: 2 keys." in no.questions[0]


async def test_a_file_of_names_that_changed_within_a_plan_is_outside_of_it(folder: Path) -> None:
    work = Provisioning.of(folder, "json")
    (folder / "list.json").write_text(json.dumps(NAMES))
    arguments = work.arguments(names_file=str(folder / "list.json"))
    del arguments["names"]
    work.struck.fault, work.struck.at = FAULTS["429"], await second_create()
    assert done(await work.venice.call(PROVISION, arguments))["finished"] is False
    (folder / "list.json").write_text(json.dumps([*NAMES, "more"]))
    no = Person("decline")
    failed(await work.venice.call(PROVISION, arguments, person=no))
    assert len(no.questions) == 1
    assert len(work.saved()) < len(NAMES)
    (folder / "list.json").write_text(json.dumps(NAMES))
    work.venice.clock.advance(seconds=61)
    quiet = Person()
    assert done(await work.venice.call(PROVISION, arguments, person=quiet))["finished"] is True
    assert (quiet.questions, len(work.saved())) == ([], len(NAMES))
