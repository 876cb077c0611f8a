"""An imitation of Venice's API for trying things out: strict, local and independent.

Nothing here is imported from the rest of venice_mcp, so that a wrong model of Venice's API over there
meets an independent one here.
"""

from venice_mcp.sandbox.app import Sandbox, create_app
from venice_mcp.sandbox.scenarios import SCENARIOS
from venice_mcp.sandbox.serving import serve
from venice_mcp.sandbox.storage import StateFileError

__all__ = ["SCENARIOS", "Sandbox", "StateFileError", "create_app", "serve"]
