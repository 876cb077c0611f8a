"""Which of the variables that were given the server gets, and which the programs that install it."""

from __future__ import annotations

import re
from collections.abc import Mapping

OPTIONS = {
    "VENICE_KEYS_ADMIN_KEY": "VENICE_ADMIN_KEY",
    "VENICE_KEYS_INFERENCE_KEY": "VENICE_API_KEY",
    "VENICE_KEYS_WALLET_KEY": "VENICE_WALLET_KEY",
    "VENICE_KEYS_SANDBOX": "VENICE_MCP_SANDBOX",
}
"""The plugin's options and the server's variables. They differ because an option that is left empty would otherwise
hide a variable that is set."""
HOST = {"VENICE_MCP_HOST": "plugin"}
"""Tells the server where a key is given to it, for its errors."""
_FOREIGN = re.compile(r"PYTHON.*|VIRTUAL_ENV|__PYVENV_LAUNCHER__")
"""What has another Python, or other modules, run than meant."""
_SECRET = re.compile(r"VENICE_.*|CLAUDE_PLUGIN_OPTION_.*")
_INSTALLERS = re.compile(r"(PIP|UV)_.*")
_TO_THE_INDEX = re.compile(
    r"PIP_(INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|NO_INDEX|TRUSTED_HOST|PROXY|CERT|CLIENT_CERT|RETRIES"
    r"|(DEFAULT_)?TIMEOUT|KEYRING_PROVIDER)"
    r"|UV_(INDEX|DEFAULT_INDEX|INDEX_URL|EXTRA_INDEX_URL|INDEX_\w+_(USERNAME|PASSWORD)|FIND_LINKS|NO_INDEX"
    r"|INSECURE_HOST|HTTP_TIMEOUT|HTTP_RETRIES|NATIVE_TLS|SYSTEM_CERTS|KEYRING_PROVIDER)"
)
"""What a company needs so that packages can be had; where they come from matters little, as each has its hash. All else
that pip and uv read could change what is installed, or where."""


def for_the_server(given: Mapping[str, str]) -> dict[str, str]:
    """What was given, with the options that are set under the names the server knows."""
    found = {name: value for name, value in given.items() if not _FOREIGN.fullmatch(name) and name not in OPTIONS}
    for option, variable in OPTIONS.items():
        value = given.get(option, "").strip()
        # A host that does not fill an option in hands its placeholder over.
        if value and value.lower() != "false" and not re.fullmatch(r"\$\{[^}]*\}", value):
            found[variable] = value
    return found | HOST


def for_installing(given: Mapping[str, str]) -> dict[str, str]:
    """What was given, without keys, which installing does not need, and without what would change its result."""
    found = {
        name: value
        for name, value in given.items()
        if not (_FOREIGN.fullmatch(name) or _SECRET.fullmatch(name))
        and (_TO_THE_INDEX.fullmatch(name) or not _INSTALLERS.fullmatch(name))
    }
    # A person's configuration of pip may say otherwise.
    return found | {"PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0"}
