// How loud things are at this moment. Owns the analysers; must not know what they are shown as.

/** How loud a node is, between 0 and 1; 0.1 is quiet speech. */
export class Meter {
  private readonly analyser: AnalyserNode;
  private readonly samples: Float32Array<ArrayBuffer>;

  constructor(
    private readonly source: AudioNode,
    private readonly owned = false,
  ) {
    this.analyser = source.context.createAnalyser();
    this.analyser.fftSize = 1_024;
    this.samples = new Float32Array(this.analyser.fftSize);
    source.connect(this.analyser);
  }

  /** The loudness of a stream, measured in a context that runs already. */
  static ofStream(context: BaseAudioContext, stream: MediaStream): Meter {
    return new Meter((context as AudioContext).createMediaStreamSource(stream), true);
  }

  get level(): number {
    this.analyser.getFloatTimeDomainData(this.samples);
    let loudest = 0;
    for (const sample of this.samples) loudest = Math.max(loudest, Math.abs(sample));
    return Math.min(1, loudest);
  }

  close(): void {
    this.source.disconnect(this.analyser);
    if (this.owned) this.source.disconnect();
  }
}
