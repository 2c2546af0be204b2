"""nerffacespeech: one photo and a voice, by a 3D-aware generator that is tuned to the person
(NeRFFaceSpeech, arXiv 2405.05749).
"""
