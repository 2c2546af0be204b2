"""Names of the stages."""

PICTURE = "mimicmotion.picture"
PICTURE_POINTS = "mimicmotion.picture_points"
EMBEDDING = "mimicmotion.embedding"
LATENT = "mimicmotion.latent"
GUIDE_POINTS = "mimicmotion.guide_points"
POSES = "mimicmotion.poses"
SAMPLED = "mimicmotion.sampled"
