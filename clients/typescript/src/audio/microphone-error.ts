// What browsers say about microphones, in words that help. Must not open any.

import { VoiceError } from "../errors.ts";

/** What went wrong with a microphone, in words that help. */
export function microphoneError(error: unknown): VoiceError {
  const { name, message } = error as DOMException;
  switch (name) {
    case "NotAllowedError":
    case "SecurityError":
      return new VoiceError(
        "microphone-denied",
        "The microphone is not allowed: allow it in the browser's address bar, and in the settings of the system.",
        { cause: error },
      );
    case "NotFoundError":
    case "OverconstrainedError":
      return new VoiceError("no-microphone", "There is no such microphone: plug one in, or choose another.", { cause: error });
    case "NotReadableError":
    case "AbortError":
      return new VoiceError("microphone-busy", "The microphone cannot be used: another program may have it.", { cause: error });
    default:
      return new VoiceError("no-microphone", `The microphone could not be opened: ${message || name}`, { cause: error });
  }
}
