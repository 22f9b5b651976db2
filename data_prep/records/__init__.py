"""From a manifest to the records that training reads.

What lives here: what a record is (`schema`), the TFDS builder that writes them
(`builder`), the hashes that say whether a set is the same (`fingerprints`), and
what prediction has to do again with a new picture (`preparation`).
"""
