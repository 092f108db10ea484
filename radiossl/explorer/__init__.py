"""The web page: a map of many sources, what each looks like, its neighbours, and a person's ratings and selections."""
