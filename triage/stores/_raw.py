"""Raw lines by DuckDB: quick, and not to be upset by whatever else stands in a file."""

import glob
import gzip
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from triage.stores import StoreError

_LONGEST = 2 * 1024 * 1024  # bytes; what is longer is none of our lines
_CHUNK = 1024 * 1024
_MOST_THREADS = 4  # each has a buffer

# The reader of CSV is the quickest way to lines: there is one column, for no line has its delimiter.
_LINES = f"""SELECT line FROM read_csv($files, columns={{'line': 'VARCHAR'}}, delim='\\x01', quote='', escape='',
    comment='', header=false, auto_detect=false, strict_mode=false, null_padding=true, ignore_errors=true,
    max_line_size={_LONGEST}, compression='auto_detect')
    UNION ALL SELECT line FROM rescued"""

# The reader of JSON is slower, and tells of every line whether it is one.
_OBJECTS = """SELECT CAST(json AS VARCHAR) AS line FROM read_ndjson_objects($files, ignore_errors=true)
    UNION ALL SELECT CASE WHEN json_valid(line) THEN line END FROM rescued"""


class RawLines:
    """The lines of some files, to be asked in SQL as the views `lines` and `objects`."""

    def __init__(self, files: Sequence[Path]) -> None:
        """Read `files`, and write nothing anywhere."""
        self.files = list(files)
        config: dict[str, Any] = {
            "threads": min(_MOST_THREADS, os.cpu_count() or 1),
            "temp_directory": "",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        self._database = duckdb.connect(":memory:", config=config)
        self._database.execute("SET preserve_insertion_order = false; SET enable_external_file_cache = false")
        self._database.execute("CREATE TEMP TABLE rescued (line VARCHAR)")

    def ask(self, query: str, **values: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query, in which `{lines}` and `{objects}` are what is read."""
        try:
            return self._ask(query, values)
        except duckdb.IOException as exc:
            if not self._rescue():
                msg = f"The files cannot be read: {str(exc).splitlines()[0]}"
                raise StoreError(msg) from None
            return self._ask(query, values)
        except duckdb.OutOfMemoryException:
            msg = "There is not enough memory for so many lines; name fewer files, or a shorter window."
            raise StoreError(msg) from None
        except duckdb.Error as exc:
            msg = f"DuckDB cannot read the files; name others: {str(exc).splitlines()[0]}"
            raise StoreError(msg) from None

    def _ask(self, query: str, values: Mapping[str, object]) -> list[tuple[Any, ...]]:
        sql = query.replace("{lines}", f"({_source(_LINES, self.files)})")
        sql = sql.replace("{objects}", f"({_source(_OBJECTS, self.files)})")
        read = {"files": [glob.escape(str(file)) for file in self.files]} if "$files" in sql else {}
        return self._database.execute(sql, {**values, **read}).fetchall()

    def _rescue(self) -> bool:
        """Take over the archives that DuckDB refuses because their end is still to come; say whether there are any."""
        cut = [file for file in self.files if file.suffix == ".gz" and not _whole(file)]
        for file in cut:
            self.files.remove(file)
            for text in _unpacked(file):
                lines = text.decode(errors="replace").splitlines()
                self._database.execute("INSERT INTO rescued SELECT unnest($lines)", {"lines": lines})
        return bool(cut)


def _source(query: str, files: Sequence[Path]) -> str:
    return query if files else "SELECT line FROM rescued"


def _whole(file: Path) -> bool:
    try:
        with gzip.open(file) as unpacked:
            while unpacked.read(_CHUNK):
                pass
    except (OSError, EOFError, zlib.error):
        return False
    return file.stat().st_size > 0  # DuckDB refuses an empty one, too


def _unpacked(file: Path) -> Iterator[bytes]:
    """Yield what can be had of an archive, up to where it breaks off, in chunks of whole lines."""
    rest = b""
    try:
        with gzip.open(file) as unpacked:
            while chunk := unpacked.read1(_CHUNK):
                head, newline, tail = (rest + chunk).rpartition(b"\n")
                if newline:
                    yield head
                rest = tail
    except gzip.BadGzipFile:
        msg = f"{file} is no archive of gzip; rename it, or name others."
        raise StoreError(msg) from None
    except (OSError, EOFError, zlib.error):
        pass
    yield rest
