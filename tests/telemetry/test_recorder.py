"""Before anything leaves: with `onError: deny` no line, no call."""

import asyncio
import itertools

import orjson
import pytest

from sidecar.config import documents as doc
from sidecar.errors import RecordsDown, SinkDown
from sidecar.telemetry import open_recorder, recorder
from sidecar.telemetry.recorder import Recorder
from sidecar.telemetry.seal import PRIVATE, PUBLIC, Seal
from sidecar.telemetry.verify import verify


class ListSink:
    """Keeps lines; `broken` makes it refuse them."""

    def __init__(self, name="list"):
        self.name = name
        self.lines = []
        self.broken = False
        self.closed = False
        self.signed = asyncio.Event()

    def write(self, line):
        if self.broken:
            raise SinkDown(f"{self.name}: disk full")
        self.lines.append(line)
        if b'"checkpoint"' in line:
            self.signed.set()

    def sync(self):
        pass

    def close(self):
        self.closed = True

    def ids(self):
        return [value["id"] for value in map(orjson.loads, filter(bytes.strip, self.lines)) if value["type"] == "decision"]


def build(*sinks, on_error="deny", seal=None):
    numbers = itertools.count()
    return Recorder(sinks, on_error, lambda: f"c{next(numbers)}", seal)


def forward(made, decision, sent):
    """A call as the way has it: recorded, then sent."""
    made.write(decision)
    sent.append(decision.id)


def test_with_deny_nothing_is_forwarded_while_a_sink_is_down_and_calls_go_on_when_it_is_well(decision):
    sink, sent = ListSink(), []
    made = build(sink)
    forward(made, decision("d_1"), sent)
    sink.broken = True
    with pytest.raises(RecordsDown):
        forward(made, decision("d_2"), sent)
    assert (made.down, made.lost) == (("list: disk full",), 1)
    sink.broken = False
    forward(made, decision("d_3"), sent)
    assert (sent, sink.ids(), made.down) == (["d_1", "d_3"], ["d_1", "d_3"], ())


def test_with_deny_one_of_two_sinks_down_is_enough(decision):
    good, bad = ListSink("good"), ListSink("bad")
    bad.broken = True
    made = build(bad, good)
    with pytest.raises(RecordsDown):
        made.write(decision("d_1"))
    assert good.ids() == ["d_1"]  # whoever can still keep it does


def test_with_allow_losses_are_counted_and_calls_go_on(decision):
    sink = ListSink()
    sink.broken = True
    made = build(sink, on_error="allow")
    made.write(decision("d_1"))
    made.write(decision("d_2"))
    assert (made.lost, made.down) == (2, ("list: disk full",))


def test_the_error_tells_no_path_to_the_caller(decision):
    sink = ListSink("/secret/place")
    sink.broken = True
    with pytest.raises(RecordsDown) as caught:
        build(sink).write(decision())
    assert (caught.value.status, caught.value.code, "secret" in caught.value.message) == (503, "records_unavailable", False)


async def test_chains_stay_whole_through_an_outage_of_one_sink(decision, tmp_path):
    good, bad = ListSink(), ListSink()
    made = build(good, bad, on_error="allow", seal=Seal(tmp_path))
    for number in range(9):
        bad.broken = number in {3, 4}
        made.write(decision(f"d_{number}"))
        if number == 5:
            await made.checkpoint()
    made.close()
    for name, sink, count in (("good", good, 9), ("bad", bad, 7)):
        (tmp_path / name).write_bytes(b"".join(sink.lines))
        report = verify([tmp_path / name], (tmp_path / PUBLIC).read_bytes())
        assert (report.problems, [strand.state for strand in report.chains.values()], len(sink.ids())) == ((), ["closed"], count)
        assert sink.closed


async def test_checkpoints_come_by_themselves_when_enough_was_written(decision, tmp_path, monkeypatch):
    monkeypatch.setattr(recorder, "EVERY", 3)
    sink = ListSink()
    made = build(sink, seal=Seal(tmp_path))
    task = asyncio.ensure_future(made.keep(interval=3600.0))
    for number in range(3):
        made.write(decision(f"d_{number}"))
    async with asyncio.timeout(10):
        await sink.signed.wait()
    task.cancel()
    assert orjson.loads(sink.lines[3])["type"] == "checkpoint"


async def test_an_idle_recorder_signs_nothing_twice(decision, tmp_path):
    sink = ListSink()
    made = build(sink, seal=Seal(tmp_path))
    await made.checkpoint()
    made.write(decision())
    for _ in range(3):
        await made.checkpoint()
    assert [orjson.loads(line)["type"] for line in sink.lines] == ["decision", "checkpoint"]


async def test_no_key_means_no_checkpoint_said_aloud_and_records_go_on(decision, tmp_path):
    (tmp_path / PRIVATE).write_text("no key")
    sink = ListSink()
    made = build(sink, seal=Seal(tmp_path))
    made.write(decision("d_1"))
    await made.checkpoint()
    assert "cannot be used" in made.unsealed
    made.write(decision("d_2"))
    assert sink.ids() == ["d_1", "d_2"]


def test_a_sink_that_is_well_again_is_found_without_a_call(decision):
    sink = ListSink()
    made = build(sink)
    sink.broken = True
    with pytest.raises(RecordsDown):
        made.write(decision())
    made.probe()
    assert made.down
    sink.broken = False
    made.probe()
    assert (made.down, sink.lines) == ((), [b"\n"])


def test_the_last_lines_are_kept_for_the_admin_port(decision):
    made = build(ListSink())
    for number in range(recorder.RECENT + 5):
        made.write(decision(f"d_{number}"))
    recent = made.recent()
    assert (len(recent), orjson.loads(recent[0])["id"]) == (recorder.RECENT, f"d_{recorder.RECENT + 4}")


def test_settings_make_file_and_standard_output(tmp_path, decision, capfd):
    made = open_recorder(doc.Records(sinks=(doc.Sink(file="decisions.jsonl"), doc.Sink(stdout=True))), tmp_path, mode="audit")
    made.write(decision("d_1"), snapshot="ab", request_id="r")
    made.close()
    lines = (tmp_path / "decisions.jsonl").read_bytes().splitlines()
    assert [orjson.loads(line)["type"] for line in lines] == ["decision", "checkpoint"]
    assert orjson.loads(lines[0])["mode"] == "audit"
    assert orjson.loads(capfd.readouterr().out.splitlines()[0])["id"] == "d_1"
    assert verify([tmp_path / "decisions.jsonl"], (tmp_path / PUBLIC).read_bytes()).ok
