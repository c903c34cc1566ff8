"""Track image-layers: pictures taken apart into foreground, background, light and shadow."""
