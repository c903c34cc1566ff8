"""Pictures on their way from a package or folder to the catalogue: chosen, decoded, shrunk, encoded, listed."""
