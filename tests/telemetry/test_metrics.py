import subprocess
import sys
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sidecar.call import Usage
from sidecar.telemetry.metrics import FAMILIES, Metrics


@pytest.fixture
def metrics():
    made = Metrics()
    made.known(["eng/developer", "p/r", "trial/r"], ["openai"], ["gpt-4o"])
    return made


def samples(metrics):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def test_one_denial_is_one_more_under_its_rule(metrics, decision, refusal):
    metrics.decision(decision())
    before = samples(metrics)
    metrics.decision(decision(effect="deny", by=("p/r",), refusal=refusal))
    after = samples(metrics)
    labels = (("effect", "deny"), ("operation", "chat"), ("protocol", "llm"), ("rule", "p/r"))
    assert after["sidecar_decisions_total", *labels] == 1
    assert ("sidecar_decisions_total", *labels) not in before
    assert after["sidecar_refusals_total", ("kind", "policy")] == 1
    assert after["sidecar_decisions_total", ("effect", "allow"), *labels[1:3], ("rule", "eng/developer")] == 1


def test_labels_are_bounded_by_the_documents(metrics, decision):
    metrics.decision(decision(by=("made/up",)))
    metrics.decision(decision(by=()))
    metrics.usage("openai", "gpt-4o", 1, 2, 0.5)
    for number in range(100):
        metrics.usage("stranger", f"model-{number}", 1, 2, None)
        metrics.attempt(f"stranger-{number}", "ok", 1_000)
    got = samples(metrics)
    assert {labels[-1][1] for name, *labels in got if name == "sidecar_decisions_total"} == {"other", "none"}
    assert {dict(labels)["model"] for name, *labels in got if name == "sidecar_tokens_total"} == {"gpt-4o", "other"}
    assert got["sidecar_unpriced_calls_total", ("model", "other"), ("upstream", "other")] == 100
    assert got["sidecar_upstream_requests_total", ("outcome", "ok"), ("upstream", "other")] == 100


def test_no_user_key_or_credential_is_a_label(metrics, decision):
    metrics.decision(decision())
    metrics.finished(decision(), status=200, settlement=None, released=0, nanoseconds=5)
    text = metrics.render()
    assert b"ci-bot" not in text
    assert b"build" not in text


def test_stages_fall_into_their_buckets(metrics, decision):
    for nanoseconds in (4_000, 20_000, 3_000_000_000):
        metrics.stage("identify", nanoseconds)
    got = samples(metrics)

    def bucket(edge):
        return got["sidecar_stage_seconds_bucket", ("le", edge), ("stage", "identify")]

    assert [bucket(edge) for edge in ("5e-06", "1e-05", "2.5e-05", "1.0", "+Inf")] == [1, 1, 2, 2, 3]
    assert got["sidecar_stage_seconds_count", ("stage", "identify")] == 3
    assert got["sidecar_stage_seconds_sum", ("stage", "identify")] == pytest.approx(3.000024)


def test_dollars_are_tokens_times_price_and_an_unknown_price_is_flagged(metrics, decision):
    account = SimpleNamespace(upstream="openai", model="gpt-4o", usage=Usage(1_000, 200), cost=1_000 * 2.5e-6 + 200 * 10e-6, finish=("stop",))
    metrics.finished(decision(), status=200, settlement=account, released=0, nanoseconds=10)
    where = (("model", "gpt-4o"), ("upstream", "openai"))
    got = samples(metrics)
    assert got["sidecar_cost_usd_total", *where] == pytest.approx(0.0045)
    assert got["sidecar_tokens_total", ("direction", "input"), *where] == 1_000
    assert ("sidecar_unpriced_calls_total", *where) not in got
    account.cost = None
    metrics.finished(decision(), status=200, settlement=account, released=0, nanoseconds=10)
    got = samples(metrics)
    assert (got["sidecar_unpriced_calls_total", *where], got["sidecar_cost_usd_total", *where]) == (1, pytest.approx(0.0045))


def test_a_new_configuration_replaces_the_info_and_counts_the_load(metrics):
    metrics.generation("aa", 1, healthy=True, since=100.0)
    metrics.generation("bb", 2, healthy=True, since=200.0)
    metrics.generation("bb", 2, healthy=False, since=200.0)
    got = samples(metrics)
    assert {key: value for key, value in got.items() if key[0] == "sidecar_config_generation_info"} == {("sidecar_config_generation_info", ("digest", "bb")): 1}
    assert (got["sidecar_config_generation",], got["sidecar_config_healthy",], got["sidecar_config_loaded_timestamp_seconds",]) == (2, 0, 200)
    assert (got["sidecar_config_reload_total", ("result", "success")], got["sidecar_config_reload_total", ("result", "failure")]) == (2, 1)


def test_states_and_losses_are_read_at_the_scrape(metrics):
    state, lost = {"openai": "closed"}, [0]
    metrics.upstream_states(lambda: state)
    metrics.lost_records(lambda: lost[0])
    state["openai"], lost[0] = "open", 7
    got = samples(metrics)
    assert got["sidecar_upstream_state", ("state", "open"), ("upstream", "openai")] == 1
    assert ("sidecar_upstream_state", ("state", "closed"), ("upstream", "openai")) not in got
    assert got["sidecar_records_lost_total",] == 7


def test_gauges_quotas_and_the_rest_show_under_their_names(metrics):
    metrics.inflight(3, 4096)
    metrics.quota_totals({"tokens": 100.0}, {"tokens": 60.0, "requests": 1.0})
    metrics.quota_warned("p/r")
    metrics.quota_exhausted("p/r", "tokens")
    metrics.first_event("openai", 20_000_000)
    metrics.overhead(30_000)
    metrics.bug()
    got = samples(metrics)
    assert (got["sidecar_inflight",], got["sidecar_inflight_bytes",], got["sidecar_bugs_total",]) == (3, 4096, 1)
    assert (got["sidecar_quota_reserved_total", ("metric", "tokens")], got["sidecar_quota_settled_total", ("metric", "tokens")]) == (100, 60)
    assert got["sidecar_quota_warnings_total", ("rule", "p/r")] == got["sidecar_quota_exhausted_total", ("metric", "tokens"), ("rule", "p/r")] == 1
    assert got["sidecar_stream_first_event_seconds_bucket", ("le", "0.02"), ("upstream", "openai")] == 1
    assert got["sidecar_overhead_seconds_bucket", ("le", "5e-05")] == 1


def test_every_family_has_help_and_a_name_prometheus_accepts():
    for name, family in FAMILIES.items():
        assert name.startswith("sidecar_")
        assert family.help.endswith(".")
        assert (family.kind == "histogram") == bool(family.buckets)


@pytest.mark.parametrize("module", ["prometheus_client", "opentelemetry", "cryptography"])
def test_nothing_heavy_is_imported_before_it_is_needed(module):
    code = f"import sys, sidecar.telemetry, sidecar.telemetry.metrics, sidecar.telemetry.tracing as t; from sidecar.config.documents import Telemetry; t.open_tracer(Telemetry()); sys.exit('{module}' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
