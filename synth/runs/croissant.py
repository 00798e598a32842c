"""A run's rows as Croissant 1.0, the JSON-LD by which catalogues read data sets (mlcommons.org)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from synth.core.errors import printable
from synth.core.records import Fields
from synth.runs.ownership import digest

# Terms of the specification that the file uses.
_CONTEXT: Fields = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_PARQUET = "application/x-parquet"


def croissant_of(folder: Path, run: Fields) -> Fields:
    """The description of a run's kept rows: each file with its hash, each file's rows with their
    columns.

    Columns of objects (`meta`) are left out: the files hold them all the same.

    Args:
        folder: of a published run.
        run: its run.json, with what `synth card` adds.

    Returns:
        The content of `croissant.json`.
    """
    pack = run["pack"]
    shared = run.get("sharing") or {}
    files = sorted((folder / "data").glob("*.parquet"))
    made: Fields = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": pack["name"],
        "description": printable(pack["about"]),
        "version": f"{pack['version']}.0.0",
        "distribution": [_file(path) for path in files],
        "recordSet": [_records(path) for path in files],
    }
    if shared.get("license"):
        made["license"] = shared["license"]
    if shared.get("languages"):
        made["inLanguage"] = list(shared["languages"])
    return made


def _file(path: Path) -> Fields:
    return {
        "@type": "cr:FileObject",
        "@id": path.stem,
        "name": path.name,
        "contentUrl": f"data/{path.name}",
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": _PARQUET,
        "sha256": digest(path),
    }


def _records(path: Path) -> Fields:
    """The rows of one file."""
    schema = pq.read_schema(path)
    return {
        "@type": "cr:RecordSet",
        "@id": f"{path.stem}-rows",
        "name": f"{path.stem}-rows",
        "field": list(_fields(path.stem, schema)),
    }


def _fields(file: str, schema: pa.Schema) -> Iterator[Fields]:
    for column in schema:
        kind = column.type
        repeated = pa.types.is_list(kind)
        data_type = _data_type(kind.value_type if repeated else kind)
        if data_type is None:
            continue
        field: Fields = {
            "@type": "cr:Field",
            "@id": f"{file}-rows/{column.name}",
            "name": f"{file}-rows/{column.name}",
            "dataType": data_type,
            "source": {
                "fileObject": {"@id": file},
                "extract": {"column": column.name},
            },
        }
        if repeated:
            field["repeated"] = True
        yield field


def _data_type(kind: pa.DataType) -> str | None:
    """The word of schema.org for plain values; None for others."""
    if pa.types.is_string(kind):
        return "sc:Text"
    if pa.types.is_boolean(kind):
        return "sc:Boolean"
    if pa.types.is_integer(kind):
        return "sc:Integer"
    return "sc:Float" if pa.types.is_floating(kind) else None
