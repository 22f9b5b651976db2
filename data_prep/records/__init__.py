"""Turns a manifest into the records that training reads.

The package defines the features of a record (`schema`), writes them in shards
(`shards`), of which it makes records that TFDS reads (`builder`), computes
hashes that show whether a set has changed (`fingerprints`), and stores how
pictures were read, so that prediction can read new pictures in the same way
(`preparation`). Whole volumes are written in chunks (`volume_records`,
`chunks`), and returned for annotation tools (`set_cases`).
"""
