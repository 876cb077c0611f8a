"""The least an MCP server can be: what start-up and memory are compared with."""

from mcp.server import MCPServer

server = MCPServer("hello")


@server.tool()
def hello(name: str) -> str:
    """Greet somebody."""
    return f"Hello, {name}"


if __name__ == "__main__":
    server.run()
