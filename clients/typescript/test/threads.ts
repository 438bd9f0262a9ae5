// In the place of what build.mjs makes: threads whose code nobody runs here.

export const worker = "";
export const capture = "";
export const playback = "";
