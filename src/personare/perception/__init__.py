"""What is in a picture: faces, their landmarks, eyes and pose, and which pixels are the person."""

from personare.perception.detector import Detection
from personare.perception.face import Face, find_face, find_faces
from personare.perception.matting import person_matte
from personare.perception.networks import NETWORK_SHA256

__all__ = ["NETWORK_SHA256", "Detection", "Face", "find_face", "find_faces", "person_matte"]
