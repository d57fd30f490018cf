"""A policy sidecar: it stands between an agent and the models it calls, and lets through only what was decided.

The one promise: nothing is forwarded that was not decided, and every decision can be explained and repeated.

The life of a call
------------------
    bytes -> wire codec -> Call -> gate.decide(ladder) -> record -> refuse, in the caller's own dialect
                                         |
                                         +-> Permit -> routing core .send(permit) -> Reply -> reply screen -> bytes -> settle

`server/way.py` tells it on one screen. `evaluate/ladder.py` holds the order of the decision, each line with its reason.

The evaluator does no I/O. A stage is a generator that yields a `Need` (verify this credential, reserve that quota, who owns
this id) and is sent a value; an outage comes back as the value `Unavailable`. `gate.py` answers needs from real stores;
`sidecar test` and `explain` answer them from data. Only the evaluator makes a `Permit`, only a `Permit` can be sent.

The floors (a floor imports only downward; import-linter holds it)
------------------------------------------------------------------
    F0 nouns        errors principal segment call need decision
    F1 engines      expr/    the condition language        wire/  one dialect per file
                    http1/   HTTP/1.1 framing, sans-IO      address  which addresses may be dialled
    F2 config/      YAML that remembers file:line:column -> documents -> diagnostics, schema
    F3 compiler/    documents -> one frozen, hashed snapshot with an index; coverage/ what runs where, lints/ what is hardly meant
    F4 evaluate/    the decision: ladder identity rbac policies quotas reply combine why
    F5 the rim      store/ telemetry/, and on them credentials/ route/
    F6 joining      gate (answers needs)   workbench/ (check test explain replay diff suggest fmt)   live (load, swap, retire)
                    shadow (a candidate decides the same calls)
    F7 doors        server/
    F8 people       cli/, testing (the public kit)

Nothing below F5 reads a clock, opens a file, logs or awaits.

A newcomer's one place
----------------------
    a dialect            wire/x.py + one line in wire/__init__.py
    a detector of no     a rule in YAML; not code
    a routing core       route/x.py with send(permit) + one line, or an entry point `sidecar.cores`
    a store, a sink      one file + one line in its package
    a lint               compiler/lints/x.py + one line in its table
    a command            cli/x.py + one line in cli/main.py
    a kind of document   config/documents.py + compiler/ + a stage + why
"""

__version__ = "0.1.0"
