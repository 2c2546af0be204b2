"""Checkpoints on disk: what there is, where it is, and how it is read without trusting it."""
