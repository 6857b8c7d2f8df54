"""How things are drawn: shapes with named colours, as SVG for pages and as pixels for viewers."""
