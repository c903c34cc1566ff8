"""Brings package files from the registries and reads what is inside, without installing or running anything of it."""
