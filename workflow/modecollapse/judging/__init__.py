"""Side-by-side comparisons: whose answer to a prompt is better, as judges of several kinds see it."""
