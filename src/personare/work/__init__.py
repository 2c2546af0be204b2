"""Orders waiting, under way and done: many clips by several processes, resumed after whatever
stopped them.

jobs.py      a JSONL file or a folder -> checked jobs: orders and where they came from
queue.py     what waits, is under way and has ended; a service keeps it elsewhere
journal.py   what a batch has finished, beside the outputs
workers.py   processes that make clips; one that dies fails its own job alone
batch.py     ties them together
"""
