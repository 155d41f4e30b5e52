"""The tour: it walks from a spike to the lines by itself, says where to look, and which hop is broken."""
