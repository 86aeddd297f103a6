"""One cache on several machines: shards pushed, pulled, exported and imported, all verified.

The remote copy of a cache (its catalog and its objects), the check of who can read it, and archives
belong here. What a shard or a version is, and where it is stored, belongs to ``cache``.
"""
