"""Reads pickles of strangers without running anything: only dict, list, str, numbers and numeric numpy arrays come out.

A pickle names functions to call. Here every name leads to a stand-in of this module, which keeps bytes and shape and
makes the array itself; any other name is refused, and so is a file that grows beyond a limit.
"""

from __future__ import annotations

import io
import math
import pickle
import re
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from systems.parts.errors import UserError

MOST_BYTES = 1 << 30
DEEPEST = 16
NUMERIC = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248])")
NUMBERS = bool | int | float | None
ALLOWED = "only dict, list, str, numbers and numpy arrays of numbers are allowed"


class RefusedError(UserError):
    """A pickle that wants more than it may; the text says what, without the file's name."""


class StandIn:
    """What a name in a pickle leads to: it can be called, and nothing of it can be changed."""

    __slots__ = ("_call",)
    _call: Callable[..., Any]

    def __init__(self, call: Callable[..., Any]) -> None:
        object.__setattr__(self, "_call", call)

    def __call__(self, *given: Any) -> Any:
        """Call what it stands for."""
        return self._call(*given)

    def __setattr__(self, name: str, value: object) -> None:
        raise RefusedError(f"sets {name} of a function; {ALLOWED}")

    def __setstate__(self, state: object) -> None:
        raise RefusedError(f"sets the state of a function; {ALLOWED}")


class Kind:
    """A numeric dtype: its name comes first, its byte order with the state."""

    __slots__ = ("dtype",)

    def __init__(self, name: object, *_: object) -> None:
        if not isinstance(name, str) or not NUMERIC.fullmatch(name):
            raise RefusedError(f"dtype {name!r}; {ALLOWED}")
        self.dtype = np.dtype(name)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1]
        if order not in {"<", ">", "|", "="}:
            raise RefusedError(f"byte order {order!r}; {ALLOWED}")
        self.dtype = self.dtype.newbyteorder(order)


class Array:
    """An array whose state is still to come."""

    __slots__ = ("value",)

    def __init__(self, *_: object) -> None:
        self.value: np.ndarray | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, fortran, content = state
        self.value = array_of(content, kind, shape, "F" if fortran else "C")


def array_of(content: Any, kind: Any, shape: Any, order: Any = "C") -> np.ndarray:
    """An array of bytes that have exactly the length its shape asks for."""
    if not isinstance(kind, Kind) or not isinstance(content, bytes | bytearray | pickle.PickleBuffer):
        raise RefusedError(f"array of {type(content).__name__}; {ALLOWED}")
    if not isinstance(shape, tuple) or not all(type(length) is int and length >= 0 for length in shape):
        raise RefusedError(f"array of shape {shape!r}; whole numbers of at least 0 are wanted")
    raw = bytes(content)
    if len(raw) != math.prod(shape) * kind.dtype.itemsize:
        raise RefusedError(f"array of shape {shape} with {len(raw)} bytes of {kind.dtype}")
    return np.frombuffer(raw, kind.dtype).reshape(shape, order="F" if order == "F" else "C").copy()


def scalar_of(kind: Any, content: Any) -> Any:
    """A numpy number as a Python one."""
    return array_of(content, kind, ()).item()


def bytes_of(text: Any = "", how: Any = "latin1") -> bytes:
    """The bytes of an array, or none, as the first protocols write them."""
    if not isinstance(text, str) or how != "latin1":
        raise RefusedError(f"encodes by {how!r}; {ALLOWED}")
    return text.encode("latin1")


NAMES: Mapping[tuple[str, str], StandIn] = {
    (module.format(core), name): stand_in
    for core in ("core", "_core")
    for module, name, stand_in in (
        ("numpy", "ndarray", StandIn(Array)),
        ("numpy", "dtype", StandIn(Kind)),
        ("_codecs", "encode", StandIn(bytes_of)),
        ("__builtin__", "bytes", StandIn(bytes_of)),
        ("numpy.{}.multiarray", "_reconstruct", StandIn(Array)),
        ("numpy.{}.multiarray", "scalar", StandIn(scalar_of)),
        ("numpy.{}.numeric", "_frombuffer", StandIn(array_of)),
    )
}


class Unpickler(pickle.Unpickler):
    """A reader to which every name but those of `NAMES` is unknown."""

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a name."""
        if (module, name) not in NAMES:
            raise RefusedError(f"wants to build {module}.{name}; {ALLOWED}")
        return NAMES[module, name]

    def persistent_load(self, pid: Any) -> Any:
        """Nothing is stored elsewhere."""
        raise RefusedError(f"names an object stored elsewhere ({pid!r}); {ALLOWED}")


def loads(content: bytes) -> Any:
    """The value of a zlib-compressed pickle; raises `RefusedError`."""
    try:
        value = Unpickler(io.BytesIO(_inflate(content))).load()
    except RefusedError:
        raise
    except Exception as error:
        raise RefusedError(f"not a whole pickle ({type(error).__name__}: {error})") from error
    return plain(value)


def _inflate(content: bytes) -> bytes:
    inflater = zlib.decompressobj()
    out = inflater.decompress(content, MOST_BYTES)
    if inflater.unconsumed_tail:
        raise RefusedError(f"more than {MOST_BYTES >> 30} GiB when inflated")
    if not inflater.eof:
        raise RefusedError("truncated")
    return out


def plain(value: Any, deep: int = 0) -> Any:
    """The value without stand-ins; whatever else is in it is refused."""
    if deep > DEEPEST:
        raise RefusedError(f"nested more than {DEEPEST} deep")
    match value:
        case Array(value=np.ndarray() as array) | (np.ndarray() as array):
            return array
        case dict():
            return {plain_key(key): plain(inner, deep + 1) for key, inner in value.items()}
        case list() | tuple():
            return [plain(inner, deep + 1) for inner in value]
        case str() | bool() | int() | float() | None:
            return value
        case _:
            raise RefusedError(f"holds a {type(value).__name__}; {ALLOWED}")


def plain_key(key: Any) -> str:
    """A key of a dict as text."""
    if not isinstance(key, str | int):
        raise RefusedError(f"a key of type {type(key).__name__}; str is wanted")
    return str(key)
