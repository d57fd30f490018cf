import pytest

from sidecar.call import Call, Member, Tool
from sidecar.decision import Decision, Obligations, Reason, Refusal
from sidecar.principal import Principal, Source
from sidecar.segment import Segment


@pytest.fixture
def decision():
    """Builds decisions; whatever holds content says SECRET."""

    def build(id="d_0199aabbccddeeff00112233445566aa", *, effect="allow", principal=True, **changes):
        call = Call(
            id=id,
            protocol="llm",
            operation=changes.pop("operation", "chat"),
            dialect=changes.pop("dialect", "openai_chat"),
            target="gpt-4o",
            body={"messages": ["SECRET"]},
            segments=(Segment("/messages/0", "user", "user", "SECRET"),),
            params={"user": "SECRET"},
            tool=Tool("read", "fs", args={"path": "SECRET"}) if changes.pop("tool", False) else None,
            members=(Member("openai", "gpt-4o"), Member("azure", "gpt-4o")),
            tokens=250,
            bytes=1024,
            source=Source(ip="10.0.0.7"),
            headers=(("x", "SECRET"),),
            trace=changes.pop("trace", None),
        )
        who = Principal.of("key:ci-bot", team="build", groups=("eng",), actors=("user:u1",), claims={"email": "SECRET"}) if principal else None
        reason = Reason("eng/developer", "Roles", "allow", "true", "policies/roles.yaml:7", message="SECRET-FREE", layer="base")
        given = {
            "reasons": (reason, Reason("p/r", "Policy", "deny", "error", "policies/p.yaml:3", lifted="ir-1")),
            "by": ("eng/developer",),
            "would": (Reason("trial/r", "Policy", "deny", "true", "policies/t.yaml:9"),),
            "obligations": Obligations(route=(("region", "eu"),), cap=(("max_tokens", 100.0),), set=(("user", "SECRET"),), label=("eu",)),
            "facts": {"quota": "granted"},
            "now": 1_790_000_000.25,
            "timings": (("identify", 2_000), ("authorize", 900), ("apply_policies", 4_000)),
        }
        return Decision(id=id, call=call, principal=who, effect=effect, **(given | changes))

    return build


@pytest.fixture
def refusal():
    return Refusal(kind="policy", status=403, code="policy_denied", message="SECRET", rule="p/r")
