"""Secrets are types: opened in few places, never logged, never in an exception, never in a URL."""

from venice_mcp.secrets.destinations import DISPLAY, Destination, DestinationKind
from venice_mcp.secrets.files import FileSink, PreparedFile
from venice_mcp.secrets.logs import RedactingFormatter, install_logging
from venice_mcp.secrets.masking import MAX_PASTED, mask_pasted, mask_unreadable
from venice_mcp.secrets.redaction import Redactor
from venice_mcp.secrets.shapes import KEY_SHAPE, looks_like_secret
from venice_mcp.secrets.sinks import Command, Prepared, SinkError, SinkLimits
from venice_mcp.secrets.streams import RedactingStream
from venice_mcp.secrets.types import Secret

__all__ = [
    "DISPLAY",
    "KEY_SHAPE",
    "MAX_PASTED",
    "Command",
    "Destination",
    "DestinationKind",
    "FileSink",
    "Prepared",
    "PreparedFile",
    "RedactingFormatter",
    "RedactingStream",
    "Redactor",
    "Secret",
    "SinkError",
    "SinkLimits",
    "install_logging",
    "looks_like_secret",
    "mask_pasted",
    "mask_unreadable",
]
