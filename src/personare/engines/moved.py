"""One engine's motion on another engine's portrait: the two runs joined into one, and what
takes motion to the portrait's space between them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from personare.engines.performance import Made, Movement, Performance
from personare.engines.utterance import Utterance
from personare.errors import EngineError
from personare.heads.retarget import Retarget
from personare.motion import Motion
from personare.types import Phone, Samples


class Moved(Performance):
    """What `movement` does, on the portrait of `performance`; closing it closes both."""

    def __init__(
        self,
        movement: Movement,
        performance: Performance,
        retarget: Retarget | None = None,
    ) -> None:
        """retarget: takes the motion to a space that the portrait's engine shows, if it does
        not show the motion's own.

        Raises EngineError if the portrait's engine does not show the motion's space and there
        is no retarget, or if their frame rates differ.
        """
        super().__init__(guided=movement.guided)
        if retarget is None and movement.space.name not in performance.shows:
            shown = ", ".join(sorted(performance.shows)) or "no motion at all"
            raise EngineError(f"the portrait's engine shows {shown}, not {movement.space.name}")
        if movement.fps != performance.fps:
            raise EngineError(
                f"the motion is at {float(movement.fps):g} frames per second, the portrait at "
                f"{float(performance.fps):g}",
                hint=f"--fps {movement.fps}",
            )
        self._movement, self._performance, self._retarget = movement, performance, retarget
        self.fps, self.size, self.shows = performance.fps, performance.size, performance.shows
        self.watch, self.longest = performance.watch, movement.longest
        movement.watch, movement.heard = self.watch, self.heard

    def count(self, samples: int) -> int:
        return self._movement.count(samples)

    def _begin(self, said: Utterance) -> None:
        said.cut.tell(self._movement.interrupt)
        said.cut.tell(self._performance.interrupt)
        self._movement.progress = self._told(said)

    def _hear(self, said: Utterance, samples: Samples, phones: Sequence[Phone] | None) -> Iterator[Made]:  # noqa: ARG002
        return self._drawn(self._movement.feed(samples, phones))

    def _end(self, said: Utterance) -> Iterator[Made]:
        yield from self._drawn(self._movement.finish())
        if self.guided and not said.samples:
            said.expected = said.shown  # the movement has counted them

    def _show(self, motion: Motion) -> Iterator[Made]:
        return self._shown(motion)

    def _rest(self, n: int) -> Made:
        return _joined(list(self._drawn([self._movement.idle(n)])))

    def _drop(self, said: Utterance) -> None:  # noqa: ARG002
        self._movement.interrupt()
        self._performance.interrupt()

    def _close(self) -> None:
        self._movement.close()
        self._performance.close()

    def _drawn(self, motions: Iterable[Motion]) -> Iterator[Made]:
        for motion in motions:
            yield from self._shown(motion if self._retarget is None else self._retarget(motion))

    def _shown(self, motion: Motion) -> Iterator[Made]:
        for frames in self._performance.show(motion):
            yield Made(frames.images, frames.motion)


def _joined(parts: Sequence[Made]) -> Made:
    import numpy as np

    motion = [part.motion for part in parts if part.motion is not None]
    return Made(np.concatenate([part.images for part in parts]), np.concatenate(motion) if motion else None)
