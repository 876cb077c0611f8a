"""A pasted error reaches the tool without its secrets, in any form a client gives it, however long it is."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.bench import ERAS, INFERENCE_KEY, done, failed, text_of, world

pytestmark = pytest.mark.anyio
TOOL = "venice_diagnose"
NOISE = "GTd7FguoV8FWnFbB0JxXujr4qqaaABvvLOzAxzXMcU1"
KEY = f"VENICE_INFERENCE_KEY_{NOISE}"


@pytest.mark.parametrize("era", ERAS)
async def test_no_part_of_a_broken_key_comes_back(tmp_path: Path, era: str) -> None:
    venice = world(tmp_path, scenario="healthy")
    broken = f"Authentication failed for {KEY[:44]}\n{KEY[44:]} and key {NOISE[:22]}\n{NOISE[22:]}"
    given: list[tuple[Any, bool]] = [
        (f'401 {{"error":"{broken}"}}', True),
        ({"status": 401, "error": broken}, True),
        (f'401 {{"error":"bad {INFERENCE_KEY[-25:]}"}}', False),
    ]
    for error, had_secret in given:
        result = await venice.call(TOOL, {"error": error}, era=era)
        everything = text_of(result) + json.dumps(result.structured_content)
        for secret in (NOISE, INFERENCE_KEY):
            assert not any(secret[-25:][i : i + 9] in everything for i in range(17))
        assert done(result)["pasted"]["had_secret"] is had_secret


@pytest.mark.parametrize("nothing", [None, "", "  \n", {}, []])
async def test_what_is_empty_was_not_given(tmp_path: Path, nothing: Any) -> None:
    without = failed(await world(tmp_path, env={}).call(TOOL, {}))
    assert failed(await world(tmp_path, env={}, state="b").call(TOOL, {"error": nothing})) == without


async def test_of_a_long_traceback_the_end_is_read(tmp_path: Path) -> None:
    venice = world(tmp_path, scenario="healthy")
    end = 'openai.APIStatusError: Error code: 402 - {"error":"API key USD spend limit exceeded. Your account"}'
    found = done(await venice.call(TOOL, {"error": '  File "/srv/app/main.py", line 402\n' * 9_000 + end}))
    assert found["pasted"]["status"] == 402


async def test_a_mark_that_was_pasted_is_no_key(tmp_path: Path) -> None:
    venice = world(tmp_path, scenario="healthy")
    error = 'curl -H "Authorization: Bearer [redacted]"\n401 {"error":"Authentication failed for [redacted ...abcdef]"}'
    assert done(await venice.call(TOOL, {"error": error}))["pasted"]["had_secret"] is False
