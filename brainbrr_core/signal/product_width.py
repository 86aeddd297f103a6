"""Number of outputs that the products of :mod:`brainbrr_core.signal.products` compute at once."""

#: Columns of a matrix: as many as the registers of a processor with 256-bit vectors hold.
COLUMNS = 16
