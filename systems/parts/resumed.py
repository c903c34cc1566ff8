"""Work on many items of which a killed run does none twice: each result is a file in a folder that outlives the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from systems.parts.run import Run, Strict
from systems.parts.whole import whole

P_co = TypeVar("P_co", bound=Strict, covariant=True)
T = TypeVar("T")


class Resumable(Run[P_co], Protocol[P_co]):
    """A run with a folder `work`, which another one of the same parameters, inputs and code finds as it was left."""

    @property
    def work(self) -> Path:
        """The folder; gone once the stage has ended well."""


def map_resumed(
    run: Resumable[Strict],
    function: Callable[[Mapping[str, Path], T], bytes],
    items: Mapping[str, T],
    label: str,
    reads: Sequence[str] = (),
) -> list[Path]:
    """Files that hold the results of `function(inputs, item)`, in the order of the items, which are named."""
    run.work.mkdir(parents=True, exist_ok=True)
    paths = [run.work / name for name in items]
    missing = [path for path in paths if not path.is_file()]
    results = run.map(function, [items[path.name] for path in missing], label, len(missing), reads)
    for path, content in zip(missing, results, strict=True):
        with whole(path) as (growing,):
            growing.write_bytes(content)
    return paths
