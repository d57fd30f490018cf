"""Exit codes, the same for every command (DOCUMENTS.md, Commands). `exec` gives its command's own."""

OK = 0
"""Yes."""
FINDINGS = 1
"""No: findings, a failed test, a deny."""
USAGE = 2
"""The command line makes no sense (argparse uses the same)."""
BAD_CONFIGURATION = 3
"""Documents that do not load."""
UNDECIDABLE = 4
"""Nothing changed, but not all could be told: what decides it was not kept."""
