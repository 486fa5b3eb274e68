"""One package a paper: title, arXiv number and normalisation, its checks, formulas and figures. All
are found by walking this folder."""
