"""Has Claude Code ask before a tool of this plugin writes, whatever has been allow-listed (a PreToolUse hook).

This is a second guardrail, in the client; the server asks by itself as well. A call that it is handed and cannot
understand is asked about. Where nobody is there to answer, the operator turns it off with a file named `unattended`
beside the policy; the server's own approval and policy hold all the same. Neither a variable nor an option of the
plugin can: a project could set both. Reads the hook's JSON on stdin; standard library only.
"""

import json
import os
import sys

UNATTENDED = "unattended"
WRITES = {
    "venice_create_api_key": "makes a new Venice API key",
    "venice_update_api_key": "changes the settings of a Venice API key",
    "venice_revoke_api_key": "revokes a Venice API key for good; whatever uses it fails at once",
    "venice_rotate_api_key": "replaces a Venice API key by a new one; the old one ends",
    "venice_provision_api_keys": "makes many Venice API keys",
    "venice_update_api_keys": "changes the settings of several Venice API keys",
    "venice_revoke_api_keys": "revokes several Venice API keys for good; whatever uses them fails at once",
    "venice_create_web3_api_key": "mints a Venice API key with a wallet",
    "venice_recover": "goes on with, takes back or closes something that was interrupted; it can revoke keys",
    "venice_audit_api_keys": "writes the audit of all keys into a new file",
}
"""What each tool that writes does, in words of ours: arguments may hold a secret and are never repeated."""
ONLY_WITH = {
    "venice_recover": ("revoke", "acknowledge", "resume", "undo", "give_up"),
    "venice_audit_api_keys": ("report_path",),
}
"""Tools that only read unless one of these is given."""


def reason(text: str) -> "str | None":
    """Why to ask, on one line; None if the call only reads."""
    try:
        call = json.loads(text)
        tool = call["tool_name"].rpartition("__")[2]
        given = call["tool_input"]
        asks = [name for name in ONLY_WITH.get(tool, ()) if given.get(name) not in (None, "")]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "venice-keys could not read what is to be called, so it asks"
    if tool in ONLY_WITH and not asks:
        return None
    if tool in WRITES:
        return f"{tool} {WRITES[tool]}. It runs only if a person allows it"
    return "venice-keys does not know this tool, so it asks"


def unattended() -> bool:
    """Whether the operator said that nobody is there to answer."""
    # Python is started with -I, which knows no folder of ours.
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from plugin import places

    file = places.operator_file(UNATTENDED)
    return file is not None and places.is_the_operators(file)


def main() -> int:
    try:
        if unattended():
            return 0
        found = reason(sys.stdin.buffer.read().decode("utf-8", errors="replace"))
    except Exception:  # noqa: BLE001 - Claude Code goes on when a hook fails
        found = "venice-keys could not find out what is to be called, so it asks"
    if found is not None:
        decision = {
            "hookEventName": "PreToolUse",
            "permissionDecision": "ask",
            "permissionDecisionReason": found,
        }
        print(json.dumps({"hookSpecificOutput": decision}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
