"""Track analysis: what theory says a trained network's layers should look like, and what they do look like."""
