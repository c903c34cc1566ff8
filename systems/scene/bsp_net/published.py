"""What the paper of card 12 claims, and the checks the card asks for."""

CARD = "12"
NAME = "BSP-Net"
SOURCE = "github czq142857/BSP-NET-original, README"

PUBLISHED: list[dict[str, str | float]] = [
    {"what": "Chamfer distance, ShapeNet auto-encoding", "value": 0.001432, "source": SOURCE},
    {"what": "Chamfer distance with convexes inside others removed", "value": 0.001455, "source": SOURCE},
    {"what": "light-field distance", "value": 2939.15, "source": SOURCE},
    {"what": "light-field distance with convexes inside others removed", "value": 2938.31, "source": SOURCE},
]

CHECKS: list[dict[str, str]] = [
    {"id": "12.1", "kind": "test", "statement": "Convexes are intersections of half-spaces, and convex"},
    {"id": "12.2", "kind": "test", "statement": "Hard phases leave T alone; both unions show one shape when binary"},
    {"id": "12.3", "kind": "test", "statement": "Extracted pieces are the prediction; closed, convex, oriented"},
    {"id": "12.4", "kind": "hold", "statement": "Held-out figures come back, also after the discrete phase"},
    {"id": "12.5", "kind": "hold", "statement": "Few convexes and far fewer corners than marching squares"},
    {"id": "12.6", "kind": "hold", "statement": "The overlap loss separates convexes at little cost"},
    {"id": "12.7", "kind": "hold", "statement": "The same convex is the diamond in most shapes"},
    {"id": "12.8", "kind": "test", "statement": "Bad input ends in an error that names it"},
]
