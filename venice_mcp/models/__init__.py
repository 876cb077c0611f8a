"""Every shape: what Venice sends and takes (`wire`), and what the tools answer (`results`)."""
