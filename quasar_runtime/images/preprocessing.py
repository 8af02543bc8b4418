"""How a picture becomes a program's input."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the square of raw RGB bytes: resize its short side, crop the centre.

    resize      pixels of the short side after the resize
    crop        side of the square: the model's image size
    resampling  'bicubic' or 'bilinear', with antialiasing, as Pillow does it
    """

    resize: int
    crop: int
    resampling: str = "bicubic"
