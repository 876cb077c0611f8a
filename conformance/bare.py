"""An MCPServer with one of everything and nothing of ours: which failures are the SDK's?

python -m conformance --command "python conformance/bare.py"
"""

import socket
import sys

from mcp.server import MCPServer

server = MCPServer("bare", version="1")


@server.tool()
def hello(name: str) -> str:
    """Greet."""
    return f"Hello, {name}"


@server.resource("bare://greeting")
def greeting() -> str:
    """A greeting."""
    return "Hello"


@server.prompt()
def greet(name: str) -> str:
    """Ask for a greeting."""
    return f"Greet {name}"


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    sys.stderr.write(f"Listening on http://127.0.0.1:{port}/mcp\n")
    server.run("streamable-http", port=port)
