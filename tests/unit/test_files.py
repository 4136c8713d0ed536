"""Columns in and out of files."""

from __future__ import annotations

import csv
import gzip
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pytest

from tiltz.errors import FileError, InputError, MissingExtraError
from tiltz.files import expand, json_ready, natural_order, open_table, write_columns, write_rows
from tiltz.files import jsonl as jsonl_module
from tiltz.files import opening as opening_module
from tiltz.files import writing as writing_module
from tiltz.files.sql import reason

HOSTILE = ["2024-01-01", "007", "a\nb\"'; DROP TABLE jsonl; --", "\U0001f600\x01\t", "", "nan", "{}"]
COLUMNS = {
    "prompt": HOSTILE,
    "reward": [1.0, float("nan"), float("-inf"), float("inf"), 0.0, -1.5, 1e300],
    'he"llo; [x]': list(range(7)),
    "done": [True, False, None, True, False, True, True],
    "flags": [["a"], [], ["b", "c"], None, ["d"], [], []],
    "chat": [[{"role": "user", "content": text}] for text in HOSTILE],
}
SUFFIXES = ["parquet", "jsonl", "csv", "jsonl.gz", "csv.gz", "jsonl.zst", "csv.zst"]


def rows_of(path: object) -> list[tuple]:
    table = open_table(expand(str(path)), text_columns={"prompt"})
    names = ", ".join('"' + name.replace('"', '""') + '"' for name in table.columns)
    return table.query(f'SELECT {names} FROM {table.relation} ORDER BY "tiltz:position"')


def column_of(path: object, name: str) -> list:
    table = open_table(expand(str(path)), text_columns={"prompt"})
    return [row[list(table.columns).index(name)] for row in rows_of(path)]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_columns_survive_writing_and_reading(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    write_columns(COLUMNS, path)
    assert column_of(path, "prompt") == HOSTILE
    np.testing.assert_array_equal(np.array(column_of(path, "reward"), float), COLUMNS["reward"])
    assert column_of(path, 'he"llo; [x]') == list(range(7))
    assert column_of(path, "done") == COLUMNS["done"]
    if "csv" not in suffix:
        assert column_of(path, "flags") == COLUMNS["flags"]
        assert column_of(path, "chat") == COLUMNS["chat"]
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize(
    "name", ["a'b [x].parquet", "a*b?.jsonl", "[].csv", 'q"uote.jsonl', "é \U0001f600.csv"]
)
def test_a_file_name_is_taken_as_it_is(tmp_path, name):
    write_columns({"x": [1, 2]}, tmp_path / name)
    write_columns({"x": [3]}, tmp_path / ("axb1." + name.rsplit(".", 1)[1]))
    assert column_of(tmp_path / name, "x") == [1, 2]


def test_json_lines_hold_no_literals_that_json_lacks(tmp_path):
    columns = {"x": [float("nan"), float("-inf")], "deep": [[{"y": float("inf")}], [{"y": 1.0}]]}
    write_columns(columns, tmp_path / "x.jsonl")

    def refuse(literal):
        raise AssertionError(literal)

    lines = [
        json.loads(line, parse_constant=refuse) for line in (tmp_path / "x.jsonl").read_text().splitlines()
    ]
    assert lines == [{"x": "nan", "deep": [{"y": "inf"}]}, {"x": "-inf", "deep": [{"y": 1.0}]}]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("SELECT unnest(['nan'::DOUBLE, 1.0]) AS v", ["nan", 1.0]),
        ("SELECT unnest([['nan'::DOUBLE, 2.0], NULL]) AS v", [["nan", 2.0], None]),
        ("SELECT unnest([{'a': 'inf'::DOUBLE}, {'a': 2.5}]) AS v", [{"a": "inf"}, {"a": 2.5}]),
        ("SELECT unnest([[{'a': '-inf'::FLOAT, 'b': 'NaN'}], []]) AS v", [[{"a": "-inf", "b": "NaN"}], []]),
        ("SELECT unnest([[1.5, NULL, 'nan'::DOUBLE], [NULL]]) AS v", [[1.5, None, "nan"], [None]]),
        ("SELECT unnest([MAP {'k': 'nan'::DOUBLE, 'l': NULL}, NULL]) AS v", [{"k": "nan", "l": None}, None]),
        ("SELECT unnest([{'a': [0.5, NULL]}, {'a': NULL}]) AS v", [{"a": [0.5, None]}, {"a": None}]),
    ],
)
def test_rows_written_as_json_lines_hold_no_such_literals(tmp_path, written, expected):
    duckdb.connect().execute(f"COPY ({written}) TO '{tmp_path}/in.parquet'")
    table = open_table([str(tmp_path / "in.parquet")])
    write_rows(table, np.array([1, 0, 1]), tmp_path / "out.jsonl", columns={"w": [1, 2, 3]})
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert found == [{"v": expected[i], "w": w} for w, i in ((1, 1), (2, 0), (3, 1))]
    write_rows(table, np.array([0, 1]), tmp_path / "out.csv", columns={"w": [1, 2]})
    with open(tmp_path / "out.csv", newline="") as stream:
        cells = [row["v"] for row in csv.DictReader(stream)]
    for cell, value in zip(cells, expected, strict=True):
        assert cell == ("" if value is None else str(value)) or json.loads(cell) == value


@pytest.mark.parametrize("suffix", ["jsonl", "parquet", "csv"])
def test_columns_of_several_kinds_keep_their_values(tmp_path, suffix):
    values = {"answer": [4, "x", None, True], "list": [[1, "a"], [None], [], [{"b": 2}]], "none": [{}] * 4}
    rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = open_table([str(tmp_path / "in.jsonl")])
    write_rows(table, np.arange(4), tmp_path / f"out.{suffix}")
    again = open_table([str(tmp_path / f"out.{suffix}")])
    if suffix == "jsonl":
        assert [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()] == rows
    else:
        found = [row[0] for row in again.query(f"SELECT answer FROM {again.relation}")]
        assert found == ["4", "x", None, "true"]
    if suffix == "parquet":
        write_rows(again, np.arange(4), tmp_path / "again.jsonl", columns={"answer": values["answer"]})
        lines = [json.loads(line) for line in (tmp_path / "again.jsonl").read_text().splitlines()]
        assert [line["list"] for line in lines] == values["list"]


@pytest.mark.parametrize("nested", [True, False])
def test_keys_that_change_from_row_to_row_are_no_columns(tmp_path, nested):
    key = "a-{}"
    mapping = [{key.format(i): i} for i in range(1000)]
    rows = [{"i": i, "meta": [one] if nested else one} for i, one in enumerate(mapping)]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = open_table([str(tmp_path / "x.jsonl")])
    assert table.columns == {"i": "BIGINT", "meta": "JSON[]" if nested else "JSON"}
    write_rows(table, np.array([7, 8]), tmp_path / "out.jsonl")
    assert [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()] == rows[7:9]


def test_rows_without_common_columns_are_refused(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps({"a": 1, f"k{i}": 1}) + "\n" for i in range(6000)))
    with pytest.raises(FileError, match=r"at most 5000; found 6001 different keys"):
        open_table([str(path)])


def test_parquet_keeps_metadata(tmp_path):
    write_columns({"x": [1]}, tmp_path / "x.parquet", metadata={"ref_id": 'it\'s "me"', "k'ey": "v"})
    assert open_table([str(tmp_path / "x.parquet")]).metadata == ({"ref_id": 'it\'s "me"', "k'ey": "v"},)


def test_python_literals_and_words_in_json_lines_are_numbers(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"r": NaN}\n{"r": -Infinity}\n{"r": "-inf"}\n{"r": "nan"}\n{"r": 2}\n{"r": null}\n')
    table = open_table([str(path)])
    assert table.columns == {"r": "DOUBLE"}
    found = [row[0] for row in table.query(f"SELECT r FROM {table.relation}")]
    np.testing.assert_array_equal(np.array(found[:5], float), [np.nan, -np.inf, -np.inf, np.nan, 2])
    assert found[5] is None


def test_every_row_counts_for_the_types_and_columns(tmp_path):
    path = tmp_path / "x.jsonl"
    lines = [{"a": i} for i in range(30_000)] + [
        {"a": 0.5, "late": "yes"},
        {"a": 1, "chat": [{"role": "user"}]},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert open_table([str(path)]).columns == {
        "a": "DOUBLE",
        "late": "VARCHAR",
        "chat": 'STRUCT("role" VARCHAR)[]',
    }


def test_text_stays_text(tmp_path):
    write_columns(
        {"a": ["2024-01-01"], "b": ["6ba7b810-9dad-11d1-80b4-00c04fd430c8"], "c": ["7"]}, tmp_path / "x.jsonl"
    )
    assert set(open_table([str(tmp_path / "x.jsonl")]).columns.values()) == {"VARCHAR"}


def test_csv_columns_are_numbers_only_if_all_values_are_written_as_one(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(
        "prompt,zip,n,x,b,d\n1,007,1,1.5,True,2024-01-01\n2,008,-2,-inf,false,2024-01-02\n3,9,,nan,,\n"
    )
    table = open_table([str(path)], text_columns={"prompt"})
    assert list(table.columns.values()) == ["VARCHAR", "VARCHAR", "BIGINT", "DOUBLE", "BOOLEAN", "VARCHAR"]


def test_blank_lines_count_for_line_numbers_and_not_as_rows(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('\ufeff{"a": 1}\r\n\r\n   \n{"a": 2}', encoding="utf-8", newline="")
    table = open_table([str(path)])
    rows = table.query(f'SELECT a, "tiltz:row" FROM {table.relation} ORDER BY 2')
    assert rows == [(1, 0), (2, 3)]
    assert table.place(0, 3) == f"{str(path)!r}, line 4"


def test_large_integers_are_read(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"n": 18446744073709551615, "m": 9223372036854775808}\n{"n": 0, "m": -1}\n')
    assert rows_of(path) == [(2**64 - 1, 2**63), (0, -1)]
    (tmp_path / "x.csv").write_text(f"n,m\n{2**63 - 1},{2**62}\n{-(2**63)},{2**62 + 1}\n")
    assert rows_of(tmp_path / "x.csv") == [(2**63 - 1, 2**62), (-(2**63), 2**62 + 1)]


def test_halves_of_characters_stay_apart(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"p": "\\ud800x"}\n{"p": "\\ud801x"}\n{"p": "\\ud83d\\ude00"}\n')
    expected = ["\\ud800x", "\\ud801x", "\U0001f600"]
    assert column_of(path, "p") == expected
    write_columns({"p": ["\ud800x", "\ud801x", "\U0001f600"], "n": [["\ud800"]] * 3}, tmp_path / "y.parquet")
    assert rows_of(tmp_path / "y.parquet") == [(text, ["\\ud800"]) for text in expected]


def test_literals_of_python_are_never_written(tmp_path, monkeypatch):
    monkeypatch.setattr(jsonl_module, "_REPAIRED_AT_ONCE", 3)
    path, out = tmp_path / "x.jsonl", tmp_path / "out.jsonl"
    mixed = ["NaN", '"a"', '["b", -Infinity]', '{"c": Infinity}', "null"]
    path.write_text("".join(f'{{"i": {i}, "x": NaN, "m": {mixed[i % 5]}}}\n' for i in range(20)))
    table = open_table([str(path)])
    assert table.columns == {"i": "BIGINT", "x": "DOUBLE", "m": "JSON"}
    write_rows(table, np.arange(20), out)
    lines = [json.loads(line, parse_constant=pytest.fail) for line in out.read_text().splitlines()]
    expected = ["nan", "a", ["b", "-inf"], {"c": "inf"}, None]
    assert lines == [{"i": i, "x": "nan", "m": expected[i % 5]} for i in range(20)]


def test_a_file_is_read_once_under_whatever_names(tmp_path, monkeypatch):
    (tmp_path / "1.jsonl").write_text('{"a": 1}\n')
    (tmp_path / "latest.jsonl").symlink_to("1.jsonl")
    monkeypatch.chdir(tmp_path)
    for path in (["1.jsonl", "./1.jsonl"], ["1.jsonl", tmp_path], tmp_path, "*.jsonl"):
        assert [os.path.basename(file) for file in expand(path)] == ["1.jsonl"]
    assert expand("latest.jsonl") == ("latest.jsonl",)


def test_files_are_read_in_natural_order_with_columns_by_name(tmp_path):
    for i in (10, 9, 1):
        (tmp_path / f"{i}.jsonl").write_text(
            json.dumps({"step": i} | ({"late": True} if i == 10 else {})) + "\n"
        )
    (tmp_path / "config.json").write_text("{}")
    files = expand(tmp_path)
    assert [os.path.basename(file) for file in files] == ["1.jsonl", "9.jsonl", "10.jsonl"]
    assert rows_of(tmp_path) == [(1, None), (9, None), (10, True)]
    assert expand(str(tmp_path / "1*.jsonl")) == (files[0], files[2])
    assert expand([files[0], tmp_path]) == files
    assert sorted(["a10b2", "a10b1", "a9"], key=natural_order) == ["a9", "a10b1", "a10b2"]


def test_parquet_files_with_the_engines_own_column_names(tmp_path):
    for i in (1, 2):
        write_columns({"file_row_number": [7, 8], "x": [i, i]}, tmp_path / f"{i}.parquet")
    table = open_table(expand(tmp_path))
    hidden = table.query(
        f'SELECT "tiltz:file", "tiltz:row", file_row_number FROM {table.relation} ORDER BY 1, 2'
    )
    assert hidden == [(0, 0, 7), (0, 1, 8), (1, 0, 7), (1, 1, 8)]


@pytest.mark.parametrize("stream", [True, False])
def test_arrow_files(tmp_path, stream):
    pa = pytest.importorskip("pyarrow")
    table = pa.table(
        {"p": ["a", "b"], "chat": [[{"role": "u", "content": "x"}], None], "r": [1.0, float("nan")]}
    )
    for i in (0, 1):
        opener = pa.ipc.new_stream if stream else pa.ipc.new_file
        with pa.OSFile(str(tmp_path / f"{i}.arrow"), "wb") as sink, opener(sink, table.schema) as writer:
            writer.write_table(table)
    assert column_of(tmp_path, "p") == ["a", "b", "a", "b"]
    assert column_of(tmp_path, "chat")[0] == [{"role": "u", "content": "x"}]


def test_arrow_without_pyarrow_names_the_install_command(tmp_path, monkeypatch):
    (tmp_path / "x.arrow").write_bytes(b"ARROW1\0\0")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"tiltz\[arrow\]"):
        open_table([str(tmp_path / "x.arrow")])


def bad(tmp_path: Path, name: str, content: bytes) -> str:
    (tmp_path / name).write_bytes(content)
    return str(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.jsonl", b"", "is empty"),
        ("x.parquet", b"", "is empty"),
        ("x.jsonl", b"\n\n", "at least one line"),
        ("x.jsonl", b'{"a": 1}\n{"a": 2\n', "line 2 must be one complete JSON object"),
        ("x.jsonl", b'{"a": 1}\n\n{"a": "x}\n', "line 3 must be"),
        ("x.jsonl", b'{"a": 1}\n[1]\n', "line 2 must be a JSON object"),
        ("x.json", b'[\n{"a": 1}\n]\n', "one JSON array"),
        ("x.jsonl", b'{"a": "\xff"}\n', "cannot be read as lines of JSON"),
        ("x.jsonl", b'{"a": 1, "b": 0}\n\n{"A": 2}\n', "found 'a' in '.*', line 1 and 'A' in '.*', line 3"),
        ("x.jsonl", b'{"a": 1}\n{"a": 2, "": 2}\n', "an empty key in '.*', line 2"),
        ("x.jsonl", b'{"a": 1}\n{"a": 2, "b": 1, "a": 2}\n', "found 'a' 2 times in '.*', line 2"),
        ("x.jsonl", b'{"a": "\\ud800", "b": {"c": 2, "c": 1}}\n', "line 1 .* the key 'c' 2 times"),
        ("x.jsonl", b'{"a": 1}\x01{"a": 2}\n', "line 1 .* Extra data at character 9, near"),
        ("x.jsonl", b'{"a": "x\x01y"}\n', "line 1 .* Invalid control character at character 9, near"),
        ("x.jsonl", b'{"a": ' + b"[" * 500 + b"]" * 500 + b"}\n", "maximum recursion depth of 128"),
        ("x.csv", b"a,b,A\n1,2,3\n", "found 'a' and 'A'"),
        ("x.csv", b'"a\nb",c," c"\n1,2,3\n', "found 'c' and 'c'"),
        ("x.csv", b"a;b\n1;2\n", r"separated by commas; its header 'a;b' .* by ';'"),
        ("x.csv", b"a;b\n1,5;2\n", r"separated by ';'"),
        ("x.csv", b"a\tb\n1\t2\n", "separated by a tab"),
        ("x.csv", b'a,b\n1,2\n"3\n\n4",5,6\n', "line 3 has 3 columns where the header has 2"),
        ("x.csv", b'a,b\n1,"2\n', "unterminated quote"),
        ("x.csv", "a,b\né,2\n".encode("latin-1"), "line 2, Invalid unicode"),
        ("x.jsonl", b"PAR1abcPAR1", "are those of parquet"),
        ("x.jsonl", gzip.compress(b'{"a": 1}\n', mtime=0), "are those of gzip"),
        ("x.jsonl.gz", b'{"a": 1}\n', "are those of text"),
        ("x.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 9999, mtime=0)[:-20], "truncated gzip"),
        ("x.parquet", b'{"a": 1}\n', "are those of text"),
        ("x.parquet", b"PAR1 and no more", "truncated Parquet"),
        ("x.parquet", b"PAR1 and garbage PAR1", "x.parquet"),
        ("x.arrow", b"ARROW1 and garbage", "cannot be read as an Arrow file"),
        ("x.csv", b"a,b\n1,2\n1,2,3\n", "cannot be read as CSV: line 3 has 3 columns where the header has 2"),
        ("x.csv", b"a,b\n", "at least one row"),
        ("x.xlsx", b"a", "does not say its format"),
        ("x", b"a", "does not say its format"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path, name, content, said):
    path = bad(tmp_path, name, content)
    with pytest.raises(FileError, match=said) as caught:
        open_table(expand(path))
    assert path in str(caught.value)
    assert "\n" not in str(caught.value)


# A frame with a checksum, one without, one that is a repeated line break, and one to skip.
CHECKED = bytes.fromhex("28b52ffd24094900007b2261223a20317d0a3387dfc3")
UNCHECKED = bytes.fromhex("28b52ffd20094900007b2261223a20317d0a")
REPEATED = bytes.fromhex("28b52ffd2014a300000a")
SKIPPED = bytes.fromhex("502a4d1803000000") + b"abc"


@pytest.mark.parametrize("name", ["x.jsonl.gz", "x.jsonl.zst", "x.csv.gz", "x.csv.zst"])
def test_a_compressed_file_that_breaks_off_is_refused(tmp_path, name):
    write_columns({"a": list(range(400)), "b": [f"{i**9:x}" for i in range(400)]}, tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    assert len(column_of(tmp_path / name, "a")) == 400
    for cut in [*range(5, len(whole), 97), len(whole) - 1]:
        path = bad(tmp_path, name, whole[:cut])
        with pytest.raises(FileError, match=r"truncated (gzip|zstd) file"):
            open_table([path])


def test_every_cut_inside_a_zstd_frame_is_found(tmp_path):
    frames = [CHECKED, SKIPPED, UNCHECKED, REPEATED, CHECKED]
    whole = b"".join(frames)
    assert column_of(bad(tmp_path, "x.jsonl.zst", whole), "a") == [1, 1, 1]
    ends = set(np.cumsum([len(frame) for frame in frames]).tolist())
    for cut in set(range(4, len(whole))) - ends:
        with pytest.raises(FileError, match="truncated zstd file"):
            open_table([bad(tmp_path, "x.jsonl.zst", whole[:cut])])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "x.jsonl.gz",
            gzip.compress(b'{"a": 1}\n', mtime=0)[:-8] + bytes(8),
            "damaged gzip file: CRC check failed",
        ),
        ("x.jsonl.gz", gzip.compress(b'{"a": 1}\n', mtime=0) + b"more", "damaged gzip file"),
        ("x.jsonl.zst", UNCHECKED + b"more", r"damaged zstd file: a frame must begin at byte 18"),
        ("x.jsonl.zst", UNCHECKED[:6] + b"\x07" + UNCHECKED[7:], "damaged zstd file: .* no known type"),
        ("x.jsonl.zst", CHECKED[:-1] + b"\0", "doesn't match checksum"),
    ],
)
def test_a_compressed_file_that_is_damaged_is_refused(tmp_path, name, content, said):
    with pytest.raises(FileError, match=said):
        open_table([bad(tmp_path, name, content)])


def test_a_gzip_file_may_have_several_members(tmp_path):
    content = gzip.compress(b'{"a": 1}\n', mtime=0) + gzip.compress(b"") + gzip.compress(b'{"a": 2}\n')
    assert column_of(bad(tmp_path, "x.jsonl.gz", content), "a") == [1, 2]


def test_columns_named_alike_are_refused_in_parquet_and_arrow_files(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    table = pa.table({"nest": [{"Reward": 1, "deep": [{"reward": 2}]}], "Reward": [1.0], "reward": [2.0]})
    pq.write_table(table, tmp_path / "x.parquet")
    with pa.OSFile(str(tmp_path / "x.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    for name in ("x.parquet", "x.arrow"):
        with pytest.raises(FileError, match=f"found 'Reward' and 'reward' in '.*{name}'"):
            open_table([str(tmp_path / name)])
    pq.write_table(table.drop_columns(["Reward"]), tmp_path / "x.parquet")
    assert column_of(tmp_path / "x.parquet", "reward") == [2.0]


def test_keys_of_nested_objects_that_cannot_be_columns_stay_json(tmp_path):
    rows = [{"m": {"a": 1, "A": 2, "": 3}, "n": [{"x": {}}]}, {"m": {"a": 1}, "n": [{"x": {"y": 1}}]}]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = open_table([str(tmp_path / "x.jsonl")])
    assert table.columns == {"m": "JSON", "n": "STRUCT(x JSON)[]"}
    write_rows(table, np.arange(2), tmp_path / "out.jsonl")
    assert [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()] == rows


def test_text_and_chat_messages_in_two_files_are_not_mixed(tmp_path):
    write_columns({"p": ["a"]}, tmp_path / "1.parquet")
    write_columns({"p": [[{"role": "user"}]]}, tmp_path / "2.parquet")
    table = open_table(expand(tmp_path))
    with pytest.raises(
        FileError, match=r"'p' is VARCHAR in '.*1.parquet' and STRUCT.* in another of 2 files"
    ):
        table.query(f"SELECT p FROM {table.relation}")


def test_a_column_of_csv_may_be_named_like_a_row_number_of_the_engine(tmp_path):
    (tmp_path / "x.csv").write_text("rowid,c0, prompt\na,b,c\nd,e,f\n")
    table = open_table([str(tmp_path / "x.csv")])
    assert list(table.columns) == ["rowid", "c0", "prompt"]
    assert table.query(f'SELECT *, "tiltz:row" FROM {table.relation}')[1][:4] == ("d", "e", "f", 0)


def test_a_file_name_that_is_no_text_is_refused(tmp_path):
    name = str(tmp_path / "x\udcff.jsonl")
    with open(name, "w") as stream:
        stream.write('{"a": 1}\n')
    with pytest.raises(FileError, match=r"must be valid UTF-8; found '.*x\\udcff.jsonl'"):
        open_table([name])
    with pytest.raises(FileError, match="must be valid UTF-8"):
        write_columns({"a": [1]}, name)


class Failing:
    """A connection in which the queries that begin with some words fail."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, **failures: Exception) -> None:
        self.connection, self.failures = connection, failures

    def execute(self, sql: str, *parameters: object) -> object:
        if sql.split()[0] in self.failures:
            raise self.failures[sql.split()[0]]
        return self.connection.execute(sql, *parameters)

    def __getattr__(self, name: str) -> object:
        return getattr(self.connection, name)


# What the engine raises when Ctrl-C is pressed.
INTERRUPTED = RuntimeError("Query interrupted")


def test_an_interrupted_query_is_a_keyboard_interrupt_and_leaves_nothing(tmp_path, monkeypatch):
    write_columns({"a": [1, 2]}, tmp_path / "x.jsonl")
    table = open_table([str(tmp_path / "x.jsonl")])
    with pytest.raises(KeyboardInterrupt):
        replace(table, connection=Failing(table.connection, SELECT=INTERRUPTED)).query("SELECT 1")
    with pytest.raises(KeyboardInterrupt):
        replace(table, connection=Failing(table.connection, SELECT=INTERRUPTED)).arrays("SELECT 1")
    slow = replace(table, connection=Failing(table.connection, COPY=INTERRUPTED))
    with pytest.raises(KeyboardInterrupt):
        write_rows(slow, np.array([0]), tmp_path / "y.jsonl")
    monkeypatch.setattr(opening_module, "connect", lambda: Failing(duckdb.connect(), INSERT=INTERRUPTED))
    with pytest.raises(KeyboardInterrupt):
        open_table([str(tmp_path / "x.jsonl")])
    assert os.listdir(tmp_path) == ["x.jsonl"]
    assert table.query("SELECT 1") == [(1,)]


@pytest.mark.parametrize("path", ["nothing.jsonl", "no/folder", "*.parquet"])
def test_what_is_not_there_is_refused(tmp_path, path):
    with pytest.raises(FileError, match=r"does not exist|no data file matches"):
        expand(tmp_path / path)


def test_a_folder_without_data_is_refused(tmp_path):
    (tmp_path / "README.md").write_text("x")
    with pytest.raises(FileError, match="holds no data file"):
        expand(tmp_path)
    with pytest.raises(FileError, match="at least one"):
        expand([])


def test_formats_are_not_mixed(tmp_path):
    write_columns({"x": [1]}, tmp_path / "x.parquet")
    write_columns({"x": [1]}, tmp_path / "x.jsonl")
    with pytest.raises(FileError, match="one format; found jsonl and parquet"):
        open_table(expand(tmp_path))


def test_permission_denied_is_said(tmp_path, monkeypatch):
    write_columns({"x": [1]}, tmp_path / "x.jsonl")

    def deny(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", deny)
    with pytest.raises(FileError, match="Permission denied"):
        open_table([str(tmp_path / "x.jsonl")])


@pytest.mark.parametrize("name", ["x.txt", "x.arrow", "x", "no/x.csv", "x.parquet.gz"])
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_written(tmp_path, name):
    with pytest.raises(FileError, match=r"must say the format|does not exist"):
        write_columns({"x": [1]}, tmp_path / name)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "failure", [KeyboardInterrupt, duckdb.IOException("IO Error: disk full"), OSError(28, "full")]
)
def test_nothing_half_written_is_left(tmp_path, monkeypatch, failure):
    (tmp_path / "x.jsonl").write_text("old")

    def fail(*args):
        raise failure

    monkeypatch.setattr(writing_module.os, "replace", fail)
    with pytest.raises(KeyboardInterrupt if failure is KeyboardInterrupt else FileError):
        write_columns({"x": [1]}, tmp_path / "x.jsonl")
    assert os.listdir(tmp_path) == ["x.jsonl"]
    assert (tmp_path / "x.jsonl").read_text() == "old"


def test_a_full_disk_is_said(tmp_path):
    error = duckdb.IOException(
        'IO Error: Async write failed for range [offset=0, size=9]: {"exception_type":"IO","exception_message":'
        '"Could not write file \\"/x/.y.part\\": No space left on device","errno":"28"}'
    )
    assert reason(error) == "No space left on device"


def test_an_error_of_writing_is_not_hidden_by_cleaning_up(tmp_path):
    write_columns({"x": [1, 2]}, tmp_path / "x.parquet")
    table = open_table([str(tmp_path / "x.parquet")])
    failing = Failing(table.connection, COPY=duckdb.IOException("first"), DROP=duckdb.Error("second"))
    with pytest.raises(FileError, match=r"y.jsonl' cannot be written: first\."):
        write_rows(replace(table, connection=failing), np.array([0]), tmp_path / "y.jsonl")
    assert os.listdir(tmp_path) == ["x.parquet"]


def test_columns_named_alike_cannot_be_written(tmp_path):
    with pytest.raises(InputError, match="found 'a' and 'A'"):
        write_columns({"a": [1], "A": [2]}, tmp_path / "x.jsonl")
    write_columns({"pick": [2, 1]}, tmp_path / "x.jsonl")
    assert column_of(tmp_path / "x.jsonl", "pick") == [2, 1]


def test_columns_of_different_length_are_refused(tmp_path):
    with pytest.raises(InputError, match="one length"):
        write_columns({"x": [1], "y": [1, 2]}, tmp_path / "x.jsonl")
    with pytest.raises(InputError, match="at least one column"):
        write_columns({}, tmp_path / "x.jsonl")


def test_an_empty_table_can_be_written(tmp_path):
    write_columns({"x": np.empty(0), "s": []}, tmp_path / "x.parquet")
    assert duckdb.sql(f"SELECT count(*) FROM '{tmp_path}/x.parquet'").fetchall() == [(0,)]


def test_a_file_can_be_written_over_the_one_that_was_read(tmp_path):
    write_columns({"x": [1, 2, 3]}, tmp_path / "x.parquet")
    table = open_table([str(tmp_path / "x.parquet")])
    write_rows(table, np.array([2, 2]), tmp_path / "x.parquet", columns={"X": [5, 6], "w": [0.5, 0.5]})
    assert rows_of(tmp_path / "x.parquet") == [(5, 0.5), (6, 0.5)]


def test_json_ready():
    value = {
        "a": np.float64("nan"),
        1: (np.int32(2), {3.5}),
        "b": np.array([[np.inf, 1.0]]),
        "c": np.bool_(True),
        "d": None,
    }
    assert json_ready(value) == {"a": "nan", "1": [2, [3.5]], "b": [["inf", 1.0]], "c": True, "d": None}


def test_pandas_and_pyarrow_are_not_needed(tmp_path):
    code = """
import sys
sys.modules["pandas"] = sys.modules["pyarrow"] = None
import numpy as np
from tiltz.files import expand, open_table, write_columns, write_rows
for name in ("x.parquet", "x.jsonl.zst", "x.csv"):
    path = f"{sys.argv[1]}/{name}"
    write_columns({"p": ["a", "b"], "r": np.array([np.nan, 1.0]), "l": [["x"], []]}, path)
    table = open_table(expand(path))
    write_rows(table, table.arrays(f'SELECT "tiltz:position" AS p FROM {table.relation}')["p"], path)
    assert table.query(f"SELECT count(*) FROM {table.relation}")== [(2,)]
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
