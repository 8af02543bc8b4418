"""The interface of programs: descriptors, registers, arithmetic, overlays."""
