"""What a clip says of itself: written into it, drawn on it, signed, and read back from
anybody's file.
"""
