"""What every frame of a call passes is kept small: decision 0026."""

import pytest

from legato.core.dialects.realtime.input_buffer import InputBuffer
from legato.core.downlink_sender import DownlinkSender
from legato.core.playout import PlayoutLedger
from legato.core.server_session import ServerSession
from legato.core.uplink_receiver import UplinkReceiver
from legato.server.call import ServerCall
from legato.server.call_line import CallLine
from legato.server.delivery import Delivery
from legato.server.live_dialogue import LiveDialogue
from legato.server.playing import Playing
from legato.server.utterance import SpokenUtterance
from legato.session_driver import SessionDriver


@pytest.mark.parametrize(
    "kind",
    [
        CallLine,
        Delivery,
        DownlinkSender,
        InputBuffer,
        LiveDialogue,
        Playing,
        PlayoutLedger,
        ServerCall,
        ServerSession,
        SessionDriver,
        SpokenUtterance,
        UplinkReceiver,
    ],
)
def test_objects_on_the_way_of_every_frame_have_no_dictionary(kind: type) -> None:
    assert kind.__dictoffset__ == 0
