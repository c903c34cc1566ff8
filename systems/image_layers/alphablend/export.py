"""AlphaBlend as PNG files and JSON lines, the layout of card 04.

    python -m systems.image_layers.alphablend.export data/alphablend OUT

OUT/alphablend/<subtask>/<split>/{fg,bg,comp}/<id>.png, and OUT/alphablend/<split>.jsonl with a sample a line, in which
`fg_asset` is a list, as cells are several. It appears whole or not at all; 12,384 samples of 32 px take 10 s.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from PIL import Image
from tqdm import tqdm

from systems.image_layers.alphablend.table import PICTURES
from systems.parts.errors import UserError
from systems.parts.pictures import decode
from systems.parts.whole import whole

NAME = "alphablend"
KEYS = ("id", "subtask", "tau", "seed", "fg_phrase", "bg_phrase", "prompt", "bg_asset")


def export(data: Path, out: Path) -> int:
    """Write every sample of data set `data` below `out`/alphablend; returns how many there are."""
    shards = sorted(path for path in data.glob("*.parquet") if path.name != "assets.parquet")
    if not shards:
        raise UserError(f"data set {data}: no Parquet shard in it; run: python -m stages synthesize alphablend")
    final = out / NAME
    if final.exists():
        raise UserError(f"folder {final}: exists already; name another folder or remove it")
    with whole(final) as (growing,):
        growing.mkdir()
        return sum(export_shard(shard, growing) for shard in tqdm(shards, "export", mininterval=1.0))


def export_shard(shard: Path, folder: Path) -> int:
    """Write the pictures of a shard and append its lines; returns how many samples it has."""
    split = shard.name.split("-")[0]
    lines = [json.dumps(line, ensure_ascii=False) for line in _lines(shard, split, folder)]
    with (folder / f"{split}.jsonl").open("a") as file:
        file.writelines(f"{line}\n" for line in lines)
    return len(lines)


def _lines(shard: Path, split: str, folder: Path) -> Iterator[Mapping[str, Any]]:
    for batch in pq.ParquetFile(shard).iter_batches(batch_size=50):
        for row in batch.to_pylist():
            paths = {name: f"{row['subtask']}/{split}/{name}/{row['id']}.png" for name in PICTURES}
            for name, path in paths.items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(decode(row[name]["bytes"])).save(folder / path, compress_level=1)
            yield {
                **{key: row[key] for key in KEYS},
                "params": json.loads(row["params"]),
                "fg_asset": row["fg_assets"],
                "sha256": {name: row[f"sha256_{name}"] for name in PICTURES},
                **paths,
            }


def main(arguments: Sequence[str]) -> int:
    """The command; a wrong folder ends it in one line and exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m systems.image_layers.alphablend.export", description=__doc__)
    parser.add_argument("data", type=Path, help="data set, as data/alphablend")
    parser.add_argument("out", type=Path, help="folder in which alphablend/ is made")
    given = parser.parse_args(arguments)
    try:
        count = export(given.data, given.out)
    except UserError as error:
        print(f"delaminate: {error}", file=sys.stderr)
        return 2
    print(f"{count} samples in {given.out / NAME}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
