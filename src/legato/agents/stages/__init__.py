"""Stages: the four steps between hearing and answering, each replaceable.

A stage is one file named `<step>_<name>.py` (`vad_`, `stt_`, `llm_`, `tts_`) with `build(settings)`, which
answers an object of the step's protocol in `base`. The contract suites in `legato.testing` find it by itself.
"""
