// What can go wrong, in words for people and codes for programs.
//
//     VoiceError                 all a page has to catch; `code` says which state to show
//     RemoteProtocolError        the server broke the wire's rules; becomes a close code, never reaches a page
//     LocalProtocolError         this library or its caller was used wrongly: a defect, with what to do instead

/** The states that an application may want to show differently. */
export type VoiceErrorCode =
  | "no-microphone"
  | "microphone-denied"
  | "microphone-busy"
  | "microphone-lost"
  | "insecure-page"
  | "unsupported-browser"
  | "bad-address"
  | "misuse"
  | "unreachable"
  | "certificate"
  | "unauthorized"
  | "overloaded"
  | "version"
  | "format"
  | "protocol"
  | "server"
  | "lost"
  | "closed";

/** Something a person should be told. The message says what happened and what helps. */
export class VoiceError extends Error {
  override readonly name = "VoiceError";

  constructor(
    readonly code: VoiceErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The server broke a rule of wire/SPEC.md; the session closes with `code`. */
export class RemoteProtocolError extends Error {
  override readonly name = "RemoteProtocolError";

  constructor(
    readonly code: number,
    readonly reason: string,
  ) {
    super(reason);
  }
}

/** A call that is not allowed, or not now; the message says what to do instead. */
export class LocalProtocolError extends Error {
  override readonly name = "LocalProtocolError";
}
