"""What a model sees of the tools. A changed snapshot is written anew by `pytest --inline-snapshot=fix`."""

# ruff: noqa: E501 - what a model sees stands here as it is

import json
from pathlib import Path
from typing import Any, cast

import jsonschema
import pytest
from inline_snapshot import snapshot
from mcp_types import Tool

from tests.test_contract_client import walk
from tests.test_harness import ERAS, MODERN, Json, data_of, house, text_of
from venice_mcp.tools import TOOLS


def listed(folder: Path, era: str = MODERN) -> list[Tool]:
    bench = house(folder, scenario="empty")

    async def ask() -> list[Tool]:
        async with bench.client(era) as client:
            return (await client.list_tools()).tools

    return bench.run(ask)


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tool]:
    return {tool.name: tool for tool in listed(tmp_path_factory.mktemp("schemas"))}


def seen(tool: Tool) -> Json:
    """What is fixed about a tool."""
    assert tool.annotations is not None
    return {
        "title": tool.title,
        "annotations": tool.annotations.model_dump(by_alias=True, exclude_none=True),
        "description": tool.description,
        "input": tool.input_schema,
    }


def test_what_a_model_sees_of_venice_status(tools: dict[str, Tool]) -> None:
    assert seen(tools["venice_status"]) == snapshot(
        {
            "title": "Server status",
            "annotations": {
                "title": "Server status",
                "readOnlyHint": True,
                "destructiveHint": False,
                "idempotentHint": True,
                "openWorldHint": False,
            },
            "description": "Show which Venice keys this server holds (type, last six, origin), sandbox or live, what waits for approval, and what is missing with its fix. Call it first when anything about keys fails.",
            "input": {"type": "object", "additionalProperties": False, "properties": {}},
        }
    )


def test_what_a_model_sees_of_venice_recover(tools: dict[str, Tool]) -> None:
    assert seen(tools["venice_recover"]) == snapshot(
        {
            "title": "Settle what was interrupted",
            "annotations": {
                "title": "Settle what was interrupted",
                "readOnlyHint": False,
                "destructiveHint": True,
                "idempotentHint": True,
                "openWorldHint": True,
            },
            "description": "Find out what interrupted calls left behind (writes of unknown outcome, keys whose secret reached nobody, unfinished plans) and settle it by reading Venice. Use it when venice_status names open matters. revoke ends such a key after a person approved it; acknowledge notes that the person stored a displayed secret; resume goes on with an approved plan.",
            "input": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "revoke": {
                        "description": "Key that an open matter names",
                        "examples": ["e28e82dc-9df2-4b47-b726-d0a222ef2ab5"],
                        "type": "string",
                    },
                    "acknowledge": {
                        "description": "Key id or entry, e.g. ABCD-EFGH/1; only when the person said that the secret is stored",
                        "type": "string",
                    },
                    "resume": {
                        "description": "Plan to go on with, e.g. ABCD-EFGH",
                        "type": "string",
                    },
                    "undo": {
                        "description": "Plan, e.g. ABCD-EFGH, whose work to take back after a person approved it",
                        "type": "string",
                    },
                    "give_up": {
                        "description": "Plan to drop, e.g. ABCD-EFGH; what is done stays",
                        "type": "string",
                    },
                },
            },
        }
    )


def test_what_a_model_sees_of_venice_list_api_keys(tools: dict[str, Tool]) -> None:
    assert seen(tools["venice_list_api_keys"]) == snapshot(
        {
            "title": "List API keys",
            "annotations": {
                "title": "List API keys",
                "readOnlyHint": True,
                "destructiveHint": False,
                "idempotentHint": True,
                "openWorldHint": True,
            },
            "description": "List active Venice API keys with caps, last use and expiry; never secrets. Filter and page instead of listing all. To act on a key take its id from here; if several fit, ask the person which.",
            "input": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "api_key_type": {"enum": ["INFERENCE", "ADMIN"], "type": "string"},
                    "text": {"description": "Part of the description, any case", "type": "string"},
                    "last6_chars": {
                        "description": "How the key ends",
                        "type": "string",
                    },
                    "unused_for_days": {
                        "description": "Not used, or never used and made, for N days",
                        "type": "number",
                    },
                    "expiring_within_days": {"type": "number"},
                    "without_cap": {
                        "default": False,
                        "description": "true: only keys with neither a USD nor a DIEM cap",
                        "type": "boolean",
                    },
                    "sort": {
                        "default": "created",
                        "description": "Newest, most recent, soonest or largest first",
                        "enum": ["created", "last_used", "expires", "description", "usage"],
                        "type": "string",
                    },
                    "limit": {"default": 50, "maximum": 100, "minimum": 1, "type": "integer"},
                    "page": {"default": 1, "maximum": 500, "minimum": 1, "type": "integer"},
                },
            },
        }
    )


def test_what_a_model_sees_of_venice_get_api_key(tools: dict[str, Tool]) -> None:
    assert seen(tools["venice_get_api_key"]) == snapshot(
        {
            "title": "Show an API key",
            "annotations": {
                "title": "Show an API key",
                "readOnlyHint": True,
                "destructiveHint": False,
                "idempotentHint": True,
                "openWorldHint": True,
            },
            "description": "Show one key's settings, use and spend, by id or last six characters. It cannot show the secret; nobody can.",
            "input": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "key_id": {
                        "description": "From venice_list_api_keys",
                        "examples": ["e28e82dc-9df2-4b47-b726-d0a222ef2ab5"],
                        "type": "string",
                    },
                    "last6_chars": {
                        "description": "Instead: last six characters of the key",
                        "type": "string",
                    },
                },
            },
        }
    )


def test_what_a_model_sees_of_venice_find_api_key(tools: dict[str, Tool]) -> None:
    assert seen(tools["venice_find_api_key"]) == snapshot(
        {
            "title": "Find out which key it is",
            "annotations": {
                "title": "Find out which key it is",
                "readOnlyHint": True,
                "destructiveHint": False,
                "idempotentHint": True,
                "openWorldHint": True,
            },
            "description": "Tell which key a person means, by its last six characters, its description, or as the one this server holds. Never takes the key itself. If several match, ask the person which.",
            "input": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "last6_chars": {
                        "description": "How the key ends; case matters",
                        "type": "string",
                    },
                    "description": {"description": "All or part of it", "type": "string"},
                    "configured": {
                        "description": "The key of this type that this server holds",
                        "enum": ["INFERENCE", "ADMIN"],
                        "type": "string",
                    },
                },
            },
        }
    )


def test_what_a_model_sees_of_venice_audit_api_keys(tools: dict[str, Tool]) -> None:
    assert seen(tools["venice_audit_api_keys"]) == snapshot(
        {
            "title": "Audit all API keys",
            "annotations": {
                "title": "Audit all API keys",
                "readOnlyHint": False,
                "destructiveHint": False,
                "idempotentHint": False,
                "openWorldHint": True,
            },
            "description": "Audit the hygiene of all keys (caps, expiry, use, ADMIN keys, descriptions, policy), each finding with evidence and the call that mends it. Without page, code or severity: a summary. *_days, *_percent and *_count set from when something is found. Changes no key; report_path writes a new file. Show findings before making any call.",
            "input": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "code": {"description": "Details of a code of the summary", "type": "string"},
                    "severity": {
                        "description": "Details of these",
                        "enum": ["high", "medium", "low"],
                        "type": "string",
                    },
                    "page": {
                        "description": "Details; 1 is the first page",
                        "maximum": 500,
                        "minimum": 1,
                        "type": "integer",
                    },
                    "limit": {"default": 20, "maximum": 50, "minimum": 1, "type": "integer"},
                    "report_path": {
                        "description": "New .md file, absolute or ~/, for all findings",
                        "type": "string",
                    },
                    "unused_days": {
                        "default": 30,
                        "description": "At least 7",
                        "type": "number",
                    },
                    "never_used_days": {"default": 7, "type": "number"},
                    "expiring_days": {"default": 14, "type": "number"},
                    "cap_percent": {"default": 80, "type": "number"},
                    "admin_count": {"default": 2, "maximum": 500, "minimum": 0, "type": "integer"},
                    "admin_age_days": {"default": 90, "type": "number"},
                    "key_count": {"default": 450, "maximum": 500, "minimum": 1, "type": "integer"},
                },
            },
        }
    )


def test_what_a_model_sees_of_venice_create_api_key(tools: dict[str, Tool]) -> None:
    assert seen(tools["venice_create_api_key"]) == snapshot(
        {
            "title": "Create an API key",
            "annotations": {
                "title": "Create an API key",
                "readOnlyHint": False,
                "destructiveHint": False,
                "idempotentHint": False,
                "openWorldHint": True,
            },
            "description": "Create a Venice API key after a person approved it. Prefer INFERENCE, a cap, an expiry and deliver_to; ADMIN only for managing keys. The secret is shown once or saved to a file. Never pass or repeat a secret.",
            "input": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "description": {
                        "description": "E.g. 'staging backend'; max 64 characters",
                        "type": "string",
                    },
                    "api_key_type": {"default": "INFERENCE", "enum": ["INFERENCE", "ADMIN"], "type": "string"},
                    "consumption_limit": {
                        "properties": {
                            "usd": {"type": "number"},
                            "diem": {"type": "number"},
                        },
                        "type": "object",
                        "description": "Caps; 0 blocks; default: no cap",
                    },
                    "limit_period": {
                        "description": "EPOCH is a UTC day",
                        "enum": ["EPOCH", "MONTH", "LIFETIME"],
                        "type": "string",
                    },
                    "model_privacy": {
                        "enum": ["ALL", "PRIVATE_TEXT", "PRIVATE_ONLY"],
                        "type": "string",
                    },
                    "expires_in_days": {"type": "number"},
                    "expires_at": {
                        "description": "Or ISO time, e.g. 2027-01-31",
                        "type": "string",
                    },
                    "ip_allowlist": {
                        "description": "E.g. 203.0.113.0/24; others are locked out",
                        "items": {"type": "string"},
                        "type": "array",
                    },
                    "deliver_to": {
                        "properties": {
                            "kind": {
                                "enum": ["file", "dotenv", "keyring", "command", "display"],
                                "default": "file",
                                "type": "string",
                            },
                            "path": {
                                "description": "Absolute or ~/; a file is made new",
                                "type": "string",
                            },
                            "variable": {"type": "string"},
                            "name": {
                                "description": "For command",
                                "type": "string",
                            },
                        },
                        "type": "object",
                        "description": "E.g. {'kind':'dotenv','path':'~/.env','variable':'VENICE_API_KEY'}, or keyring with variable; without it the secret is shown in this chat, once",
                    },
                },
                "required": ["description"],
            },
        }
    )


def test_what_a_model_sees_of_venice_update_api_key(tools: dict[str, Tool]) -> None:
    assert seen(tools["venice_update_api_key"]) == snapshot(
        {
            "title": "Change an API key",
            "annotations": {
                "title": "Change an API key",
                "readOnlyHint": False,
                "destructiveHint": True,
                "idempotentHint": True,
                "openWorldHint": True,
            },
            "description": "Change a key's description, caps, window, expiry, privacy or addresses after a person approved the before and after. What is left out stays; use clear to remove a cap, expiry or address list. The type cannot change.",
            "input": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "key_id": {
                        "description": "From venice_list_api_keys",
                        "examples": ["e28e82dc-9df2-4b47-b726-d0a222ef2ab5"],
                        "type": "string",
                    },
                    "last6_chars": {
                        "description": "Instead: last six characters of the key",
                        "type": "string",
                    },
                    "description": {
                        "description": "E.g. 'staging backend'; max 64 characters",
                        "type": "string",
                    },
                    "consumption_limit": {
                        "properties": {
                            "usd": {"type": "number"},
                            "diem": {"type": "number"},
                        },
                        "type": "object",
                        "description": "New caps per limit_period, e.g. {'usd': 5}; 0 blocks, one left out stays",
                    },
                    "limit_period": {
                        "description": "EPOCH is a UTC day",
                        "enum": ["EPOCH", "MONTH", "LIFETIME"],
                        "type": "string",
                    },
                    "model_privacy": {
                        "enum": ["ALL", "PRIVATE_TEXT", "PRIVATE_ONLY"],
                        "type": "string",
                    },
                    "expires_in_days": {"type": "number"},
                    "expires_at": {
                        "description": "Or ISO time, e.g. 2027-01-31",
                        "type": "string",
                    },
                    "ip_allowlist": {
                        "description": "E.g. 203.0.113.0/24; others are locked out",
                        "items": {"type": "string"},
                        "type": "array",
                    },
                    "clear": {
                        "description": "Remove these; anything left out stays as it is",
                        "items": {"enum": ["usd_cap", "diem_cap", "expires_at", "ip_allowlist"], "type": "string"},
                        "type": "array",
                    },
                },
            },
        }
    )


def test_what_a_model_sees_of_venice_revoke_api_key(tools: dict[str, Tool]) -> None:
    assert seen(tools["venice_revoke_api_key"]) == snapshot(
        {
            "title": "Revoke an API key",
            "annotations": {
                "title": "Revoke an API key",
                "readOnlyHint": False,
                "destructiveHint": True,
                "idempotentHint": True,
                "openWorldHint": True,
            },
            "description": "Revoke a key for good after a person approved it; whatever uses it fails at once. Check last use first. To pause a key instead, update it with {'consumption_limit':{'usd':0,'diem':0}}.",
            "input": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "key_id": {
                        "description": "From venice_list_api_keys",
                        "examples": ["e28e82dc-9df2-4b47-b726-d0a222ef2ab5"],
                        "type": "string",
                    },
                    "last6_chars": {
                        "description": "Instead: last six characters of the key",
                        "type": "string",
                    },
                },
            },
        }
    )


def test_what_a_model_sees_of_venice_rotate_api_key(tools: dict[str, Tool]) -> None:
    assert seen(tools["venice_rotate_api_key"]) == snapshot(
        {
            "title": "Rotate an API key",
            "annotations": {
                "title": "Rotate an API key",
                "readOnlyHint": False,
                "destructiveHint": True,
                "idempotentHint": False,
                "openWorldHint": True,
            },
            "description": "Replace a key by a successor with the same settings after a person approved it. It is saved to deliver_to and proven to work; only then the old key ends, after a grace period that Venice enforces. Use it on a schedule or when somebody leaves; for a leaked key set leaked. If it says so, call again with the same arguments to go on.",
            "input": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "key_id": {
                        "description": "From venice_list_api_keys",
                        "examples": ["e28e82dc-9df2-4b47-b726-d0a222ef2ab5"],
                        "type": "string",
                    },
                    "last6_chars": {
                        "description": "Instead: last six characters of the key",
                        "type": "string",
                    },
                    "deliver_to": {
                        "properties": {
                            "kind": {
                                "default": "file",
                                "enum": ["file", "dotenv", "keyring", "command", "display"],
                                "type": "string",
                            },
                            "path": {
                                "description": "Absolute or ~/; a file is made new",
                                "type": "string",
                            },
                            "variable": {"type": "string"},
                            "name": {
                                "description": "For command",
                                "type": "string",
                            },
                        },
                        "type": "object",
                        "description": "For the new secret, e.g. {'kind':'dotenv','path':'~/.env','variable':'VENICE_API_KEY'}; not display",
                    },
                    "grace_hours": {
                        "default": 24,
                        "description": "The old key lives on so long, at most 90 days; 0 ends it at once",
                        "type": "number",
                    },
                    "leaked": {
                        "default": False,
                        "description": "Emergency: revokes the old key FIRST, then makes the successor",
                        "type": "boolean",
                    },
                    "own_key": {
                        "default": False,
                        "description": "Needed for a key this server runs on",
                        "type": "boolean",
                    },
                    "expires_in_days": {
                        "description": "Of the new key; default: as long as the old one's",
                        "type": "number",
                    },
                },
                "required": ["deliver_to"],
            },
        }
    )


def test_what_a_model_sees_of_venice_provision_api_keys(tools: dict[str, Tool]) -> None:
    assert seen(tools["venice_provision_api_keys"]) == snapshot(
        {
            "title": "Make many API keys",
            "annotations": {
                "title": "Make many API keys",
                "readOnlyHint": False,
                "destructiveHint": False,
                "idempotentHint": True,
                "openWorldHint": True,
            },
            "description": "Make many INFERENCE keys, one per name, after a person approved it; secrets go to files, never the chat. Use it for customers or stages. Descriptions that exist are left alone. At 20 keys a minute: call again with the same arguments until finished; nobody is asked again.",
            "input": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "consumption_limit": {
                        "properties": {
                            "usd": {"type": "number"},
                            "diem": {"type": "number"},
                        },
                        "type": "object",
                        "description": "Caps; 0 blocks; default: no cap",
                    },
                    "limit_period": {
                        "description": "EPOCH is a UTC day",
                        "enum": ["EPOCH", "MONTH", "LIFETIME"],
                        "type": "string",
                    },
                    "model_privacy": {
                        "enum": ["ALL", "PRIVATE_TEXT", "PRIVATE_ONLY"],
                        "type": "string",
                    },
                    "expires_in_days": {"type": "number"},
                    "expires_at": {
                        "description": "Or ISO time, e.g. 2027-01-31",
                        "type": "string",
                    },
                    "ip_allowlist": {
                        "description": "E.g. 203.0.113.0/24; others are locked out",
                        "items": {"type": "string"},
                        "type": "array",
                    },
                    "names": {
                        "description": "Or names_file",
                        "items": {"type": "string"},
                        "type": "array",
                    },
                    "names_file": {
                        "description": "CSV (column name) or JSON list, absolute or ~/",
                        "type": "string",
                    },
                    "description": {
                        "default": "{name}",
                        "description": "Of each key, e.g. 'cust:{name}'",
                        "type": "string",
                    },
                    "deliver_to": {
                        "properties": {
                            "kind": {"enum": ["files", "csv", "json", "dotenv"], "type": "string"},
                            "path": {
                                "description": "Absolute or ~/; for files a folder",
                                "type": "string",
                            },
                            "variable": {
                                "default": "VENICE_KEY_{NAME}",
                                "description": "For dotenv",
                                "type": "string",
                            },
                        },
                        "required": ["kind", "path"],
                        "type": "object",
                    },
                },
                "required": ["deliver_to"],
            },
        }
    )


def test_what_a_model_sees_of_venice_update_api_keys(tools: dict[str, Tool]) -> None:
    assert seen(tools["venice_update_api_keys"]) == snapshot(
        {
            "title": "Change several API keys",
            "annotations": {
                "title": "Change several API keys",
                "readOnlyHint": False,
                "destructiveHint": True,
                "idempotentHint": True,
                "openWorldHint": True,
            },
            "description": "Make the same change to several keys after a person approved the before and after of each. Use it for a cap on every key that has none. Keys that are so already are left alone; call again to go on.",
            "input": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "consumption_limit": {
                        "properties": {
                            "usd": {"type": "number"},
                            "diem": {"type": "number"},
                        },
                        "type": "object",
                        "description": "New caps per limit_period, e.g. {'usd': 5}; 0 blocks, one left out stays",
                    },
                    "limit_period": {
                        "description": "EPOCH is a UTC day",
                        "enum": ["EPOCH", "MONTH", "LIFETIME"],
                        "type": "string",
                    },
                    "model_privacy": {
                        "enum": ["ALL", "PRIVATE_TEXT", "PRIVATE_ONLY"],
                        "type": "string",
                    },
                    "expires_in_days": {"type": "number"},
                    "expires_at": {
                        "description": "Or ISO time, e.g. 2027-01-31",
                        "type": "string",
                    },
                    "ip_allowlist": {
                        "description": "E.g. 203.0.113.0/24; others are locked out",
                        "items": {"type": "string"},
                        "type": "array",
                    },
                    "clear": {
                        "description": "Remove these; anything left out stays as it is",
                        "items": {"enum": ["usd_cap", "diem_cap", "expires_at", "ip_allowlist"], "type": "string"},
                        "type": "array",
                    },
                    "key_ids": {
                        "description": "From venice_list_api_keys; at most 100",
                        "examples": [["e28e82dc-9df2-4b47-b726-d0a222ef2ab5"]],
                        "items": {"type": "string"},
                        "type": "array",
                    },
                },
                "required": ["key_ids"],
            },
        }
    )


def test_what_a_model_sees_of_venice_revoke_api_keys(tools: dict[str, Tool]) -> None:
    assert seen(tools["venice_revoke_api_keys"]) == snapshot(
        {
            "title": "Revoke several API keys",
            "annotations": {
                "title": "Revoke several API keys",
                "readOnlyHint": False,
                "destructiveHint": True,
                "idempotentHint": True,
                "openWorldHint": True,
            },
            "description": "Revoke several keys for good after a person saw the list with each one's last use and approved it. Use it to clean up after venice_audit_api_keys. What changed meanwhile is left alone; call again to go on.",
            "input": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "key_ids": {
                        "description": "From venice_list_api_keys; at most 100",
                        "examples": [["e28e82dc-9df2-4b47-b726-d0a222ef2ab5"]],
                        "items": {"type": "string"},
                        "type": "array",
                    }
                },
                "required": ["key_ids"],
            },
        }
    )


def test_what_a_model_sees_of_venice_get_rate_limits(tools: dict[str, Tool]) -> None:
    assert seen(tools["venice_get_rate_limits"]) == snapshot(
        {
            "title": "Show rate limits",
            "annotations": {
                "title": "Show rate limits",
                "readOnlyHint": True,
                "destructiveHint": False,
                "idempotentHint": True,
                "openWorldHint": True,
            },
            "description": "Show the rate limits per model (RPM, RPD, TPM), tier, balances and expiry of the configured INFERENCE or ADMIN key. Venice tells this only for the calling key, not for others.",
            "input": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "api_key_type": {
                        "description": "Whose limits; default: the INFERENCE key if configured",
                        "enum": ["INFERENCE", "ADMIN"],
                        "type": "string",
                    },
                    "model": {"description": "Part of a model id", "type": "string"},
                },
            },
        }
    )


def test_what_a_model_sees_of_venice_get_rate_limit_log(tools: dict[str, Tool]) -> None:
    assert seen(tools["venice_get_rate_limit_log"]) == snapshot(
        {
            "title": "Show rate limit hits",
            "annotations": {
                "title": "Show rate limit hits",
                "readOnlyHint": True,
                "destructiveHint": False,
                "idempotentHint": True,
                "openWorldHint": True,
            },
            "description": "Show the account's latest rate limit hits (at most 50, a sample): when, which limit, model and key. Use it when calls fail with 429.",
            "input": {
                "type": "object",
                "additionalProperties": False,
                "properties": {"limit": {"default": 10, "maximum": 50, "minimum": 1, "type": "integer"}},
            },
        }
    )


def test_what_a_model_sees_of_venice_get_web3_token(tools: dict[str, Tool]) -> None:
    assert seen(tools["venice_get_web3_token"]) == snapshot(
        {
            "title": "Get a wallet token",
            "annotations": {
                "title": "Get a wallet token",
                "readOnlyHint": True,
                "destructiveHint": False,
                "idempotentHint": False,
                "openWorldHint": True,
            },
            "description": "Get a token to sign with a wallet kept elsewhere, good for 15 minutes. Sign its text with personal_sign, then pass it with address and signature to venice_create_web3_api_key. Not needed with a configured wallet.",
            "input": {"type": "object", "additionalProperties": False, "properties": {}},
        }
    )


def test_what_a_model_sees_of_venice_create_web3_api_key(tools: dict[str, Tool]) -> None:
    assert seen(tools["venice_create_web3_api_key"]) == snapshot(
        {
            "title": "Mint a key with a wallet",
            "annotations": {
                "title": "Mint a key with a wallet",
                "readOnlyHint": False,
                "destructiveHint": False,
                "idempotentHint": False,
                "openWorldHint": True,
            },
            "description": "Mint a key for a wallet with staked VVV after a person approved it. The configured wallet signs; without one give address, signature and token of venice_get_web3_token. Prefer a cap and deliver_to.",
            "input": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "description": {
                        "default": "Web3 API Key",
                        "description": "Max 64 characters",
                        "type": "string",
                    },
                    "api_key_type": {"default": "INFERENCE", "enum": ["INFERENCE", "ADMIN"], "type": "string"},
                    "consumption_limit": {
                        "properties": {
                            "usd": {"type": "number"},
                            "diem": {"type": "number"},
                        },
                        "type": "object",
                        "description": "Caps; 0 blocks; default: no cap",
                    },
                    "limit_period": {
                        "description": "EPOCH is a UTC day",
                        "enum": ["EPOCH", "MONTH", "LIFETIME"],
                        "type": "string",
                    },
                    "model_privacy": {
                        "enum": ["ALL", "PRIVATE_TEXT", "PRIVATE_ONLY"],
                        "type": "string",
                    },
                    "expires_in_days": {"type": "number"},
                    "expires_at": {
                        "description": "Or ISO time, e.g. 2027-01-31",
                        "type": "string",
                    },
                    "ip_allowlist": {
                        "description": "E.g. 203.0.113.0/24; others are locked out",
                        "items": {"type": "string"},
                        "type": "array",
                    },
                    "deliver_to": {
                        "properties": {
                            "kind": {
                                "enum": ["file", "dotenv", "keyring", "command", "display"],
                                "default": "file",
                                "type": "string",
                            },
                            "path": {
                                "description": "Absolute or ~/; a file is made new",
                                "type": "string",
                            },
                            "variable": {"type": "string"},
                            "name": {
                                "description": "For command",
                                "type": "string",
                            },
                        },
                        "type": "object",
                        "description": "E.g. {'kind':'dotenv','path':'~/.env','variable':'VENICE_API_KEY'}; else the secret is shown here",
                    },
                    "address": {"type": "string"},
                    "signature": {"type": "string"},
                    "token": {"type": "string"},
                },
            },
        }
    )


def test_what_a_model_sees_of_venice_get_billing_balance(tools: dict[str, Tool]) -> None:
    assert seen(tools["venice_get_billing_balance"]) == snapshot(
        {
            "title": "Show the balance",
            "annotations": {
                "title": "Show the balance",
                "readOnlyHint": True,
                "destructiveHint": False,
                "idempotentHint": True,
                "openWorldHint": True,
            },
            "description": "Show the account's USD and DIEM balance, today's DIEM allocation and whether it can pay for calls now.",
            "input": {"type": "object", "additionalProperties": False, "properties": {}},
        }
    )


def test_what_a_model_sees_of_venice_get_billing_usage(tools: dict[str, Tool]) -> None:
    assert seen(tools["venice_get_billing_usage"]) == snapshot(
        {
            "title": "Show the usage ledger",
            "annotations": {
                "title": "Show the usage ledger",
                "readOnlyHint": True,
                "destructiveHint": False,
                "idempotentHint": True,
                "openWorldHint": True,
            },
            "description": "Page through the account's usage ledger, oldest first: what was charged, when, in which currency. For recent charges give start. Entries do not name a key; for spend per key use venice_get_usage_analytics.",
            "input": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "start": {"description": "Date or ISO time, e.g. 2027-01-31; inclusive", "type": "string"},
                    "end": {"description": "Exclusive, e.g. 2027-02-01", "type": "string"},
                    "currency": {"enum": ["USD", "DIEM", "BUNDLED_CREDITS"], "type": "string"},
                    "page_size": {"default": 50, "maximum": 200, "minimum": 10, "type": "integer"},
                    "cursor": {
                        "description": "next_cursor of the page before; alone",
                        "type": "string",
                    },
                },
            },
        }
    )


def test_what_a_model_sees_of_venice_get_usage_analytics(tools: dict[str, Tool]) -> None:
    assert seen(tools["venice_get_usage_analytics"]) == snapshot(
        {
            "title": "Sum up usage",
            "annotations": {
                "title": "Sum up usage",
                "readOnlyHint": True,
                "destructiveHint": False,
                "idempotentHint": True,
                "openWorldHint": True,
            },
            "description": "Sum up spend by day, model and key over the last days (default 7, at most 90) or between two dates.",
            "input": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "lookback_days": {"maximum": 90, "minimum": 1, "type": "integer"},
                    "start_date": {"description": "E.g. 2027-01-31", "type": "string"},
                    "end_date": {"description": "E.g. 2027-02-28", "type": "string"},
                },
            },
        }
    )


def test_what_a_model_sees_of_venice_diagnose(tools: dict[str, Tool]) -> None:
    assert seen(tools["venice_diagnose"]) == snapshot(
        {
            "title": "Diagnose limits and refusals",
            "annotations": {
                "title": "Diagnose limits and refusals",
                "readOnlyHint": True,
                "destructiveHint": False,
                "idempotentHint": True,
                "openWorldHint": True,
            },
            "description": "Answer why calls fail with 401, 402, 403, 429 or 503 or are slow to be let in: ranked causes with evidence, when each ends, what to do, and a pace that fits. Pass the whole error when there is one. Changes nothing.",
            "input": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "model": {"description": "Model id of the failing calls", "type": "string"},
                    "error": {
                        "description": "The error as it came: status, headers, body, e.g. curl -i output",
                        "type": "string",
                    },
                    "api_key_type": {
                        "description": "The key this server holds; default INFERENCE",
                        "enum": ["INFERENCE", "ADMIN"],
                        "type": "string",
                    },
                    "key_id": {
                        "description": "Or any other key of the account",
                        "examples": ["e28e82dc-9df2-4b47-b726-d0a222ef2ab5"],
                        "type": "string",
                    },
                    "tokens_per_request": {
                        "description": "For the pace; default: from usage",
                        "type": "number",
                    },
                    "latency_s": {"description": "Likewise", "type": "number"},
                    "chart": {"default": False, "description": "Add a PNG of the refusals", "type": "boolean"},
                },
            },
        }
    )


def test_what_a_model_sees_of_venice_forecast_spend(tools: dict[str, Tool]) -> None:
    assert seen(tools["venice_forecast_spend"]) == snapshot(
        {
            "title": "Forecast spending",
            "annotations": {
                "title": "Forecast spending",
                "readOnlyHint": True,
                "destructiveHint": False,
                "idempotentHint": True,
                "openWorldHint": True,
            },
            "description": 'Forecast spending: burn rate in USD and DIEM, when the balance and each key\'s cap will be used up, and which keys and models cost most. Compares with the period before. Use it for "how long will it last" and "who spends it"; for why calls fail now use venice_diagnose. Changes nothing.',
            "input": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "lookback_days": {
                        "default": 7,
                        "description": "UTC days, today included",
                        "maximum": 45,
                        "minimum": 1,
                        "type": "integer",
                    },
                    "threshold_percent": {
                        "default": 80,
                        "description": "Warn of caps and DIEM used so far",
                        "type": "number",
                    },
                    "key_id": {
                        "description": "From venice_list_api_keys",
                        "examples": ["e28e82dc-9df2-4b47-b726-d0a222ef2ab5"],
                        "type": "string",
                    },
                    "chart": {"default": False, "description": "Add a PNG of the days", "type": "boolean"},
                },
            },
        }
    )


def test_what_a_model_sees_of_venice_scan_for_leaked_keys(tools: dict[str, Tool]) -> None:
    assert seen(tools["venice_scan_for_leaked_keys"]) == snapshot(
        {
            "title": "Scan for leaked keys",
            "annotations": {
                "title": "Scan for leaked keys",
                "readOnlyHint": True,
                "destructiveHint": False,
                "idempotentHint": True,
                "openWorldHint": True,
            },
            "description": "Find Venice keys and wallet keys left in files and git history on this machine, and which of them are live. Use it when a key may have leaked or before publishing code. Nothing found is shown, sent or stored but path, line, kind and last six; nothing is changed. Live ones: rotate or revoke, unless told as kept. respect_gitignore leaves out what is not published.",
            "input": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "folders": {
                        "description": "Absolute or ~/ paths",
                        "items": {"type": "string"},
                        "type": "array",
                    },
                    "git_history": {
                        "default": False,
                        "description": "Also all that their git repositories ever held",
                        "type": "boolean",
                    },
                    "respect_gitignore": {
                        "default": False,
                        "description": "Leave out what git ignores, such as .env",
                        "type": "boolean",
                    },
                    "max_seconds": {"default": 33, "maximum": 33, "minimum": 1, "type": "integer"},
                    "limit": {"default": 50, "maximum": 200, "minimum": 1, "type": "integer"},
                    "page": {"default": 1, "maximum": 1000, "minimum": 1, "type": "integer"},
                },
                "required": ["folders"],
            },
        }
    )


def test_every_tool_has_its_snapshot(tools: dict[str, Tool]) -> None:
    tested = {name.removeprefix("test_what_a_model_sees_of_") for name in globals() if "what_a_model_sees_of_" in name}
    assert tested == set(tools) == {spec.name for spec in TOOLS}


def test_both_eras_list_the_same_tools(tmp_path: Path) -> None:
    first, second = ([tool.model_dump() for tool in listed(tmp_path / era, era)] for era in ERAS)
    assert first == second


def test_input_schemas_are_valid_and_in_one_piece(tools: dict[str, Tool]) -> None:
    for tool in tools.values():
        jsonschema.Draft202012Validator.check_schema(tool.input_schema)
        assert tool.input_schema["type"] == "object"
        assert tool.input_schema["additionalProperties"] is False
        assert "$ref" not in json.dumps(tool.input_schema)


def test_real_results_fit_their_output_schemas_and_their_text_is_no_json(
    tools: dict[str, Tool], tmp_path: Path
) -> None:
    bench = house(tmp_path)
    called: set[str] = set()
    for name, arguments in walk(bench):
        schema = tools[name].output_schema
        assert schema is not None, name
        jsonschema.Draft202012Validator.check_schema(schema)
        result = bench.call(name, arguments)
        data, text = data_of(result), text_of(result)
        cast("Any", jsonschema).validate(data, schema, cls=jsonschema.Draft202012Validator)
        assert text.strip()
        assert text.lstrip()[0] not in "{["
        assert not any(row in text for row in (json.dumps(data), json.dumps(data, indent=2))), name
        called.add(name)
    assert called == set(tools)


def test_fifty_keys_cost_a_model_little_and_five_hundred_come_in_pages(tmp_path: Path) -> None:
    bench = house(tmp_path, scenario="large")
    result = bench.call("venice_list_api_keys", {"limit": 50})
    data = data_of(result)
    assert len(text_of(result)) / 4 <= 2_500
    assert len(json.dumps(data, ensure_ascii=False, separators=(",", ":"))) / 4 <= 2_500
    assert data["total"] == 500
    found: set[str] = set()
    page: int | None = 1
    while page is not None:
        data = data_of(bench.call("venice_list_api_keys", {"limit": 100, "page": page}))
        found |= {row[0] for row in data["rows"]}
        page = data.get("next_page")
    assert len(found) == 500
