"""Track language: systems that take a task apart into smaller ones."""
