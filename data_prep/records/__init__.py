"""Turns a manifest into the records that training reads.

It holds the form of a record (`schema`), the TFDS builder that writes records
(`builder`), the hashes that show whether a set is the same (`fingerprints`),
and the steps that prediction repeats for a new picture (`preparation`).
"""
