"""Benchmarks: ours, its peers and its limit, interleaved in one run, each result checked before its figure counts."""
