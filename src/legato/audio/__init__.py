"""Audio: the only room that touches samples.

Owns coding, resampling, chunking and WAV files. It must not know sessions, networks or agents. PCM is mono
s16le everywhere; positions and lengths are samples.

Codecs, resampling and WAV files are imported from their own files, because each brings its own dependency.
"""

from .chunker import Chunker

__all__ = ["Chunker"]
