"""Many machines: what batches and services do in processes of one machine is done by actors of
a Ray cluster (`pip install 'personare[cluster]'`). Nothing here imports ray when it is imported
itself, but actors.py.

joined.py    a cluster, joined or started here; what it has
parcels.py   files that a task reads and writes, on their way to another machine and back
maker.py     in an actor: one task is done
hired.py     the actor as a worker, so that `work.workers` and `work.crew` need not know of it
turns.py     one computation of a feature on all machines
actors.py    the classes above as Ray's actors
"""
