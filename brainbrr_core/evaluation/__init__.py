"""What a run is worth: its figures on a split with their intervals, the report, comparisons.

Here belong the choice of what is scored, confidence intervals of every figure, the report with
its tables and pictures, the record of who scored eval, and the comparison of two runs. The rules
themselves belong to ``scoring``, events to ``detection``, the network on a recording to
``prediction``.
"""
