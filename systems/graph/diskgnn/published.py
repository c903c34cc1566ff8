"""What the paper of card 39 claims, and the checks the card asks for."""

CARD = "39"
NAME = "DiskGNN"
SOURCE = "github Liu-rj/DiskGNN, offgs_plot"

PUBLISHED: list[dict[str, str | float]] = [
    {"what": "papers100M SAGE epoch, s (MariusGNN: 205.2, Ginex: 580.3)", "value": 76.3, "source": SOURCE},
    {"what": "MAG240M SAGE epoch, s (MariusGNN: 166.5, Ginex: 449.3)", "value": 53.4, "source": SOURCE},
    {"what": "Friendster SAGE epoch, s (MariusGNN: 103.7, Ginex: 847)", "value": 96.7, "source": SOURCE},
    {"what": "IGB-HOM SAGE epoch, s (MariusGNN: 1536.6, Ginex: 7635.8)", "value": 960.7, "source": SOURCE},
    {"what": "Friendster read an epoch at 10 % in memory, GB (Ginex: 997.4)", "value": 168.8, "source": SOURCE},
    {"what": "Friendster read an epoch at 30 % in memory, GB (Ginex: 290.2)", "value": 50.5, "source": SOURCE},
    {"what": "Friendster rows on disk without a limit, as a multiple of all nodes", "value": 16.7, "source": SOURCE},
    {"what": "papers100M reading while packing in ranges, s (node by node: 646)", "value": 29.9, "source": SOURCE},
    {"what": "papers100M SAGE test accuracy, reused samples, % (new samples: 65.85)", "value": 65.91, "source": SOURCE},
]

CHECKS: list[dict[str, str]] = [
    {"id": "39.1", "kind": "test", "statement": "x from the four levels equals the raw features of the batch exactly"},
    {"id": "39.2", "kind": "test", "statement": "Memory, disk cache and packed file share a batch's positions out"},
    {"id": "39.3", "kind": "hold", "statement": "Packed files read a quarter of the raw layout's pages at most"},
    {"id": "39.4", "kind": "hold", "statement": "The limit of disk space is kept; min-hash order saves pages"},
    {"id": "39.5", "kind": "test", "statement": "No other nodes in memory give more hits"},
    {"id": "39.6", "kind": "hold", "statement": "Reused samples train as well as new ones, and better than parts"},
    {
        "id": "39.7",
        "kind": "test",
        "statement": "Packing reads the raw file once, in order, and bad limits are refused",
    },
]
