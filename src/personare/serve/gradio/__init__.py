"""The page again, in Gradio, for those who want to change it in Python (extra `[page]`).

blocks.py    what is seen: copy it, change it, run it against any service
examples.py  a text in each language
mounted.py   how it becomes a part of the service on this machine
"""
