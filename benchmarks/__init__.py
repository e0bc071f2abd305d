"""miaobi beside its peers, each benchmark in a process of its own; ``python -m benchmarks`` writes RESULTS.md."""
