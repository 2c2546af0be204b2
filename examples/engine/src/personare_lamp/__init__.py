"""lamp: the smallest engine for personare. Copy this folder and replace what it does."""
