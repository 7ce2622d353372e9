"""One file per question; ``python -m benchmarks NAME`` answers it."""
