"""FLOAT: one photo and a voice, by flow matching in a space of motion latents (Ki et al. 2024),
from its description.
"""
