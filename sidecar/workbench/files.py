"""Directories to names and bytes: the I/O that `config` has none of. Used by every command and by live reload.

A layer is one directory, not what is below it: its `*.yaml` and `*.yml`, sorted, hidden ones left out. A Kubernetes mount
is such a directory (its files are links into the hidden `..data`, which stays inside). A link that leads out of the
directory is an error and not a file less: nobody would miss the rules in it until it is too late.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.config.diagnostics import Diagnostic, Position
from sidecar.config.load import LayerFiles
from sidecar.config.source import MAX_BYTES
from sidecar.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SUFFIXES = (".yaml", ".yml")
Fingerprint = tuple[tuple[str, int, int, int], ...]
"""(path, modified in ns, size, inode) per file."""


def read_layers(directories: Sequence[str]) -> tuple[LayerFiles, ...]:
    """Every layer in the order given, named as given. Raises ConfigError with a diagnostic per directory or file that cannot be read."""
    layers: list[LayerFiles] = []
    problems: list[Diagnostic] = []
    for directory in directories:
        name = os.path.normpath(directory)
        if any(layer.name == name for layer in layers):
            problems.append(_problem(name, "this directory is given twice", "each layer is another directory"))
            continue
        layers.append(LayerFiles(name, tuple(_files(name, problems))))
    if problems:
        raise ConfigError("the configuration cannot be read", tuple(problems))
    return tuple(layers)


def read_file(path: Path) -> bytes | None:
    """One file; None where it is a link out of its directory. Raises OSError."""
    try:
        return _read(path, path.parent.resolve(strict=True))
    except _Outside:
        return None


def fingerprint(directories: Sequence[str]) -> Fingerprint:
    """Changes when a file comes, goes or is written. Costs one `stat` per file and reads none."""
    return tuple(entry for directory in directories for entry in _stats(os.path.normpath(directory)))


def _stats(directory: str) -> Iterator[tuple[str, int, int, int]]:
    try:
        names = _names(Path(directory))
    except OSError:
        yield (directory, 0, 0, 0)
        return
    for name in names:
        path = f"{directory}/{name}"
        try:
            stat = os.stat(path)  # noqa: PTH116  (a third of the cost, and this is polled)
        except OSError:
            yield (path, 0, 0, 0)
        else:
            yield (path, stat.st_mtime_ns, stat.st_size, stat.st_ino)


def _files(directory: str, problems: list[Diagnostic]) -> Iterator[tuple[str, bytes]]:
    root = Path(directory)
    try:
        names, real = _names(root), root.resolve(strict=True)
    except OSError as error:
        hint = "name the directory that the file is in" if root.is_file() else ""
        problems.append(_problem(directory, _words(error), hint))
        return
    for name in names:
        try:
            yield name, _read(root / name, real)
        except OSError as error:
            problems.append(_problem(f"{directory}/{name}", _words(error)))
        except _Outside:
            problems.append(_problem(f"{directory}/{name}", "this link leads out of the directory", "put the file itself here"))


def _names(root: Path) -> list[str]:
    return sorted(entry for entry in os.listdir(root) if entry.endswith(SUFFIXES) and not entry.startswith("."))  # noqa: PTH208  (names alone)


class _Outside(Exception):
    """A link that leads out of its directory."""


def _read(path: Path, root: Path) -> bytes:
    real = path.resolve(strict=True)
    if not real.is_relative_to(root):
        raise _Outside
    with real.open("rb") as file:
        return file.read(MAX_BYTES + 1)  # one more than allowed: `source` tells that it is too large


def _words(error: OSError) -> str:
    return (error.strerror or "cannot be read").lower()


def _problem(path: str, message: str, hint: str = "") -> Diagnostic:
    return Diagnostic("error", "unreadable", message, Position(path), hint)
