"""FLOAT's networks that no library has, written from their published description, under the
parameter names of float.pth.
"""
