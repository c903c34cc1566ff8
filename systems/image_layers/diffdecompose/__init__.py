"""04. DiffDecompose (2025): one composite taken apart into foreground RGBA and background by in-context diffusion."""
