/** Made by build.mjs: the code of the other threads as text. */
declare module "legato:threads" {
  export const worker: string;
  export const capture: string;
  export const playback: string;
}
