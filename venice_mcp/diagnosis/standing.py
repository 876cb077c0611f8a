"""Causes that lie in the key itself: not accepted, expired, revoked, held to addresses, of the wrong type."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from venice_mcp.diagnosis.causes import KNOWN, Cause, Remedy
from venice_mcp.diagnosis.claims import claims
from venice_mcp.diagnosis.evidence import Evidence
from venice_mcp.errors import VeniceError
from venice_mcp.models.wire import MAX_ACTIVE_KEYS
from venice_mcp.text import away, parse_time, plain, quoted

SOON = timedelta(days=3)
_LISTED = 3


def standing(evidence: Evidence) -> Iterator[Cause]:
    """What Venice's list, and its refusal of the key, say about the key."""
    refused = evidence.refused.get("limits") if evidence.subject.kind is not None else None
    if refused is not None:
        yield from _refused(evidence, refused)
    elif evidence.gone and evidence.subject.kind is None:
        yield _gone(evidence)
    else:
        yield from _ending(evidence)
    if evidence.limits is not None and not evidence.limits.access_permitted:
        yield _known(evidence, "access_not_permitted", "Venice says accessPermitted: false for the {who}")
    yield from _wrong_type(evidence)
    if evidence.keys is not None and len(evidence.keys) >= MAX_ACTIVE_KEYS:
        yield _full(len(evidence.keys))


def _refused(evidence: Evidence, refused: VeniceError) -> Iterator[Cause]:
    """Venice refused the key itself when it was asked with it."""
    codes = claims(refused.status, refused.said)
    if refused.code in ("unreachable", "failure_budget"):
        if refused.code == "unreachable":
            yield Cause(
                "unreachable",
                f"Venice cannot be reached from here: {plain(refused.what, 120)}",
                Remedy(KNOWN["unreachable"].remedy),
                ends=KNOWN["unreachable"].ends,
            )
        return
    if refused.code == "not_json":
        sentence = f"What answers in Venice's place is no answer of Venice ({refused.status}), but of something between"
        yield Cause("not_from_venice", sentence, Remedy(KNOWN["not_from_venice"].remedy), ends="not stated")
    elif refused.status is not None and refused.status >= 500:
        alone = len(evidence.refused) < 2
        sentence = f"Venice itself fails: it answered {refused.status} when it was asked with the {{who}}"
        yield replace(_known(evidence, "venice_failed", sentence), sure="possible" if alone else "likely")
    elif "key_not_accepted" in codes[:1]:
        yield _gone(evidence)
    elif refused.status == 403:
        yield from _forbidden(evidence, codes)
    elif codes and codes[0] in ("subscription_inactive", "wrong_key_type", "pro_only_model"):
        yield _known(evidence, codes[0], f"Venice refused the {{who}} with {quoted(refused.said, 90)}")


def _forbidden(evidence: Evidence, codes: tuple[str, ...]) -> Iterator[Cause]:
    key = evidence.key
    if key is not None and key.ip_allowlist:
        shown = ", ".join(plain(each, 45) for each in key.ip_allowlist[:_LISTED])
        more = f" and {len(key.ip_allowlist) - _LISTED} more" if len(key.ip_allowlist) > _LISTED else ""
        yield _known(
            evidence,
            "address_not_listed",
            f"The {{who}} is held to {shown}{more}, and Venice refused it from this machine with 403",
            numbers={"addresses": len(key.ip_allowlist)},
        )
    elif codes[:1] == ("access_not_permitted",):
        yield _known(evidence, "access_not_permitted", "Venice refused the {who}: API access is disabled")
    else:
        # Not even its own limits are shown to it, which a model's privacy cannot be the reason of.
        for code in ("address_not_listed", "access_not_permitted"):
            yield _known(
                evidence, code, f"Venice refused the {{who}} with 403: perhaps {KNOWN[code].meaning}", "likely"
            )


def _gone(evidence: Evidence) -> Cause:
    """A key that Venice does not accept, or not list: which of the reasons, as far as anybody here knows."""
    revoked = [each for each in evidence.past if each.revoked_at is not None]
    if revoked and revoked[-1].revoked_at is not None:
        at = f"{revoked[-1].revoked_at:%Y-%m-%d %H:%M} UTC"
        return _known(evidence, "key_revoked", f"The {{who}} was revoked from here on {at}")
    if evidence.subject.kind is not None and evidence.key is not None:
        return _known(
            evidence,
            "key_not_accepted",
            "Venice does not accept the {who}, although it lists a key of that type and ending;"
            " the configured secret is probably mistyped",
            "likely",
        )
    end = _expiry_before(evidence)
    if end is not None and end <= evidence.now:
        at = f"{end:%Y-%m-%d %H:%M} UTC ({away(end, evidence.now)})"
        return _known(evidence, "key_expired", f"The {{who}} expired on {at}", numbers={"expired_at": f"{end:%FT%TZ}"})
    if evidence.before is not None and evidence.gone:
        return _known(
            evidence,
            "key_revoked",
            "Venice listed the {who} earlier, without an expiry that has passed, and does not any more:"
            " somebody revoked it",
            "likely",
        )
    listed = "and does not list it in the ADMIN key's account " if evidence.gone else ""
    if evidence.subject.kind is None:
        unlisted = _known(
            evidence,
            "key_not_accepted",
            "Venice lists no such active {who}: it is revoked or expired, its id is mistyped, or it belongs to"
            " another account",
            "likely",
        )
        return replace(unlisted, remedy=Remedy("Compare the id with those that venice_list_api_keys lists."))
    return _known(
        evidence,
        "key_not_accepted",
        f"Venice does not accept the {{who}} {listed}(401): it is revoked, expired or mistyped;"
        " Venice does not say which",
    )


def _expiry_before(evidence: Evidence) -> datetime | None:
    """When the key was to expire, by what was listed earlier or by the record of its making."""
    if evidence.before is not None:
        return parse_time(evidence.before.expires_at)
    return parse_time(evidence.past[-1].expires_at) if evidence.past else None


def _ending(evidence: Evidence) -> Iterator[Cause]:
    key, limits = evidence.key, evidence.limits if evidence.subject.kind is not None else None
    end = parse_time(key.expires_at if key is not None else limits.key_expiration if limits is not None else None)
    if end is None or not end - evidence.now < SOON:
        return
    remedy = Remedy(KNOWN["key_expires_soon"].remedy)
    if key is not None:
        arguments = {"key_id": key.id, "expires_in_days": 30}
        remedy = Remedy("Extend it", "venice_update_api_key", arguments, "30 days are a guess")
    sentence = f"The {evidence.subject.name(key)} expires on {end:%Y-%m-%d %H:%M} UTC ({away(end, evidence.now)})"
    yield Cause(
        "key_expires_soon",
        sentence,
        remedy,
        state="soon",
        numbers={"expires_at": f"{end:%FT%TZ}"},
        ends="not by itself",
    )


def _wrong_type(evidence: Evidence) -> Iterator[Cause]:
    refused = evidence.refused.get("keys")
    if refused is not None and refused.code == "wrong_key_type":
        yield Cause(
            "wrong_key_type",
            "What is configured as the ADMIN key is no ADMIN key, so it cannot manage keys or read billing",
            Remedy("Configure VENICE_ADMIN_KEY with an ADMIN key; venice_status says what is configured."),
            ends=KNOWN["wrong_key_type"].ends,
        )


def _full(count: int) -> Cause:
    return Cause(
        "too_many_keys",
        f"The account has {count} active keys of at most {MAX_ACTIVE_KEYS}, so no more can be made; calls still work",
        Remedy(KNOWN["too_many_keys"].remedy, "venice_audit_api_keys", {"code": "unused"}),
        numbers={"active_keys": count, "at_most": MAX_ACTIVE_KEYS},
        ends="when keys are revoked or expire",
    )


def _known(
    evidence: Evidence,
    code: str,
    sentence: str,
    sure: str = "certain",
    numbers: dict[str, float | str] | None = None,
) -> Cause:
    """A cause with the ending and remedy that its code always has; `{who}` becomes the key in words."""
    who = evidence.subject.name(evidence.key or evidence.before)
    known = KNOWN[code]
    return Cause(
        code,
        sentence.replace("{who}", who),
        Remedy(known.remedy),
        sure="likely" if sure == "likely" else "certain",
        numbers=numbers or {},
        ends=known.ends,
    )
