"""Files of rows as people have them: any place, compression and encoding, and what their values
mean.
"""

from synth.core.lazy import public

__getattr__, __dir__ = public(
    __name__,
    {
        "columns": "column_hint",
        "files": "is_remote ending_of shown expand exists is_folder names_in opened encoding_of "
        "text_lines",
        "names": "is_a_path beside require_there",
        "parts": "POSITION PartSeeds part_file part_of write_parts",
        "readers": "rows_of check_source json_lines hub_rows split_of",
        "seeds": "BeyondFloat BeyondInt Scan Seeds read_rows whole_file write_jsonl json_line "
        "read_line",
        "tables": "rows_in chosen is_several",
        "values": "Base64 read_json plain",
    },
)
