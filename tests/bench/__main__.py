"""`make bench`: conditions and decisions beside other engines, decisions by number of rules, the whole gate against HAProxy, start, memory, cost per streamed chunk, replay.

Figures are ratios in one run on one machine: load generator and upstream on core 0, the proxy under test on core 1, rounds
interleaved, medians. What is not installed (wrk, nginx, haproxy; all in Debian) is left out and said so.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import conditions
import decisions
import engines
import replay
import wire_bench


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--secs", type=int, default=4)
    parser.add_argument("--only", choices=["conditions", "decisions", "engines", "wire", "stream", "start", "replay"])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        where = Path(place)
        if args.only in {None, "conditions"}:
            conditions.report()
        if args.only in {None, "decisions"}:
            decisions.report(where)
        if args.only in {None, "engines"}:
            engines.report()
        if args.only in {None, "replay"}:
            replay.report(where)
        if args.only in {None, "start"}:
            wire_bench.start(where)
        missing = [tool for tool in ("wrk", "nginx", "haproxy", "taskset") if shutil.which(tool) is None]
        if missing and args.only in {None, "wire"}:
            print(f"left out: the comparison with HAProxy (missing: {', '.join(missing)})")
        elif args.only in {None, "wire"}:
            wire_bench.compare(where, rounds=args.rounds, secs=args.secs)
        if args.only in {None, "stream"}:
            wire_bench.stream(where)
    return 0


if __name__ == "__main__":
    sys.exit(main())
