import os
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridseg.errors import BadInput, MissingInput, WriteFailed
from hybridseg.io.images import encode_image
from hybridseg.io.tfrecords import (
    SAMPLE_TYPES,
    Record,
    RecordPlace,
    choose_encoding,
    decode_record,
    encode_record,
    read_record,
    scan_shard,
    write_shard,
)


def make_record(bands=3, dtype="uint8", *, source="photo", copy=1, rows=24, cols=32):
    """A smooth picture (as photographs are) and labels of all ids, VOID among them."""
    row, col = np.mgrid[:rows, :cols]
    waves = [100 + 60 * np.sin((row + 3 * band) / 9) + 40 * np.cos((col - 2 * band) / 11) for band in range(bands)]
    labels = ((row * cols + col) % 256).astype(np.uint8)
    return Record(np.stack(waves, -1).astype(dtype), labels, source, copy)


def damaged(record=None, **features):
    """The bytes of a record of which some features are others, or not there."""
    import tensorflow as tf

    example = tf.train.Example.FromString(encode_record(record or make_record()))
    for name, values in features.items():
        example.features.feature[name].Clear()
        if values is None:
            del example.features.feature[name]
        elif isinstance(values[0], bytes):
            example.features.feature[name].bytes_list.value.extend(values)
        else:
            example.features.feature[name].int64_list.value.extend(values)
    return example.SerializeToString()


@pytest.fixture
def shard(tmp_path):
    path = tmp_path / "a.tfrec"
    return path, write_shard(path, [make_record(copy=copy) for copy in range(3)])


@pytest.mark.slow
@pytest.mark.parametrize("dtype", SAMPLE_TYPES)
@pytest.mark.parametrize("bands", [1, 2, 3, 4, 5])
def test_what_is_written_is_read(bands, dtype):
    record = make_record(bands, dtype, source="na\udce9me", copy=7)
    again = decode_record(encode_record(record))
    assert again.image.shape == record.image.shape and again.image.dtype == record.image.dtype
    assert (again.source, again.copy) == ("na\udce9me", 7)
    np.testing.assert_array_equal(again.labels, record.labels)
    if dtype == "uint8" and bands in (1, 3, 4):
        assert np.abs(again.image.astype(int) - record.image).max() <= 6
    else:
        np.testing.assert_array_equal(again.image, record.image)


def test_only_what_a_jpeg_holds_is_jpeg():
    kinds = {(b, t): choose_encoding((8, 8, b), t) for b in range(1, 6) for t in ("uint8", "uint16", "float32")}
    assert {key for key, kind in kinds.items() if kind == "jpeg"} == {(1, "uint8"), (3, "uint8"), (4, "uint8")}
    assert choose_encoding((1, 70_000, 3), "uint8") == "zlib", "a JPEG has no such side"


def test_narrow_colours_survive():
    """One red column on blue: with subsampled colour it would be a blur."""
    image = np.zeros((16, 16, 3), np.uint8)
    image[..., 2], image[:, 7] = 200, (200, 0, 0)
    again = decode_record(encode_record(Record(image, np.zeros((16, 16), np.uint8), "a", 1))).image
    assert again[:, 7, 0].min() > 150 and again[:, 6, 0].max() < 50


def test_big_endian_and_strided_images_are_stored_as_they_look():
    record = make_record(5, "uint16")
    for image in (record.image.astype(">u2"), np.asfortranarray(record.image)):
        again = decode_record(encode_record(replace(record, image=image))).image
        np.testing.assert_array_equal(again, record.image)
        assert again.dtype == np.uint16


@pytest.mark.parametrize(
    "change",
    [
        {"image": np.zeros((4, 4, 3), np.int64)},
        {"image": np.zeros((4, 4), np.uint8)},
        {"image": np.zeros((4, 4, 0), np.uint8)},
        {"labels": np.zeros((4, 4), np.uint8)},
        {"labels": np.zeros((24, 32), np.int32)},
    ],
)
def test_what_is_no_pair_is_refused(change):
    with pytest.raises(BadInput, match="photo"):
        encode_record(replace(make_record(), **change))


def test_records_are_found_by_their_place(shard):
    path, places = shard
    assert [read_record(path, place).copy for place in places[::-1]] == [2, 1, 0]
    assert sum(place.length for place in places) == path.stat().st_size
    assert scan_shard(path) == [(place, "photo", copy) for copy, place in enumerate(places)]


def test_the_same_records_give_the_same_bytes(shard, tmp_path):
    write_shard(tmp_path / "b.tfrec", [make_record(copy=copy) for copy in range(3)])
    assert (tmp_path / "b.tfrec").read_bytes() == shard[0].read_bytes()


def test_a_name_that_is_not_utf8(tmp_path):
    path = tmp_path / os.fsdecode(b"na\xe9me.tfrec")
    places = write_shard(path, [make_record()])
    assert read_record(path, places[0]).source == scan_shard(path)[0][1] == "photo"


def test_an_error_while_records_are_made_leaves_no_file(tmp_path):
    def fail(error):
        yield make_record()
        raise error

    for error in (MissingInput("no such photo"), BadInput("bad photo"), KeyboardInterrupt()):
        with pytest.raises(type(error), match=r"photo|^$"):
            write_shard(tmp_path / "a.tfrec", fail(error))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WriteFailed, match=r"file/a\.tfrec"):
        write_shard(tmp_path / "file" / "a.tfrec", [make_record()])


def test_every_cut_is_noticed(shard):
    path, places = shard
    whole = path.read_bytes()
    for n_bytes in (0, 5, places[1].offset + 13, len(whole) - 1):
        path.write_bytes(whole[:n_bytes])
        with pytest.raises(BadInput, match=r"a\.tfrec"):
            read_record(path, places[2])
        if n_bytes:
            with pytest.raises(BadInput, match=r"a\.tfrec"):
                scan_shard(path)
    path.write_bytes(whole[: places[2].offset])
    assert len(scan_shard(path)) == 2, "a cut between two records is told by their number"


def test_every_flipped_bit_is_noticed(shard):
    path, places = shard
    whole, place = path.read_bytes(), places[1]
    for byte in (0, 9, 40, place.length // 2, place.length - 1):
        content = bytearray(whole)
        content[place.offset + byte] ^= 4
        path.write_bytes(content)
        with pytest.raises(BadInput, match=r"a\.tfrec is damaged"):
            read_record(path, place)
        with pytest.raises(BadInput, match=r"a\.tfrec is damaged"):
            scan_shard(path)
        assert read_record(path, places[0]).copy == 0, "the others can be read"


def test_a_missing_file_and_a_place_beyond_the_end(shard, tmp_path):
    with pytest.raises(MissingInput):
        read_record(tmp_path / "none.tfrec", shard[1][0])
    with pytest.raises(BadInput, match="a folder"):
        scan_shard(tmp_path)
    for place in (RecordPlace(1 << 62, 1 << 62, 0), RecordPlace(0, 3, 0), RecordPlace(-20, 20, 0)):
        with pytest.raises(BadInput, match="cut short"):
            read_record(shard[0], place)


def test_a_shard_of_something_else(tmp_path):
    import tensorflow as tf

    path = tmp_path / "other.tfrec"
    for content, message in ((b"no record", "tf.train.Example"), (tf.train.Example().SerializeToString(), "source")):
        with tf.io.TFRecordWriter(str(path)) as writer:
            writer.write(content)
        with pytest.raises(BadInput, match=rf"other\.tfrec.*{message}"):
            scan_shard(path)
        frame = path.read_bytes()
        with pytest.raises(BadInput, match=r"other\.tfrec"):
            read_record(path, RecordPlace(0, len(frame), zlib.crc32(frame)))


WIDE = {"dtype": [b"uint16"], "encoding": [b"zlib"]}


@pytest.mark.parametrize(
    ("features", "message"),
    [
        *[({name: None}, name) for name in ("image", "label", "encoding", "rows", "bands", "dtype", "source", "copy")],
        ({"rows": [24, 24]}, "rows"),
        ({"rows": [b"24"]}, "rows"),
        ({"rows": [23]}, "not 23 x 32"),
        ({"rows": [0]}, "empty"),
        ({"rows": [-24], "cols": [-32]}, "empty"),
        ({"rows": [1 << 40], "cols": [1 << 40]}, "more than the cap"),
        ({"bands": [0]}, "0 bands"),
        ({"bands": [1 << 50], **WIDE}, "more than the cap"),
        ({"bands": [4]}, "for 4 bands"),
        ({"bands": [2]}, "for 2 bands"),
        ({"dtype": [b"object"]}, "object"),
        ({"dtype": [b"complex64"]}, "complex64"),
        ({"dtype": [b"\xff" * 1000]}, "samples"),
        ({"dtype": [b"uint16"]}, "a JPEG cannot hold"),
        ({"encoding": [b"pickle"]}, "unknown way"),
        ({"image": [b"\xff\xd8\xff junk"]}, "JPEG is damaged"),
        ({"image": [encode_image(make_record().image, suffix=".png")]}, "JPEG is damaged"),
        ({"image": [encode_image(make_record().image, suffix=".jpg")[:-300]]}, "JPEG is damaged"),
        ({"label": [encode_image(make_record().image, suffix=".png")]}, "kind RGB"),
        ({"label": [encode_image(make_record().image, suffix=".jpg")]}, "PNG is damaged"),
        ({"label": [b""]}, "PNG is damaged"),
        ({"image": [b"junk"], **WIDE}, "damaged"),
        ({"image": [zlib.compress(bytes(24 * 32 * 3 * 2 - 1))], **WIDE}, "not as long"),
        ({"image": [zlib.compress(bytes(10_000_000))], **WIDE}, "not as long"),
        ({"image": [zlib.compress(bytes(24 * 32 * 3 * 2))[:-1]], **WIDE}, "not as long"),
        ({"image": [zlib.compress(bytes(24 * 32 * 3 * 2))] * 2, **WIDE}, "not as long"),
    ],
)
def test_hostile_records_are_refused(features, message):
    with pytest.raises(BadInput, match=message):
        decode_record(damaged(**features))


@settings(deadline=None)
@given(st.data())
def test_bytes_changed_at_random_never_give_a_traceback(data):
    content = bytearray(encode_record(make_record(data.draw(st.sampled_from([1, 3, 4, 5])))))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=6)):
        content[place] = data.draw(st.integers(0, 255))
    try:
        record = decode_record(bytes(content))
    except BadInput:
        return
    assert record.labels.shape == record.image.shape[:2]


@pytest.mark.parametrize(("bands", "dtype"), [(1, "uint8"), (3, "uint8"), (4, "uint8"), (5, "float32")])
def test_other_programs_can_read_a_shard(bands, dtype, tmp_path):
    """With nothing but TensorFlow's own operations."""
    import tensorflow as tf

    record = make_record(bands, dtype)
    write_shard(tmp_path / "a.tfrec", [record])
    (content,) = tf.data.TFRecordDataset(str(tmp_path / "a.tfrec"))
    fields = {name: tf.io.FixedLenFeature([], tf.int64) for name in ("rows", "cols", "bands", "copy")}
    fields |= {name: tf.io.FixedLenFeature([], tf.string) for name in ("label", "encoding", "dtype", "source")}
    fields["image"] = tf.io.FixedLenSequenceFeature([], tf.string, allow_missing=True)
    parsed = tf.io.parse_single_example(content, fields)
    labels = tf.io.decode_png(parsed["label"])[..., 0].numpy()
    np.testing.assert_array_equal(labels, record.labels)
    shape = [int(parsed[name]) for name in ("rows", "cols", "bands")]
    if parsed["encoding"] == b"jpeg":
        image = np.dstack([tf.io.decode_jpeg(part).numpy() for part in parsed["image"]])
        assert np.abs(image.astype(int) - record.image).max() <= 6
    else:
        image = tf.io.decode_raw(tf.io.decode_compressed(parsed["image"][0], "ZLIB"), tf.float32).numpy().reshape(shape)
        np.testing.assert_array_equal(image, record.image)
    assert list(image.shape) == shape and parsed["source"] == b"photo"


def crc32c(data):
    """The checksum of TFRecords, masked as they do, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8 & 0xFFFFFFFF).to_bytes(4, "little")


@pytest.mark.parametrize("n", [1 << 40, (1 << 64) - 1, (1 << 63) + 8, 5])
def test_a_length_beyond_the_file_never_reaches_tensorflow(shard, monkeypatch, n):
    """Its checksum is right, and TensorFlow would crash the process."""
    import tensorflow as tf

    path, _ = shard
    whole, length = path.read_bytes(), n.to_bytes(8, "little")
    monkeypatch.setattr(tf.data, "TFRecordDataset", lambda *_: pytest.fail("TensorFlow was asked"))
    for before in (b"", whole):
        path.write_bytes(before + length + crc32c(length))
        with pytest.raises(BadInput, match=r"a\.tfrec is damaged or cut short .a record would end after it"):
            scan_shard(path)
