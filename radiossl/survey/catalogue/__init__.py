"""Source catalogues: positions and sizes in known units, and every other column as it came."""

from radiossl.survey.catalogue.reading import (
    Catalogue,
    position_ids,
    positions_in,
    read_catalogue,
    unique_ids,
    without_clashes,
)

__all__ = ["Catalogue", "position_ids", "positions_in", "read_catalogue", "unique_ids", "without_clashes"]
