"""Methods of self-supervised learning, one a file; `registry` has them by the names that recipes use."""
