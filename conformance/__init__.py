"""The official MCP conformance scenarios, run against this server over HTTP: `make conformance`."""
