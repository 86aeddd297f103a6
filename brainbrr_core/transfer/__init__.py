"""One cache on several machines: shards pushed, pulled, and carried in archives, all verified.

Here belong the remote copy of a store (its catalog and objects), who may read it, and archives.
What a shard is and where it lies belongs to ``cache``; what a version means, too.
"""
