"""Remote locations: their addresses, what can be done with each kind, and retries.

Code that talks to a bucket or a network share belongs here, whichever package uses it. What is
stored there belongs elsewhere: EDFs to ``corpus``, copies of a cache to ``transfer``. Credentials
come from the usual AWS chain and never appear in an address or in output.
"""
