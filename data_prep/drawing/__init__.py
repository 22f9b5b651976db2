"""Turns shapes into label maps, and label maps into shapes.

The package holds the table of annotation kinds (`annotation_kinds`), computes
which pixels a shape covers (`covering`), checks the numbers that describe a
shape (`shape_numbers`), draws and encodes label maps (`rasterize`, `rle`),
simulates good and faulty weak annotations from exact masks (`simulate`,
`annotators`, `scribbles`, `label_noise`), stores the pictures that the check
has decoded until the records are written (`kept`), and replaces annotations by
predictions (`predictions`).
"""
