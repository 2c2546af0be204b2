"""What is in a picture: faces, their landmarks, eyes and pose, one face through a video, and
which pixels are the person.
"""

from personare.perception.detector import Detection
from personare.perception.face import MIN_EYE_DISTANCE_PX, Face, find_face, find_faces
from personare.perception.head_pose import head_pose
from personare.perception.iris import eyes
from personare.perception.matting import person_matte
from personare.perception.networks import NETWORK_SHA256
from personare.perception.track import Track, track_face

__all__ = [
    "MIN_EYE_DISTANCE_PX",
    "NETWORK_SHA256",
    "Detection",
    "Face",
    "Track",
    "eyes",
    "find_face",
    "find_faces",
    "head_pose",
    "person_matte",
    "track_face",
]
