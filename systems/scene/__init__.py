"""Systems that take shapes and scenes apart."""
