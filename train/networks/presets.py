"""How families of checkpoints prepare their pictures; no PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

from quasar_runtime.errors import DataError
from quasar_runtime.images.preprocessing import Preprocessing


@dataclass(frozen=True)
class Preset:
    """Preprocessing of a family of checkpoints: (byte / 255 - mean) / std per colour.

    resize: shorter side in pixels before the crop, for pictures of 224.
    """

    resize: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def preprocessing(self, image_size: int) -> Preprocessing:
        """The preprocessing for pictures of `image_size` pixels; the resize scales with it."""
        return Preprocessing(resize=round(self.resize * image_size / 224), crop=image_size)


IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PRESETS = {
    "deit3": Preset(224, *IMAGENET),
    "deit": Preset(256, *IMAGENET),
    "augreg": Preset(248, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}


def detect_preset(name: str) -> str:
    """The preset that a file name contains. DataError when it contains none."""
    low = name.lower()
    for preset in PRESETS:
        if preset in low:
            return preset
    raise DataError(
        f"cannot tell from the name '{name}' how pictures are prepared; "
        f"give --preset, one of {', '.join(PRESETS)}"
    )
