"""The ways in which a corpus can be laid out: TUSZ, BIDS, or any folder with EDFs."""
