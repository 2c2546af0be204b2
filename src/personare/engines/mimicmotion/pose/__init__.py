"""A guide's people as skeletons on the canvas of the picture."""
