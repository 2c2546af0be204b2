"""Many machines: what batches and services do in processes of one machine is done by actors of
a Ray cluster (`pip install 'personare[cluster]'`). Importing a module here imports ray in
actors.py and live_actors.py alone.

joined.py       a cluster, joined or started here; what it has
parcels.py      files that a task reads and writes, on their way to another machine and back
maker.py        in an actor: one task is done
hired.py        that actor as a worker, so that `work.workers` and `work.crew` need not know of it
turns.py        one computation of a feature on all machines
directory.py    where a live session fits, by cost, over all nodes
live_host.py    in an actor: one live session
sessions.py     in the front: all of them, with places and watchers as on one machine
deployment.py   the service, as Ray Serve carries it
actors.py       maker and leases as Ray's actors
live_actors.py  live host and directory likewise
"""
