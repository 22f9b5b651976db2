"""From shapes to label maps, and back.

What lives here: the table of annotation kinds (`annotation_kinds`), which
pixels a shape covers (`covering`), label maps (`rasterize`, `rle`), and the
weak annotations, good and faulty, that are simulated from exact masks
(`simulate`, `scribbles`, `label_noise`) or taken from predictions
(`predictions`).
"""
