"""What is told of decisions: records (`record` → `chain` → `sinks`, by `recorder`; read back by `verify`), `metrics`, `tracing`.

Nothing here is consulted by the evaluator. It takes what was decided and knows nothing of HTTP.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from sidecar.telemetry.recorder import Recorder
from sidecar.telemetry.seal import Seal
from sidecar.telemetry.sinks import FileSink, Sink, StdoutSink

if TYPE_CHECKING:
    from pathlib import Path

    from sidecar.config import documents

__all__ = ["open_recorder"]


def open_recorder(records: documents.Records, state: Path, *, mode: str = "enforce") -> Recorder:
    """The recorder that Settings ask for. Files and the checkpoint key lie under `state` unless a path is absolute."""
    return Recorder([_sink(sink, state) for sink in records.sinks], records.on_error, lambda: secrets.token_hex(8), Seal(state), mode=mode)


def _sink(sink: documents.Sink, state: Path) -> Sink:
    return StdoutSink() if sink.stdout else FileSink(state / sink.file, max_size=sink.max_size, keep=sink.keep)
