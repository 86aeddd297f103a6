"""Files as they must be on a disk: whole or not there, checked, and known by their state.

Here belong writing in one step, Parquet with a checksum of its bytes, content hashes, the state
that tells whether a file changed, and canonical JSON. What the files hold belongs to others.
"""
