"""ARTalk: speech becomes the motion of a FLAME head, by autoregression over bits (Chu et al.
2025), from its description.
"""
