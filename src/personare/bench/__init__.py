"""What an engine costs on this machine: cold and warm runs, each in a process of its own, step
by step.

runs.py      one run after the other, and what they have in common
plot.py      the same as a picture
"""
