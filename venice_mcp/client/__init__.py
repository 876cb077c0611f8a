"""Talking to Venice: `transport` sends one request safely, `api` has one method per endpoint."""

from venice_mcp.client.api import VeniceClient

__all__ = ["VeniceClient"]
