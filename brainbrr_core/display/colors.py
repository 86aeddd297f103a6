"""The palette of Okabe and Ito (2008), whose colors stay distinct for color-blind readers."""

from __future__ import annotations

BLUE = "#0072B2"
SKY_BLUE = "#56B4E9"
GREEN = "#009E73"
ORANGE = "#E69F00"
VERMILLION = "#D55E00"
PURPLE = "#CC79A7"
GRAY = "#999999"
