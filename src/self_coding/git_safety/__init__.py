"""GitSafety: snapshots, isolation, the gate and landing."""
