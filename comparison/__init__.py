"""Benchmarks of npzfs against the programs and formats that could replace it: `make bench`."""
