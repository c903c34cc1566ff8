"""What the paper of card 08 claims, and the checks the card asks for."""

CARD = "08"
NAME = "MuLAn"
SOURCE = "arXiv 2404.02790"

PUBLISHED: list[dict[str, str | float]] = [
    {"what": "MuLAn-COCO images (from 58,000 processed)", "value": 16034, "source": SOURCE},
    {"what": "MuLAn-COCO instances", "value": 40335, "source": SOURCE},
    {"what": "MuLAn-LAION images (from 100,000 processed)", "value": 28826, "source": SOURCE},
    {"what": "MuLAn-LAION instances", "value": 60934, "source": SOURCE},
]

CHECKS: list[dict[str, str]] = [
    {"id": "8.1", "kind": "test", "statement": "With true masks and order the stack flattens to the picture"},
    {"id": "8.2", "kind": "test", "statement": "The order solver violates no edge but those that close a cycle"},
    {"id": "8.3", "kind": "hold", "statement": "Every rung of the ladder helps, and the order is right"},
    {"id": "8.4", "kind": "hold", "statement": "Hidden colours and masks are better completed than left out"},
    {"id": "8.5", "kind": "test", "statement": "Nothing visible is altered; original mask and delta never meet"},
    {"id": "8.6", "kind": "test", "statement": "Annotations come back bit for bit; nothing foreign is unpickled"},
]
