"""`venice-mcp install`: this server entered in the configuration of a host, and taken out again."""
