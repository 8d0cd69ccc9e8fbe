"""Others' data set files → episodes.h5 (`misodice convert`); docs/convert.md describes the layouts."""

from misodice.data.importers.base import Importer
from misodice.data.importers.recognise import FORMATS, importer_of

__all__ = ["FORMATS", "Importer", "importer_of"]
