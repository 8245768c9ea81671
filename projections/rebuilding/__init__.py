"""How each derived table is filled anew beside the one in use, and put in its place."""
