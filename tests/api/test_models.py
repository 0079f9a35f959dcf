"""What the commands leave to click to refuse, the functions refuse themselves."""

import pytest

import hybridseg as hs
from hybridseg.errors import BadInput


@pytest.mark.parametrize("call", [hs.list_models, hs.promote_model])
def test_a_score_or_a_set_that_no_card_has_is_refused(call, tmp_path):
    with pytest.raises(BadInput, match="by='f1': give one of mean_iou, dice, accuracy, precision, recall"):
        call(tmp_path, by="f1")
    with pytest.raises(BadInput, match="on='training': give validation or test"):
        call(tmp_path, on="training")
