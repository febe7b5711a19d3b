"""``shorematch report``: run folders as one page and as the files of a paper."""
