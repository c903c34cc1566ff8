"""What the paper of card 15 claims, and the checks the card asks for. The paper gives curves and no single figure."""

CARD = "15"
NAME = "Neural Collapse in Deep Linear Networks"

PUBLISHED: list[dict[str, str | float]] = []

CHECKS: list[dict[str, str]] = [
    {"id": "15.1", "kind": "hold", "statement": "Descent reaches the closed form's loss and geometry"},
    {"id": "15.2", "kind": "hold", "statement": "Balanced: an orthogonal frame without bias, a simplex with one"},
    {"id": "15.3", "kind": "hold", "statement": "Classes below the threshold vanish, and only these"},
    {"id": "15.4", "kind": "test", "statement": "The solver equals brute force, and the formula for one layer"},
    {"id": "15.5", "kind": "hold", "statement": "Trained networks collapse to the predicted frame"},
    {"id": "15.6", "kind": "test", "statement": "Bad input raises a ValueError that names the parameter"},
]
