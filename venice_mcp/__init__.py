"""venice-mcp: look after Venice.ai API keys from any MCP client, safely."""

__version__ = "0.1.0"

HOMEPAGE = "https://github.com/venice-mcp/venice-mcp"
