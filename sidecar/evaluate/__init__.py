"""The decision. Read `ladder.py` first: the order of the rungs, each with its reason; then `lattice.py`, how rules combine.

Sans-IO: a rung yields a `Need` and is sent its answer; `combine.py` alone turns an outage into a no and makes a `Permit`. Counterparts:
`compiler/`, which makes the snapshot that is read here, and `gate.py` and `workbench/`, which answer the needs.
"""
