"""Safe files: written atomically, protected by checksums, and checked for changes.

Atomic writing, Parquet with a checksum, content hashes, the file state that shows whether a file
changed, checks of free space and canonical JSON belong here. The content of files does not.
"""
