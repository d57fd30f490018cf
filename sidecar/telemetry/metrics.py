"""What the health port tells Prometheus. Counting is plain arithmetic here; names and help stand in one table below.

prometheus-client's own counters take a lock and a label lookup per increment, a microsecond or more each; a call has a
dozen. So calls are counted in dictionaries, and a collector turns them into families at the scrape, which is also when
prometheus-client is imported. Labels are bounded: rules, upstreams and models are told from the documents (`known`), and
whatever else comes is `other`. No user, key or raw model name ever becomes a label.

Only the event loop counts; `render` may run in a thread.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client.core import Metric
    from prometheus_client.registry import CollectorRegistry

    from sidecar.call import Usage
    from sidecar.decision import Decision

Labels = tuple[str, ...]
OTHER = "other"
STAGE_BUCKETS = (5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 5e-3, 2.5e-2, 0.1, 1.0)
WAIT_BUCKETS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""The boundaries of OpenTelemetry's GenAI durations."""


class Family(NamedTuple):
    """One metric: its kind (counter | gauge | histogram), help and label names. Units are base units, as Prometheus asks."""

    kind: str
    help: str
    labels: Labels = ()
    buckets: tuple[float, ...] = ()


FAMILIES: Mapping[str, Family] = {
    "sidecar_decisions": Family("counter", "Decisions, by the first determining rule.", ("protocol", "operation", "effect", "rule")),
    "sidecar_would_decisions": Family("counter", "What documents in audit mode would have done.", ("effect", "rule")),
    "sidecar_refusals": Family("counter", "Calls refused, by kind.", ("kind",)),
    "sidecar_answers": Family("counter", "Answers, by HTTP status.", ("operation", "status")),
    "sidecar_streamed_bytes": Family("counter", "Bytes of streamed answers that were released."),
    "sidecar_stage_seconds": Family("histogram", "Time in each stage of those decisions that were timed: a sample.", ("stage",), STAGE_BUCKETS),
    "sidecar_overhead_seconds": Family("histogram", "Time a call spent in the sidecar before it was sent or refused.", (), STAGE_BUCKETS),
    "sidecar_first_byte_seconds": Family("histogram", "From the send to the head of the upstream's answer.", ("upstream",), WAIT_BUCKETS),
    "sidecar_stream_first_event_seconds": Family("histogram", "From the send to the first event of a streamed answer.", ("upstream",), WAIT_BUCKETS),
    "sidecar_call_seconds": Family("histogram", "From a call's first to its last byte.", ("protocol", "operation"), WAIT_BUCKETS),
    "sidecar_inflight": Family("gauge", "Calls being served."),
    "sidecar_inflight_bytes": Family("gauge", "Request bytes held."),
    "sidecar_quota_reserved": Family("counter", "Amounts reserved from quotas.", ("metric",)),
    "sidecar_quota_settled": Family("counter", "Amounts settled with true usage.", ("metric",)),
    "sidecar_quota_warnings": Family("counter", "Calls past a limit's `warnAt` share.", ("rule",)),
    "sidecar_quota_exhausted": Family("counter", "Calls refused by a limit.", ("rule", "metric")),
    "sidecar_upstream_requests": Family("counter", "Attempts at upstreams: ok, status, unreachable, timeout, auth, garbage, cut.", ("upstream", "outcome")),
    "sidecar_upstream_state": Family("gauge", "1 for the state of each upstream's breaker.", ("upstream", "state")),
    "sidecar_tokens": Family("counter", "Tokens as the provider told them, or estimated.", ("direction", "upstream", "model")),
    "sidecar_cost_usd": Family("counter", "Dollars at the documents' prices.", ("upstream", "model")),
    "sidecar_unpriced_calls": Family("counter", "Calls to models without a price: their cost is not known, not zero.", ("upstream", "model")),
    "sidecar_config_generation": Family("gauge", "Configurations swapped in since the start."),
    "sidecar_config_generation_info": Family("gauge", "The configuration in force.", ("digest",)),
    "sidecar_config_loaded_timestamp_seconds": Family("gauge", "When it was swapped in."),
    "sidecar_config_healthy": Family("gauge", "1 where the last load succeeded."),
    "sidecar_config_reload": Family("counter", "Loads, by result.", ("result",)),
    "sidecar_candidate_decisions": Family("counter", "Live decisions compared with the candidate's, by what would change.", ("change",)),
    "sidecar_candidate_dropped": Family("counter", "Live decisions that the candidate was too slow for."),
    "sidecar_candidate_healthy": Family("gauge", "1 where the candidate loads and passes its own tests."),
    "sidecar_records_lost": Family("counter", "Record lines that a sink did not take."),
    "sidecar_bugs": Family("counter", "Errors nobody foresaw; each refused its call."),
}
"""Every metric there is. Counters get `_total` at the scrape."""


class Histogram:
    """Counts by bucket. `bounds` are upper edges in seconds; the last bucket is everything above."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds

    def cumulative(self) -> list[tuple[str, float]]:
        """As Prometheus wants it: (upper edge, values at or under it)."""
        total, out = 0, []
        for edge, count in zip((*self.bounds, float("inf")), list(self.counts), strict=True):
            total += count
            out.append(("+Inf" if edge == float("inf") else repr(edge), float(total)))
        return out


class Account(Protocol):
    """What a call came to, as the doors keep it: who served it, what it used, dollars or None where no price is known."""

    @property
    def upstream(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def usage(self) -> Usage | None: ...
    @property
    def cost(self) -> float | None: ...
    @property
    def finish(self) -> tuple[str, ...]: ...


class Known(NamedTuple):
    """Names from the documents in force that may become labels."""

    rules: frozenset[str] = frozenset()
    upstreams: frozenset[str] = frozenset()
    models: frozenset[str] = frozenset()


class Metrics:
    """The numbers of one process."""

    def __init__(self) -> None:
        self._values: dict[str, dict[Labels, float]] = {name: {} for name, family in FAMILIES.items() if family.kind != "histogram"}
        self._histograms: dict[str, dict[Labels, Histogram]] = {name: {} for name, family in FAMILIES.items() if family.kind == "histogram"}
        self._probes: dict[str, Callable[[], Mapping[Labels, float]]] = {}
        self._known = Known()
        self._decisions = self._values["sidecar_decisions"]
        self._stages = self._histograms["sidecar_stage_seconds"]
        self._registry: CollectorRegistry | None = None

    def add(self, name: str, labels: Labels = (), amount: float = 1.0) -> None:
        """Count up. `name` is one of FAMILIES, `labels` in its order and already bounded. Raises KeyError for a name that is none."""
        values = self._values[name]
        values[labels] = values.get(labels, 0.0) + amount

    def put(self, name: str, value: float, labels: Labels = ()) -> None:
        """Set a gauge. Raises KeyError."""
        self._values[name][labels] = value

    def observe(self, name: str, seconds: float, labels: Labels = ()) -> None:
        """Count a value in a histogram. Raises KeyError."""
        histograms = self._histograms[name]
        held = histograms.get(labels)
        if held is None:
            held = histograms[labels] = Histogram(FAMILIES[name].buckets)
        held.observe(seconds)

    def probe(self, name: str, read: Callable[[], Mapping[Labels, float]]) -> None:
        """Take the values of gauge or counter `name` from `read` at each scrape, in place of what was counted. Raises KeyError."""
        self._values[name].clear()
        self._probes[name] = read

    # ------------------------------------------------------------ calls

    def decision(self, decision: Decision) -> None:
        """One decision: its effect and rule, its stages, its refusal, its would-be rules."""
        call, by = decision.call, decision.by
        rules = self._known.rules
        key = (call.protocol, call.operation, decision.effect, (by[0] if by[0] in rules else OTHER) if by else "none")
        self._decisions[key] = self._decisions.get(key, 0.0) + 1
        for stage, nanoseconds in decision.timings:
            self.stage(stage, nanoseconds)
        if decision.refusal is not None:
            self.refused(decision.refusal.kind)
        if decision.levels:
            self._quotas(decision)
        for reason in decision.would:
            self.add("sidecar_would_decisions", (reason.effect, self.rule(reason.rule)))

    def _quotas(self, decision: Decision) -> None:
        refusal = decision.refusal
        if refusal is not None and refusal.levels:
            self.quota_exhausted(refusal.levels[0].rule, refusal.levels[0].metric)
        for reason in decision.reasons:
            if reason.result == "warned":
                self.quota_warned(reason.rule)

    def stage(self, name: str, nanoseconds: int) -> None:
        """Time in one stage; `name` is the ladder's own."""
        held = self._stages.get((name,))
        if held is None:
            held = self._stages[name,] = Histogram(STAGE_BUCKETS)
        held.observe(nanoseconds * 1e-9)

    def overhead(self, nanoseconds: int) -> None:
        """From the call's last byte in to its first byte out."""
        self.observe("sidecar_overhead_seconds", nanoseconds * 1e-9)

    def refused(self, kind: str) -> None:
        """A no that is no decision (capacity, framing), or part of one. `kind` is `Refusal.kind`."""
        self.add("sidecar_refusals", (kind,))

    def inflight(self, calls: int, bytes: int) -> None:
        """Calls and request bytes held now."""
        self._values["sidecar_inflight"][()] = calls
        self._values["sidecar_inflight_bytes"][()] = bytes

    def finished(self, decision: Decision, *, status: int, settlement: Account | None, released: int, nanoseconds: int) -> None:
        """An answer is out: its status, its time from the first to the last byte, what it used. `released` counts streamed bytes."""
        call = decision.call
        self.add("sidecar_answers", (call.operation, str(status)))
        self.observe("sidecar_call_seconds", nanoseconds * 1e-9, (call.protocol, call.operation))
        if released:
            self.add("sidecar_streamed_bytes", (), released)
        if settlement is not None and settlement.usage is not None:
            used = settlement.usage
            self.usage(settlement.upstream, settlement.model, used.input_tokens, used.output_tokens, settlement.cost)

    # ------------------------------------------------------------ quotas

    def quota_totals(self, reserved: Mapping[str, float], settled: Mapping[str, float]) -> None:
        """Where amounts by metric are read at each scrape: a store's own sums, so that no call counts them twice."""
        self.probe("sidecar_quota_reserved", lambda: {(metric,): amount for metric, amount in list(reserved.items())})
        self.probe("sidecar_quota_settled", lambda: {(metric,): amount for metric, amount in list(settled.items())})

    def quota_warned(self, rule: str) -> None:
        """A limit is past its `warnAt`."""
        self.add("sidecar_quota_warnings", (self.rule(rule),))

    def quota_exhausted(self, rule: str, metric: str) -> None:
        """A limit refused."""
        self.add("sidecar_quota_exhausted", (self.rule(rule), metric))

    # ------------------------------------------------------------ upstreams

    def attempt(self, upstream: str, outcome: str, nanoseconds: int = 0) -> None:
        """One attempt. `outcome`: ok | status | unreachable | timeout | auth | garbage | cut. Time to the head of the answer, if one came."""
        name = self.upstream(upstream)
        self.add("sidecar_upstream_requests", (name, outcome))
        if nanoseconds:
            self.observe("sidecar_first_byte_seconds", nanoseconds * 1e-9, (name,))

    def first_event(self, upstream: str, nanoseconds: int) -> None:
        """The first event of a stream was relayed."""
        self.observe("sidecar_stream_first_event_seconds", nanoseconds * 1e-9, (self.upstream(upstream),))

    def usage(self, upstream: str, model: str, input_tokens: int, output_tokens: int, cost: float | None) -> None:
        """True usage of one call. `cost` in dollars; None where the price is not known."""
        where = (self.upstream(upstream), self.model(model))
        self.add("sidecar_tokens", ("input", *where), input_tokens)
        self.add("sidecar_tokens", ("output", *where), output_tokens)
        if cost is None:
            self.add("sidecar_unpriced_calls", where)
        else:
            self.add("sidecar_cost_usd", where, cost)

    # ------------------------------------------------------------ the process

    def known(self, rules: Iterable[str], upstreams: Iterable[str] = (), models: Iterable[str] = ()) -> None:
        """Names from the documents in force: these may be labels from now on. What was counted stays."""
        self._known = Known(frozenset(rules), frozenset(upstreams), frozenset(models))

    def generation(self, digest: str, generation: int, *, healthy: bool, since: float = 0.0) -> None:
        """A load came to its end: which configuration serves now, since when (Unix seconds), and whether this load was the one."""
        info = self._values["sidecar_config_generation_info"]
        info.clear()
        info[digest,] = 1.0
        self.put("sidecar_config_generation", generation)
        self.put("sidecar_config_loaded_timestamp_seconds", since)
        self.put("sidecar_config_healthy", float(healthy))
        self.add("sidecar_config_reload", ("success" if healthy else "failure",))

    # ------------------------------------------------------------ the candidate

    def candidate(self, kind: str) -> None:
        """One comparison; `kind` is one of `workbench.compare.KINDS`."""
        self.add("sidecar_candidate_decisions", (kind,))

    def candidate_dropped(self) -> None:
        """One that was not made."""
        self.add("sidecar_candidate_dropped")

    def candidate_healthy(self, *, healthy: bool) -> None:
        """A load of the candidate came to its end."""
        self.put("sidecar_candidate_healthy", float(healthy))

    def bug(self) -> None:
        """Something nobody foresaw."""
        self.add("sidecar_bugs")

    def upstream_states(self, health: Callable[[], Mapping[str, str]]) -> None:
        """Where breaker states are read at each scrape: a core's `health`."""
        self.probe("sidecar_upstream_state", lambda: {(self.upstream(name), state): 1.0 for name, state in health().items()})

    def lost_records(self, count: Callable[[], int]) -> None:
        """Where lost lines are read at each scrape."""
        self.probe("sidecar_records_lost", lambda: {(): float(count())})

    # ------------------------------------------------------------ bounded labels

    def rule(self, name: str) -> str:
        """A rule of the documents, or `other`."""
        return name if name in self._known.rules else OTHER

    def upstream(self, name: str) -> str:
        """An upstream of the documents, or `other`."""
        return name if name in self._known.upstreams else OTHER

    def model(self, name: str) -> str:
        """A model of the documents, or `other` (an upstream may admit a glob of names)."""
        return name if name in self._known.models else OTHER

    # ------------------------------------------------------------ scrape

    def snapshot(self, name: str) -> Mapping[Labels, float]:
        """The values of a counter or gauge now, for tests, the admin port and the terminal. Raises KeyError."""
        probe = self._probes.get(name)
        return probe() if probe is not None else dict(list(self._values[name].items()))

    def render(self) -> bytes:
        """Prometheus text format 0.0.4. The first call imports prometheus-client; may run in a thread."""
        from prometheus_client.exposition import generate_latest  # noqa: PLC0415  (see the module's docstring)
        from prometheus_client.registry import CollectorRegistry  # noqa: PLC0415

        if self._registry is None:
            self._registry = CollectorRegistry()
            self._registry.register(self)
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """The families, for a prometheus-client registry (its Collector protocol)."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily  # noqa: PLC0415

        for name, family in FAMILIES.items():
            if family.kind == "histogram":
                metric = HistogramMetricFamily(name, family.help, labels=family.labels)
                for labels, held in list(self._histograms[name].items()):
                    metric.add_metric(labels, held.cumulative(), held.sum)
                yield metric
                continue
            simple = (CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily)(name, family.help, labels=family.labels)
            for labels, value in self.snapshot(name).items():
                simple.add_metric(labels, value)
            yield simple
