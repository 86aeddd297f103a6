"""Layouts of a corpus on disk: TUSZ, BIDS, or any folder with EDFs."""
