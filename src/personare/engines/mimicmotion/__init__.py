"""mimicmotion: a person of a picture does what a video shows, by video diffusion (MimicMotion).
Written from shared/conformance/mimicmotion/SPEC.md.
"""
