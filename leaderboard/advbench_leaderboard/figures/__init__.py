"""Figures as SVG: geometry in attributes, colours by CSS classes, titles and axes in words."""
