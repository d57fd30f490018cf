import os
import resource

import pytest

from sidecar.errors import SinkDown
from sidecar.telemetry import sinks
from sidecar.telemetry.sinks import FileSink, StdoutSink


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "decisions.jsonl"


@pytest.fixture
def small_files():
    """A file may hold 1,000 bytes: the next write is cut short and the one after fails, as on a full disk."""
    import signal

    old, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, old[1]))
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, old)
    resource.setrlimit(resource.RLIMIT_FSIZE, old)
    signal.signal(signal.SIGXFSZ, handler)


def test_lines_are_appended_to_a_private_file(path):
    for sink in (FileSink(path), FileSink(path)):
        sink.write(b"one\n")
        sink.close()
    assert path.read_bytes() == b"one\none\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_file_is_rotated_before_it_grows_past_its_size_and_old_ones_go(path):
    sink = FileSink(path, max_size=10, keep=2)
    for number in range(8):
        sink.write(b"line%d\n" % number)
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == {
        "decisions.jsonl": b"line7\n",
        "decisions.jsonl.1": b"line6\n",
        "decisions.jsonl.2": b"line5\n",
    }


def test_with_none_kept_the_full_file_is_removed(path):
    sink = FileSink(path, max_size=10, keep=0)
    for number in range(3):
        sink.write(b"line%d\n" % number)
    assert [file.read_bytes() for file in path.parent.iterdir()] == [b"line2\n"]


def test_a_line_longer_than_the_size_is_still_written(path):
    sink = FileSink(path, max_size=10)
    sink.write(b"x" * 50 + b"\n")
    assert path.stat().st_size == 51


def test_a_full_disk_takes_the_sink_down_leaves_no_half_line_and_recovers(path, small_files):
    sink = FileSink(path)
    sink.write(b"a" * 599 + b"\n")
    with pytest.raises(SinkDown):
        sink.write(b"b" * 599 + b"\n")
    assert path.read_bytes() == b"a" * 599 + b"\n"
    small_files()
    sink.write(b"c\n")
    assert path.read_bytes() == b"a" * 599 + b"\nc\n"


def test_a_path_that_cannot_be_opened_takes_the_sink_down_and_recovers(path):
    path.parent.write_text("a file where a directory should be")
    sink = FileSink(path)
    with pytest.raises(SinkDown, match=r"decisions\.jsonl"):
        sink.write(b"one\n")
    path.parent.unlink()
    sink.write(b"two\n")
    assert path.read_bytes() == b"two\n"


def test_a_symbolic_link_is_not_followed(path):
    path.parent.mkdir()
    path.symlink_to(path.parent / "elsewhere")
    with pytest.raises(SinkDown):
        FileSink(path).write(b"one\n")


def test_a_file_that_was_moved_away_is_opened_anew(path):
    sink = FileSink(path)
    sink.write(b"first\n")
    path.rename(path.with_suffix(".moved"))
    for _ in range(sinks.LOOK + 2):
        sink.write(b"next\n")
    assert path.read_bytes().startswith(b"next\n")
    assert (path.read_bytes() + path.with_suffix(".moved").read_bytes()).count(b"next\n") == sinks.LOOK + 2


def test_a_half_line_of_a_process_that_died_is_ended_first(path):
    path.parent.mkdir()
    path.write_bytes(b'{"half')
    FileSink(path).write(b"whole\n")
    assert path.read_bytes() == b'{"half\nwhole\n'


def test_sync_and_close_may_come_at_any_time(path):
    sink = FileSink(path)
    sink.sync()
    sink.write(b"one\n")
    sink.sync()
    sink.close()
    sink.close()
    assert path.read_bytes() == b"one\n"


# ---------------------------------------------------------------- standard output


@pytest.fixture
def pipe():
    ends = list(os.pipe())
    yield ends
    for end in ends:
        if end is not None:
            os.close(end)


def test_lines_go_to_the_descriptor(pipe):
    StdoutSink(pipe[1]).write(b"one\n")
    assert os.read(pipe[0], 100) == b"one\n"


def test_a_reader_that_does_not_read_takes_the_sink_down_and_never_blocks_it(pipe, monkeypatch):
    monkeypatch.setattr(sinks, "PATIENCE", 1)
    sink, line = StdoutSink(pipe[1]), b"x" * 9_999 + b"\n"
    with pytest.raises(SinkDown, match="does not read"):
        for _ in range(1_000):
            sink.write(line)
    os.set_blocking(pipe[0], False)
    while len(os.read(pipe[0], 1 << 20)) == 1 << 20:
        pass
    sink.write(b"again\n")
    assert os.read(pipe[0], 1 << 20).endswith(b"\nagain\n")  # what was torn is ended first


def test_a_reader_that_is_gone_takes_the_sink_down(pipe):
    os.close(pipe[0])
    pipe[0] = None
    with pytest.raises(SinkDown):
        StdoutSink(pipe[1]).write(b"one\n")
