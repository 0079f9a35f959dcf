"""Ground truth from what a person draws, without HTTP.

- strokes: what a person drew (`Stroke`). All those on an image are its `StrokeLog`, kept in ``NAME_doodles.json``.
- seeds: the uint8 map that strokes make, 0 = unlabelled, class k is k + 1; one for each layer that they are drawn on:
  "scribbles" are hints for the CRF, "result" is painted over what the CRF makes of them.
- labels: the result, uint8 class ids from 0, 255 = void.
"""
