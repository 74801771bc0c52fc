"""What a workspace offers: tables, feature client, registry, functions, operations."""
