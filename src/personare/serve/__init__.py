"""`personare serve`: jobs and live sessions over HTTP, for programs and a page in the browser.

app.py        the application: middleware, routes, what starts and ends with it
settings.py   how a service works: address, keys, limits, what it keeps
keys.py       who may call, and how much
doors.py      Host, Origin and keys, before a request is looked at
limits.py     sizes of bodies before they are parsed, slow clients
problems.py   every error as problem+json, with OpenAI's `error` object inside
house.py      what all routes share: studio, jobs, files, workers, live sessions
uploads.py    multipart bodies into files; files.py keeps them
jobs/         jobs as rows of a table, requests as orders, the crew that works them off
routes/       one file of routes for each noun
live/         live sessions

Nothing here is imported by `import personare`; the extra `[serve]` installs what it stands on.
"""
