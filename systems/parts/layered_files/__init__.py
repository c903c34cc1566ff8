"""Pictures as stacks of layers, and the files that other programs open: PSD, OpenRaster, TIFF, a folder of PNGs."""
