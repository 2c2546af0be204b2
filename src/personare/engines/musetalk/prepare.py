"""The recipe: what is computed once per template, photo or video.

    musetalk.points    68 points and the detector's box, where detector=dwpose    (template)
    musetalk.track     468 points, smooth, where detector or parser is landmarks  (template)
    musetalk.boxes     the face box of every frame, or none
                       (points or track; bbox_shift, extra_margin, box_smoothing)
    musetalk.latents   the autoencoder's latents                         (template, boxes; latents, seed)
    musetalk.labels    classes of the pixels around the face             (template or track, boxes; parser)
    musetalk.masks     what is blended of the painted face, how softly
                       (boxes, labels; parsing_mode, cheeks, blur, boundary)

The template is read frame by frame and never kept. Every array has one row per frame of the
template at its own rate; another frame rate of the clip prepares nothing anew. Frames without a
usable face have a row of zeros and count as not present.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from personare.cache.recipe import Recipe, Stage, StageInputs
from personare.engines.musetalk import checkpoints, forms
from personare.engines.musetalk.options import DETECTOR, PARSER, POSE, VAE, MuseTalkOptions
from personare.engines.musetalk.template import boxes, masks
from personare.engines.musetalk.template.packing import packed, tight, unpacked
from personare.engines.portrait import background_parameter, chosen, face_parameter, template_of
from personare.errors import NoFaceFound
from personare.media.template import Template
from personare.types import Feature, Image, frame_rate

if TYPE_CHECKING:
    from personare.weights.finder import Weights

POINTS, TRACK, BOXES = "musetalk.points", "musetalk.track", "musetalk.boxes"
LATENTS, LABELS, MASKS = "musetalk.latents", "musetalk.labels", "musetalk.masks"
ORIGINAL_EXPAND = 1.2
"""In 2024 the square around a face was smaller."""
_TRACK_NETWORKS = ("face_detection_short_range", "face_landmark")
MIN_EYE_DISTANCE_PX = 16.0
"""Between the outer corners. The network paints at 256 px and what it paints is made smaller,
so small faces serve.
"""
_ENCODE_BYTES = 500 << 20
"""Working memory of the autoencoder for one face, both variants, in float32."""
_AT_ONCE = 8


def recipe(options: MuseTalkOptions, weights: Weights) -> Recipe:
    """The stages for these options with the weights that are there. Raises WeightsMissing for
    those that they need and are not.
    """
    options = options.concrete(lambda name: weights.find(name) is not None)
    stages = _Stages(options, weights)
    landmarks = "landmarks" in (options.detector, options.parser)
    return Recipe(
        (
            *((stages.points(),) if options.detector == "dwpose" else ()),
            *((stages.track(),) if landmarks else ()),
            stages.boxes(),
            stages.latents(),
            stages.labels(),
            stages.masks(),
        )
    )


class _Stages:
    def __init__(self, options: MuseTalkOptions, weights: Weights) -> None:
        self.options = options
        self.weights = weights

    def points(self) -> Stage:
        def compute(inputs: StageInputs) -> Feature:
            from personare.perception.whole_body.dwpose import FACE, find_points

            template = template_of(inputs)
            points = np.zeros((template.frames, 68, 2))
            detected = np.zeros((template.frames, 4), np.int32)
            found = np.zeros(template.frames, np.bool_)
            with (
                checkpoints.lease_pose(self.options, self.weights) as pose,
                checkpoints.lease_detector(self.options, self.weights) as detector,
            ):
                for i, picture in enumerate(_watched(template, inputs, POINTS)):
                    points[i] = find_points(pose, [picture])[0, FACE]
                    face = boxes.detected_face(detector, picture)
                    if face is not None:
                        detected[i], found[i] = face, True
            return Feature({"points": points, "detected": detected, "found": found}, forms.about(template))

        weights = (self.weights.sha256(POSE), self.weights.sha256(DETECTOR))
        return Stage(
            POINTS,
            version=1,
            compute=compute,
            parameters=background_parameter(self.options.background),
            reads=("portrait",),
            weights=weights,
            form=forms.points,
        )

    def track(self) -> Stage:
        def compute(inputs: StageInputs) -> Feature:
            from personare.perception.track import track_face

            template = template_of(inputs)
            track = track_face(
                template,
                template.fps,
                template.frames,
                inputs.progress,
                MIN_EYE_DISTANCE_PX,
                chosen(inputs.parameters),
            )
            facts = forms.about(template) | ({"faces": track.faces} if track.faces > 1 else {})
            return Feature({"landmarks": track.landmarks, "present": track.present}, facts)

        from personare.perception import NETWORK_SHA256

        weights = tuple(NETWORK_SHA256[name] for name in _TRACK_NETWORKS)
        return Stage(
            TRACK,
            version=1,
            compute=compute,
            parameters=face_parameter(self.options.face) | background_parameter(self.options.background),
            reads=("portrait",),
            weights=weights,
            form=forms.track,
        )

    def boxes(self) -> Stage:
        source = POINTS if self.options.detector == "dwpose" else TRACK
        parameters = {
            name: getattr(self.options, name)
            for name in ("detector", "bbox_shift", "extra_margin", "box_smoothing")
        }
        return Stage(
            BOXES, version=1, compute=_boxes, parameters=parameters, needs=(source,), form=forms.boxes
        )

    def latents(self) -> Stage:
        def compute(inputs: StageInputs) -> Feature:
            seed = inputs.parameters["seed"]
            with checkpoints.lease_encoder(self.options, self.weights) as vae:
                return Feature({"latents": _encoded_frames(vae, inputs, seed, self.options.batch_size)})

        seed = self.options.seed if self.options.latents == "sample" else None
        return Stage(
            LATENTS,
            version=1,
            compute=compute,
            parameters={"latents": self.options.latents, "seed": seed}
            | background_parameter(self.options.background),
            needs=(BOXES,),
            reads=("portrait",),
            weights=(self.weights.sha256(VAE),),
            numeric_format=self.options.kept_format,
            form=forms.latents,
        )

    def labels(self) -> Stage:
        expand = ORIGINAL_EXPAND if self.options.parsing_mode == "original" else masks.EXPAND
        parameters = {"parser": self.options.parser, "expand": expand}
        if self.options.parser == "landmarks":
            return Stage(
                LABELS,
                version=1,
                compute=_drawn_labels,
                parameters=parameters,
                needs=(BOXES, TRACK),
                form=forms.labels,
            )

        def compute(inputs: StageInputs) -> Feature:
            with checkpoints.lease_parser(self.options, self.weights) as parser:
                return _labels((masks.parsed(parser, [square])[0] for square in _squares(inputs)), expand)

        weights = (self.weights.sha256(PARSER),)
        return Stage(
            LABELS,
            version=1,
            compute=compute,
            parameters=parameters | background_parameter(self.options.background),
            needs=(BOXES,),
            reads=("portrait",),
            weights=weights,
            form=forms.labels,
        )

    def masks(self) -> Stage:
        names = ("parsing_mode", "left_cheek_width", "right_cheek_width", "mask_blur", "upper_boundary")
        parameters: dict[str, Any] = {name: getattr(self.options, name) for name in names}
        if self.options.parsing_mode != "jaw":
            del parameters["left_cheek_width"], parameters["right_cheek_width"]
        return Stage(
            MASKS,
            version=1,
            compute=_masks,
            parameters=parameters,
            needs=(BOXES, LABELS),
            form=forms.masks,
        )


def _boxes(inputs: StageInputs) -> Feature:
    """boxes: int32 [n, 4], with the margin, within the picture. present: bool [n]."""
    shift, dwpose = inputs.parameters["bbox_shift"], inputs.parameters["detector"] == "dwpose"
    seen = inputs.features[POINTS if dwpose else TRACK]
    about = dict(seen.metadata)
    frames, size = int(about["frames"]), (int(about["height"]), int(about["width"]))
    present = np.array(seen.arrays["found" if dwpose else "present"], np.bool_)
    exact = np.zeros((frames, 4))
    for i in np.flatnonzero(present):
        if dwpose:
            exact[i] = boxes.released_box(
                seen.arrays["points"][i], seen.arrays["detected"][i].tolist(), shift
            )
        else:
            exact[i] = boxes.smooth_box(boxes.points_of_mesh(seen.arrays["landmarks"][i]), shift)
    exact = boxes.steadied(
        exact, present, inputs.parameters["box_smoothing"] * float(frame_rate(about["fps"]))
    )
    whole = np.zeros((frames, 4), np.int32)
    for i in np.flatnonzero(present):
        box = boxes.within(exact[i].tolist(), size, inputs.parameters["extra_margin"])
        whole[i], present[i] = box or (0, 0, 0, 0), box is not None
    if not present.any():
        what = "the picture" if frames == 1 else f"any of the template's {frames} frames"
        raise NoFaceFound(
            f"no face that can be used in {what}",
            hint="use a template in which the person looks towards the camera",
        )
    points = (
        seen.arrays["points"]
        if dwpose
        else np.stack([boxes.points_of_mesh(face) for face in seen.arrays["landmarks"]])
    )
    up, down = boxes.shift_range(points[present])
    return Feature(
        {"boxes": whole, "present": present}, about | {"bbox_shift_from": -up, "bbox_shift_to": down}
    )


def _encoded_frames(vae: Any, inputs: StageInputs, seed: int | None, batch_size: int) -> NDArray[np.float32]:
    """Latents float32 [n, 8, 32, 32]; zeros where there is no face."""
    from personare.engines.musetalk.template.latents import encoded, frame_noise
    from personare.engines.neural import chosen_batch, grouped, in_batches

    device = vae.quant_conv.weight.device
    batch = chosen_batch(batch_size, device, _ENCODE_BYTES, _AT_ONCE)
    around = inputs.features[BOXES].arrays
    latents: NDArray[np.float32] | None = None
    for group in grouped(_crops(inputs), lambda: batch.rows):
        rows, crops = [row for row, _ in group], [crop for _, crop in group]
        # The shape of the noise is that of the latents: 8 channels at an eighth of the side.
        shape = (2 * vae.config.latent_channels, crops[0].shape[0] // 8, crops[0].shape[1] // 8)
        noise = None if seed is None else np.stack([frame_noise(seed, row, shape) for row in rows])

        def encode(
            index: NDArray[np.intp], crops: list[Image] = crops, noise: NDArray[np.float32] | None = noise
        ) -> Any:
            return encoded(vae, [crops[i] for i in index], None if noise is None else noise[index])

        made = np.concatenate(list(in_batches(encode, len(crops), batch)))
        if latents is None:
            latents = np.zeros((len(around["present"]), *made.shape[1:]), np.float32)
        latents[rows] = made
    assert latents is not None  # the boxes' stage refuses templates without any face
    return latents


def _crops(inputs: StageInputs) -> Iterator[tuple[int, Image]]:
    """(frame, face crop) of every frame with a face."""
    around = inputs.features[BOXES].arrays
    for i, picture in enumerate(_watched(template_of(inputs), inputs, LATENTS)):
        if around["present"][i]:
            yield i, boxes.face_crop(picture, around["boxes"][i].tolist())


def _squares(inputs: StageInputs) -> Iterator[Image]:
    """The square around every face, in order of the frames that have one."""
    around = inputs.features[BOXES].arrays
    for i, picture in enumerate(_watched(template_of(inputs), inputs, LABELS)):
        if around["present"][i]:
            yield masks.cut_square(
                picture, masks.square_around(around["boxes"][i], inputs.parameters["expand"])
            )


def _drawn_labels(inputs: StageInputs) -> Feature:
    around, seen = inputs.features[BOXES].arrays, inputs.features[TRACK].arrays
    faces = np.flatnonzero(around["present"])
    # A detector of another kind may see a face where the landmarks were lost: there the nearest
    # ones are moved into its box.
    with_points = np.flatnonzero(seen["present"])
    if not len(with_points):
        raise NoFaceFound("the landmarks see no face in the template", hint="--set parser=bisenet")

    def draw(i: int) -> NDArray[np.uint8]:
        j = int(with_points[np.abs(with_points - i).argmin()])
        points = seen["landmarks"][j]
        if j != i:
            own = np.array(boxes.smooth_box(boxes.points_of_mesh(points), 0))
            box = around["boxes"][i].astype(np.float64)
            scale = (box[2:] - box[:2]) / (own[2:] - own[:2])
            points = np.concatenate(
                [(points[:, :2] - own[:2]) * scale + box[:2], points[:, 2:]], axis=1
            ).astype(np.float32)
        return masks.drawn(points, masks.square_around(around["boxes"][i], inputs.parameters["expand"]))

    return _labels((draw(int(i)) for i in faces), inputs.parameters["expand"])


def _labels(labels: Iterable[NDArray[np.uint8]], expand: float) -> Feature:
    """Labels uint8 [512, 512] of each frame with a face, compressed, and how large the square
    was in face boxes.
    """
    return Feature(packed(labels), {"expand": expand})


def _masks(inputs: StageInputs) -> Feature:
    """Of each frame with a face: the part of its soft mask that is not 0, compressed; and its
    corner (x, y) in the picture.
    """
    around, labels = inputs.features[BOXES].arrays, inputs.features[LABELS].arrays
    expand = float(inputs.features[LABELS].metadata["expand"])
    cheeks = {
        name: inputs.parameters[name]
        for name in ("left_cheek_width", "right_cheek_width")
        if name in inputs.parameters
    }
    faces = np.flatnonzero(around["present"])
    corners = np.zeros((len(faces), 2), np.int32)

    def made() -> Iterator[NDArray[np.uint8]]:
        for row, i in enumerate(faces):
            inputs.progress(MASKS, row, len(faces))
            box = around["boxes"][i].tolist()
            square = masks.square_around(box, expand)
            hard = masks.hard_mask(unpacked(labels, row), inputs.parameters["parsing_mode"], **cheeks)
            soft = masks.soft_mask(
                hard, box, square, inputs.parameters["mask_blur"], inputs.parameters["upper_boundary"]
            )
            part, x, y = tight(soft)
            corners[row] = square[0] + x, square[1] + y
            yield part

    arrays = packed(made())
    return Feature({**arrays, "corners": corners})


def _watched(template: Template, inputs: StageInputs, stage: str) -> Iterator[Image]:
    for done, picture in enumerate(template):
        inputs.progress(stage, done, template.frames)
        yield picture
