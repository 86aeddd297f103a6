"""Copies of EDFs whose headers and annotations no longer say who was recorded, and when.

What a header or an annotation may keep, pseudonyms and shifted dates belong here. Samples are
copied as they are: what they show is not judged.
"""
