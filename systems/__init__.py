"""The science: one module a system, in a folder a track; `parts` holds what two or more systems share."""
