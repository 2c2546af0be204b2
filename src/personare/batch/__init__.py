"""Many clips: jobs from a file or a folder, made by several processes, resumed after whatever stopped them.

jobs.py      a JSONL file or a folder -> checked jobs
journal.py   what is finished, beside the outputs
workers.py   processes that make clips; one that dies fails its own job alone
run.py       ties them together
"""
