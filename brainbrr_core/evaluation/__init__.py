"""Evaluation: the figures of a run on a split with their intervals, the report, comparisons.

This package chooses what is scored, computes confidence intervals of every figure, writes the
report with its tables and pictures, and compares two runs. The rules themselves are in ``scoring``,
events in ``detection``, and the network on a recording in ``prediction``.
"""
