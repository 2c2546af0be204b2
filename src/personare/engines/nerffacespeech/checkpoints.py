"""The networks of the wing, from the files that are on this machine: leases of what
`weights.resident` holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from personare.engines.nerffacespeech.options import NerfOptions
from personare.engines.neural import device_of
from personare.errors import InvalidOption, WeightsMismatch, WeightsMissing
from personare.weights.resident import Lease, NetworkKey, lease, lease_component

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from personare.engines.nerffacespeech.face_model import FaceModel
    from personare.engines.nerffacespeech.networks.generator import Generator
    from personare.engines.nerffacespeech.networks.likeness import Likeness
    from personare.engines.nerffacespeech.networks.recon import ReconNet
    from personare.engines.nerffacespeech.networks.voice import Audio2Exp, LipaintNet
    from personare.perception.parsing import BiSeNet
    from personare.weights.finder import Weights

Network = TypeVar("Network")
Mode = Literal["deform", "latent"]

GENERATOR, LIPAINT, HEARING, RECON = "stylenerf-ffhq-1024", "lipaintnet", "sadtalker", "deep3d-recon"
PARSER, FACE_MODEL = "nerffacespeech-seg", "bfm"
LIKENESS = {"vgg": ("vgg16-imagenet", "lpips-vgg"), "alex": ("alexnet-imagenet", "lpips-alex")}
CLASSES, VOLUME = 16, 32
"""Of the segmentation; px of the generator's field, into which the mouth is blended."""
_RECON_KEY = "net_recon"


def mode_of(options: NerfOptions, weights: Weights) -> Mode:
    """What moves the field, "auto" decided: a mesh if there is a face model and what reads it."""
    if options.mode != "auto":
        return options.mode
    return "deform" if scipy_is_there() and weights.find(FACE_MODEL) is not None else "latent"


def scipy_is_there() -> bool:
    return find_spec("scipy") is not None


def inverts(options: NerfOptions) -> bool:
    """Whether a person is looked for in the generator."""
    return options.look == "photo" and options.take_over is None


def needed(options: NerfOptions, weights: Weights) -> tuple[str, ...]:
    """Catalogue names of all that a run with these options uses."""
    names = [GENERATOR, LIPAINT, HEARING, RECON]
    if inverts(options):
        names += [*LIKENESS["vgg"], *LIKENESS["alex"]]
    if mode_of(options, weights) == "deform":
        names += [PARSER, FACE_MODEL]
    return tuple(names)


def require(options: NerfOptions, weights: Weights) -> Mode:
    """The mode. Raises WeightsMissing, naming all that a whole run would miss, and
    InvalidOption for options that exclude each other.
    """
    if options.look == "seed" and options.take_over is not None:
        raise InvalidOption(
            "nerffacespeech options look=seed and take_over exclude each other",
            hint="take_over brings a person of its own",
        )
    if options.look == "seed" and options.framing == "original":
        raise InvalidOption(
            "nerffacespeech options look=seed and framing=original exclude each other",
            hint="a person that is made up has no photo to be pasted into",
        )
    mode = mode_of(options, weights)
    weights.require(*needed(options, weights))
    if mode == "deform" and not scipy_is_there():
        raise WeightsMissing(
            "mode=deform needs scipy, which is not installed", hint="pip install 'personare[neural]'"
        )
    return mode


class Networks:
    """What the stages and the performances of one run lease."""

    def __init__(self, options: NerfOptions, weights: Weights) -> None:
        self.device = device_of(options)
        self._weights = weights

    def sha256(self, *names: str) -> tuple[str, ...]:
        return tuple(map(self._weights.sha256, names))

    def generator(self) -> Lease[Generator]:
        """As released, in float32. Raises WeightsMissing, WeightsMismatch, as all of these."""
        from personare.engines.nerffacespeech.networks.loading import GeneratorState

        def load(path: Path) -> Generator:
            made = GeneratorState.read(path).build(self.device)
            if made.config.volume != VOLUME:
                raise WeightsMismatch(
                    f"{path}: a field of {made.config.volume} px, not {VOLUME}",
                    hint="the released ffhq_1024.pkl is what nerffacespeech was made for",
                )
            return made

        return self._lease(GENERATOR, load)

    def lips(self, width: int) -> Lease[LipaintNet]:
        from personare.engines.nerffacespeech.networks.voice import lipaint
        from personare.weights.loading import read_state

        return self._lease(LIPAINT, lambda path: lipaint(read_state(path), width, self.device, str(path)))

    def hearing(self) -> Lease[Audio2Exp]:
        from personare.engines.nerffacespeech.networks.voice import audio2exp
        from personare.weights.loading import read_state

        return self._lease(HEARING, lambda path: audio2exp(read_state(path), self.device, str(path)))

    def recon(self) -> Lease[ReconNet]:
        from personare.engines.nerffacespeech.networks.recon import recon_net
        from personare.weights.loading import read_checkpoint

        def load(path: Path) -> ReconNet:
            held: Any = read_checkpoint(path)
            inside = held.get(_RECON_KEY) if isinstance(held, Mapping) else None
            if not isinstance(inside, Mapping):
                raise WeightsMismatch(
                    f"{path} holds nothing under {_RECON_KEY}", hint="is it Deep3DFaceRecon's epoch_20.pth?"
                )
            return recon_net(_tensors(inside), self.device, str(path))

        return self._lease(RECON, load)

    def parser(self) -> Lease[BiSeNet]:
        from personare.perception.parsing import bisenet_from_state
        from personare.weights.loading import read_state

        def load(path: Path) -> BiSeNet:
            return bisenet_from_state(read_state(path), str(path), self.device, classes=CLASSES)

        return self._lease(PARSER, load)

    def likeness(self, kind: Literal["vgg", "alex"]) -> Lease[Likeness]:
        import torch

        from personare.engines.nerffacespeech.networks.likeness import likeness
        from personare.weights.loading import read_state

        paths = self._weights.require(*LIKENESS[kind])
        backbone, weights = (paths[name] for name in LIKENESS[kind])

        def load() -> Likeness:
            return likeness(kind, read_state(backbone), read_state(weights), self.device, str(backbone))

        part = f"{LIKENESS[kind][1]}/likeness"
        return lease(NetworkKey.of(self.sha256(*LIKENESS[kind]), part, self.device, torch.float32), load)

    def face_model(self) -> Lease[FaceModel]:
        from personare.engines.nerffacespeech.face_model import FaceModel

        return self._lease(FACE_MODEL, FaceModel.read)

    def _lease(self, name: str, load: Callable[[Path], Network]) -> Lease[Network]:
        import torch

        return lease_component(self._weights, name, load, self.device, torch.float32)


def block_format(options: NerfOptions, device: torch.device) -> torch.dtype:
    """Numbers of all blocks of the generator but the first; the field is float32 always."""
    from personare.weights.device import choose_dtype

    return choose_dtype(device, options.precision)


def _tensors(held: Mapping[Any, Any]) -> dict[str, Tensor]:
    import torch

    return {str(name): value for name, value in held.items() if isinstance(value, torch.Tensor)}
