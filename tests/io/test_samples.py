"""A record of a labelled image: what is encoded is what is decoded, and damage is noticed."""

import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridseg.errors import BadInput
from hybridseg.io.samples import MASK_TYPES, Sample, decode_sample, describe_sample, encode_sample
from hybridseg.io.tfrecords import SAMPLE_TYPES


def make_sample(number, *, dtype="uint16", mask_dtype="uint8", shape=(5, 7, 3)):
    rng = np.random.default_rng(number)
    image = rng.integers(0, 100, shape).astype(dtype)
    return Sample(image, rng.integers(0, 3, shape[:2]).astype(mask_dtype), f"photo {number}", number, 2 * number)


@pytest.mark.parametrize("dtype", SAMPLE_TYPES)
@pytest.mark.parametrize("mask_dtype", MASK_TYPES)
def test_a_record_holds_every_type(dtype, mask_dtype):
    sample = make_sample(3, dtype=dtype, mask_dtype=mask_dtype, shape=(4, 6, 12))
    again = decode_sample(encode_sample(sample))
    assert again.image.dtype == dtype and (again.image == sample.image).all()
    assert again.mask.dtype == mask_dtype and (again.mask == sample.mask).all()
    assert (again.source, again.row, again.col) == ("photo 3", 3, 6)
    ids, counts = np.unique(sample.mask, return_counts=True)
    assert again.classes == dict(zip(ids.tolist(), counts.tolist(), strict=True))
    assert describe_sample(encode_sample(sample)).classes == again.classes


def test_a_name_that_is_not_utf8_is_kept():
    name = os.fsdecode(b"caf\xe9")
    sample = Sample(np.zeros((1, 1, 1), np.uint8), np.zeros((1, 1), np.uint8), name)
    assert decode_sample(encode_sample(sample)).source == name


@given(place=st.integers(0, 400), value=st.integers(0, 255))
def test_a_changed_byte_is_noticed(place, value):
    data = bytearray(encode_sample(make_sample(1)))
    place %= len(data)
    if data[place] == value:
        return
    data[place] = value
    try:
        found = decode_sample(bytes(data))
    except BadInput:
        return
    # Only in the text of the name or of the place, or in a space, could it be another record.
    assert (found.image == make_sample(1).image).all() and (found.mask == make_sample(1).mask).all()


@given(st.binary(max_size=200))
def test_what_is_no_record(data):
    for read in (decode_sample, describe_sample):
        with pytest.raises(BadInput, match="record"):
            read(data)


def test_sizes_are_checked_before_memory_is_taken():
    data = encode_sample(make_sample(1, shape=(9, 9, 9)))
    n_header = int.from_bytes(data[4:8], "little")
    header = json.loads(data[8 : 8 + n_header])
    header["image"]["shape"], header["mask"]["shape"] = [10**6, 10**6, 3], [10**6, 10**6]
    text = json.dumps(header).encode()
    with pytest.raises(BadInput, match=r"the image has 1000000 x 1000000 pixels of 6 bytes, more than the cap"):
        decode_sample(data[:4] + len(text).to_bytes(4, "little") + text + data[8 + n_header :])
    with pytest.raises(BadInput, match="not as long as it says"):
        decode_sample(data[:-1])
