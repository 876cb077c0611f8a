"""The server's icon, for hosts that show one: a key, drawn for this project."""

from binascii import b2a_base64
from typing import Final

from mcp_types import Icon

# Clients get it when they connect; `server` keeps it out of the results in which the SDK would repeat it.
_SVG: Final = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none" stroke="#fc6" stroke-width="2">'
    b'<rect width="24" height="24" rx="5" fill="#233" stroke="none"/>'
    b'<circle cx="8" cy="12" r="3.5"/><path d="M12 12h8v3M16 12v2"/></svg>'
)
ICON: Final = Icon(
    src=f"data:image/svg+xml;base64,{b2a_base64(_SVG, newline=False).decode()}",
    mime_type="image/svg+xml",
    sizes=["any"],
)
