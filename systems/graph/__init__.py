"""Track graph: networks on graphs, and the layers that a graph's storage is taken apart into."""
