"""The command line: parse, call the studio, print. Exit codes are in `personare.errors`; usage
errors exit with 2.
"""
