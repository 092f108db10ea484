"""Feature tables: embedding, files, export and the index of nearest neighbours."""
