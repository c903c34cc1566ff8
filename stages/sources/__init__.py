"""Where data comes from: pictures and pretrained weights. Each module here is a system of the track `sources`."""
