"""The tour of `make demo`: an MCP client, a person, and a real venice-mcp process on its built-in sandbox."""
