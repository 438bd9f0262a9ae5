// The names that exist in an AudioWorklet and that TypeScript's own libraries do not declare.

export interface WorkletProcessor {
  readonly port: MessagePort;
}

export interface WorkletGlobals {
  readonly sampleRate: number;
  readonly AudioWorkletProcessor: new () => WorkletProcessor;
  registerProcessor(
    name: string,
    processor: new (...given: never[]) => WorkletProcessor & {
      process(inputs: Float32Array[][], outputs: Float32Array[][]): boolean;
    },
  ): void;
}

export const worklet = globalThis as unknown as WorkletGlobals;
