"""Source catalogues: positions and sizes in known units, and every other column as it came."""

from radiossl.survey.catalogue.ids import position_ids, unique_ids
from radiossl.survey.catalogue.reading import Catalogue, positions_in, read_catalogue, without_clashes

__all__ = ["Catalogue", "position_ids", "positions_in", "read_catalogue", "unique_ids", "without_clashes"]
