"""Files <-> arrays: sound, pictures and videos in; PNG and MP4 out."""
