"""Orders waiting, under way and done: many clips by several processes, resumed after whatever
stopped them.

jobs.py      a JSONL file or a folder -> checked jobs: orders and where they came from
queue.py     what waits, is under way and has ended; a service keeps it elsewhere
journal.py   what a batch has finished, beside the outputs
tasks.py     what a worker can be given: a clip, an avatar, something to be loaded
making.py    one task is done
workers.py   processes that do tasks; one that dies fails its own task alone
crew.py      the workers of a service
batch.py     many clips by a queue and workers
"""
