"""Turns shapes into label maps, and label maps into shapes.

The package holds the table of annotation kinds (`annotation_kinds`), computes
which pixels a shape covers (`covering`) and which numbers it may have
(`shape_numbers`), draws and encodes label maps (`rasterize`, `rle`), simulates
good and faulty weak annotations from exact masks (`simulate`, `annotators`,
`scribbles`, `label_noise`), keeps what the check has read for the records
(`kept`), and replaces annotations by predictions (`predictions`).
"""
