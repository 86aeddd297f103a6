"""Places reached over a network: their addresses, what each can do, repetition after a failure.

Here belongs whatever talks to a bucket or a share, whoever asks for it. What is kept there belongs
elsewhere: EDFs to ``corpus``, copies of a store to ``transfer``. Credentials come from the
ordinary AWS chain and never stand in an address or in what is printed.
"""
