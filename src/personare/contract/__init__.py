"""What every engine has to keep, as checks that anybody's engine can be put to.

    python -m personare.contract ENGINE [--portrait PHOTO] [--set OPTION=VALUE ...]

cases.py    an engine at work on a short voice
checks.py   one function per promise; a broken one raises Broken
"""
