"""What the paper of card 51 claims, and the checks the card asks for."""

CARD = "51"
NAME = "Decomposed Prompting (DecomP)"
PUBLISHED: list[dict[str, str | float]] = []
"""The paper's tables were not available, and no figure of them is quoted from memory."""

CHECKS: list[dict[str, str]] = [
    {"id": "51.1", "kind": "test", "statement": "500 random programs equal a direct evaluation in Python"},
    {
        "id": "51.2",
        "kind": "test",
        "statement": "Reversal is exact for 1 to 64 items, with depth and calls as predicted",
    },
    {"id": "51.3", "kind": "hold", "statement": "Programs generalise to lengths at which one generation fails"},
    {"id": "51.4", "kind": "hold", "statement": "A handler can be replaced, and no other one notices"},
    {"id": "51.5", "kind": "hold", "statement": "Spelling, then indexing beats one step on long words"},
    {"id": "51.6", "kind": "hold", "statement": "A saved trace replays to its answer without models"},
    {
        "id": "51.7",
        "kind": "test",
        "statement": "What is wrong with a step or a setting is named",
    },
]
