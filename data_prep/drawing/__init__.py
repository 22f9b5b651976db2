"""Turns shapes into label maps, and label maps into shapes.

It holds the table of annotation kinds (`annotation_kinds`), the pixels that a
shape covers (`covering`), label maps (`rasterize`, `rle`), and the weak
annotations, good and faulty, that are simulated from exact masks (`simulate`,
`scribbles`, `label_noise`) or taken from predictions (`predictions`).
"""
