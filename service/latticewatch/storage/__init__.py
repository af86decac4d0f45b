"""A session on disk: its schema, who writes and who reads it, and how damage is found."""
