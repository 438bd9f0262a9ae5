// The public door: everything else may change any day.

export { connect } from "./connect.ts";
export { VoiceError, type VoiceErrorCode } from "./errors.ts";
export type { Devices, Ending, PlaybackPosition, Resumption, Statistics, VoiceEvents, VoiceState } from "./events.ts";
export { VoiceSession } from "./session.ts";
export type { ConnectOptions, MicrophoneOptions, ThreadUrls, Token } from "./settings.ts";
export type { JsonObject, PlaybackState, Welcome } from "./wire/messages.ts";
