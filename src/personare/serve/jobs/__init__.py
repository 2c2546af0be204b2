"""Jobs: rows of a table, and files in a folder each.

    queued -> in_progress -> completed | failed | cancelled
       ^          |
       +----------+     the worker or the server died: three tries in all

store.py      the rows
stages.py     what is done at a stage, in words
pool.py       the rows as what a crew of workers works off
requests.py   what a caller asks for, checked, as an order
placing.py    a request becomes a row: quotas, idempotency, inputs linked into the job's folder
events.py     who waits for a change
"""
