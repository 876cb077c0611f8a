"""A secret shows itself only to who asks for it by name, and is recognised by its shape."""

import copy
import dataclasses
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from venice_mcp.secrets import KEY_SHAPE, Secret, looks_like_secret

KEY = "VENICE_ADMIN_KEY_mustNotLeak-0123456789abcdefghi2V2jNW"
OLD_KEY = "q7Xw2LmN0pRsT4uVyZaBcDeFgHiJkLmNoPqRsTuV12"
WALLET_KEY = "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"
JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl-_"


@dataclasses.dataclass
class Holder:
    secret: Secret


def test_only_reveal_gives_the_value() -> None:
    secret = Secret(KEY)
    assert secret.reveal() == KEY
    shown = [repr(secret), str(secret), f"{secret}", f"{secret:>50}", "%s %r" % (secret, secret)]  # noqa: UP031
    shown += [repr([secret]), repr(Holder(secret)), repr({secret: secret})]
    assert all(KEY[:-6] not in text and "2V2jNW" in text for text in shown)
    assert str(secret) == "Secret(...2V2jNW)"
    assert not hasattr(secret, "__dict__")


@pytest.mark.parametrize(
    ("value", "last6"), [(KEY, "2V2jNW"), ("a" * 24, "aaaaaa"), ("a" * 23, ""), ("a" * 30 + "\n", "")]
)
def test_last6_is_given_only_where_it_gives_little_away(value: str, last6: str) -> None:
    assert Secret(value).last6 == last6


def test_secrets_compare_and_hash_by_value_and_differ_from_their_text() -> None:
    assert Secret(KEY) == Secret(KEY)
    assert len({Secret(KEY), Secret(KEY), Secret(OLD_KEY)}) == 2
    assert Secret(KEY) != KEY
    assert Secret("\udc80abcdefgh") != Secret(KEY)


def test_no_copy_pickle_or_json_opens_a_secret() -> None:
    secret = Secret(KEY)
    roads: list[Callable[[Any], object]] = [
        pickle.dumps,
        copy.copy,
        copy.deepcopy,
        json.dumps,
        vars,
        lambda s: dataclasses.asdict(Holder(s)),
        lambda s: s.__getstate__(),
        lambda s: s.__reduce__(),
    ]
    for road in roads:
        with pytest.raises(TypeError) as caught:
            road(secret)
        assert KEY not in str(caught.value)


def test_a_secret_cannot_be_changed() -> None:
    secret = Secret(KEY)
    with pytest.raises(AttributeError):
        secret.other = 1  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(AttributeError):
        del secret.last6  # pyright: ignore[reportAttributeAccessIssue]


def test_bytes_are_refused_without_being_quoted() -> None:
    with pytest.raises(TypeError) as caught:
        Secret(KEY.encode())  # pyright: ignore[reportArgumentType]
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        f"my key is {KEY}, thanks",
        KEY.replace("KEY", "K\u200bEY"),
        "VENICE_INFERENCE_KEY_" + "a" * 12,
        OLD_KEY,
        OLD_KEY + "qq",
        f"550e8400-e29b-41d4-a716-446655440000-{OLD_KEY}",
        WALLET_KEY,
        "0x" + WALLET_KEY.upper(),
        "0x" + WALLET_KEY * 2 + "1b",
        WALLET_KEY * 2 + "1b",
        JWT,
        f"Bearer {JWT}",
    ],
)
def test_secrets_are_recognised(text: str) -> None:
    assert looks_like_secret(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "550e8400-e29b-41d4-a716-446655440000",
        "550E8400-E29b-41d4-A716-446655440000",
        "0x52908400098527886E0F7030069857D2E4169EE7",
        "0x52908400098527886e0f7030069857D2e4169ee7 pays",
        "2026-01-31T12:00:00.000Z",
        "zai-org-glm-5-1",
        "customer-production-environment-primary-eu-west-1",
        "Customer-Production-Environment-Primary-EU-West-1",
        "CI_Deployment_Runner_Of_Team_Blue_2026-01-31",
        "VENICE_ADMIN_KEY_FILE",
        "VENICE_INFERENCE_KEY_",
        "...2V2jNW",
        "2V2jNW",
        "The key for Web2 of the marketing team, made on 2026-01-31 by Anna; please don't delete it!",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    ],
)
def test_innocent_text_is_not_taken_for_a_secret(text: str) -> None:
    assert not looks_like_secret(text)


@given(st.text(alphabet="abcXYZ019_-", min_size=12, max_size=50), st.sampled_from(["INFERENCE", "ADMIN"]))
def test_every_prefixed_key_has_the_key_shape(body: str, kind: str) -> None:
    assert KEY_SHAPE.fullmatch(f"VENICE_{kind}_KEY_{body}")


def test_recognising_takes_linear_time() -> None:
    for text in ("eyJ" * 100_000, "eyJa." * 60_000, "VENICE_ADMIN_KEY_" * 20_000, "a-" * 150_000, "f" * 300_000):
        looks_like_secret(text)
